"""Works in the background: gives new patterns their vectors in the index that answers searches."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import structlog

from treering_embed.engine.engine import Engine
from treering_embed.index import IndexFaultError
from treering_embed.indexing.filling import Filler
from treering_embed.limits import INDEX_BATCH, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry.kept import Kept
from treering_embed.registry.registry import RegistryFault
from treering_embed.sink.sink import EmbedSink

_LOG = structlog.get_logger()
_INDEXING = "indexing"


class Indexer:
    """Indexes whatever waits; can be paused between two batches, and go on with another engine.

    Args:
        kept: The registry.
        sink: Says when patterns wait, and is told when they do no more.
        engine: What answers searches.
        requeued: Patterns that the index lost.
    """

    def __init__(self, kept: Kept, sink: EmbedSink, engine: Engine, requeued: Collection[int]) -> None:
        self._kept, self._sink = kept, sink
        self._working = asyncio.Lock()
        self._filler = self._filler_of(engine, requeued)

    async def run_forever(self) -> None:
        """Indexes what waits, and waits for more. Faults of disk and network are tried again for ever."""
        pause = RETRY_MIN_S
        while True:
            try:
                await self._sink.committed_patterns.wait()
                await self.index_pending()
                self._kept.waiting_for.pop(_INDEXING, None)
                pause = RETRY_MIN_S
            except Exception as error:  # noqa: BLE001 - whatever it is, patterns must not be given up; it is said, and tried again
                self._kept.metrics.faults.inc()
                expected = isinstance(error, IndexFaultError | RegistryFault)
                why = str(error) if expected else type(error).__name__
                self._kept.waiting_for[_INDEXING] = f"new patterns cannot be indexed: {why}"
                _LOG.error(
                    "patterns cannot be indexed; trying again", problem=str(error), pause_s=pause, exc_info=None if expected else error
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def index_pending(self) -> None:
        """Indexes until nothing waits that is committed."""
        # Whatever begins to wait during the pass sets it again: cleared after the pass, that would be lost.
        self._sink.committed_patterns.clear()
        try:
            while await self._fill():
                pass
        # Upserted, not marked: they wait in the registry still and come again, to the same points.
        except BaseException:
            self._filler.start_over()
            self._sink.committed_patterns.set()
            raise

    async def _fill(self) -> int:
        # The lock is given back between two batches: there a reindex gets its turn to swap.
        async with self._working:
            found = await self._filler.fill(INDEX_BATCH)
            if not found:
                await self._filler.finish()
            return found

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is encoded or marked inside."""
        async with self._working:
            yield

    def use(self, engine: Engine) -> None:
        """Goes on with another engine, while paused; what was not marked is looked at again."""
        # A new filler: what the old one had not marked belongs to the old index.
        self._filler = self._filler_of(engine)
        self._sink.committed_patterns.set()

    def _filler_of(self, engine: Engine, requeued: Collection[int] = ()) -> Filler:
        return Filler(self._kept, engine, self._kept.current, self.settle, requeued, give_way_until=self._kept.book.give_way_until)

    async def settle(self, pattern_ids: Collection[int]) -> None:
        """These patterns wait no more."""
        # The book first: the sink computes what is visible from it.
        self._kept.book.settle(pattern_ids)
        self._kept.metrics.settled(pattern_ids)
        await self._sink.settled()
