"""Works in the background: gives registered patterns their vectors, and keeps index and registry the same."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from treering_embed.encoder import Encoded, unit
from treering_embed.encoder.queue import Urgency
from treering_embed.engine import Engine
from treering_embed.index import IndexFaultError, PatternPoint
from treering_embed.kept import Kept
from treering_embed.late import project
from treering_embed.limits import FLUSH_INTERVAL_S, INDEX_BATCH, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry import Pattern, RegistryFault, State
from treering_embed.renderings import render
from treering_embed.sink import EmbedSink

_LOG = structlog.get_logger()


class Indexer:
    """For each batch of waiting patterns: encode, upsert; then, every `FLUSH_INTERVAL_S` or when none waits, flush, and only then mark.

    A crash anywhere leaves patterns waiting that may be in the index already; they are encoded and upserted again, to the same points.
    """

    def __init__(self, kept: Kept, sink: EmbedSink, engine: Engine) -> None:
        self._kept, self._sink, self._engine = kept, sink, engine
        self._unmarked: dict[int, State] = {}
        self._flushed_at = time.monotonic()

    async def run_forever(self) -> None:
        """Indexes what waits, and waits for more. Faults of disk and network are tried again for ever."""
        pause = RETRY_MIN_S
        while True:
            try:
                await self._sink.committed_patterns.wait()
                await self.index_pending()
                pause = RETRY_MIN_S
            except Exception as error:  # noqa: BLE001 - whatever it is, patterns must not be given up; it is said, and tried again
                self._kept.metrics.faults.inc()
                expected = isinstance(error, IndexFaultError | RegistryFault)
                _LOG.error(
                    "patterns cannot be indexed; trying again", problem=str(error), pause_s=pause, exc_info=None if expected else error
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def index_pending(self) -> None:
        """Indexes until nothing waits that is committed."""
        self._sink.committed_patterns.clear()
        try:
            while patterns := await self._next_batch():
                await self._index_batch(patterns)
                if time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
                    await self._flush_and_mark()
            await self._flush_and_mark()
        except BaseException:
            self._unmarked.clear()
            self._sink.committed_patterns.set()
            raise

    async def _next_batch(self) -> list[Pattern]:
        """The oldest waiting patterns, without those that are done but for the flush."""
        pending = await self._kept.registry_thread.run(self._kept.registry.pending, INDEX_BATCH + len(self._unmarked))
        return [pattern for pattern in pending if pattern.pattern_id not in self._unmarked][:INDEX_BATCH]

    async def _index_batch(self, patterns: Sequence[Pattern]) -> None:
        points = await self._points(patterns)
        try:
            await self._engine.index_threads.run(self._engine.index.upsert, points)
            self._unmarked |= dict.fromkeys((point.pattern_id for point in points), State.INDEXED)
        except ValueError:
            await self._index_one_by_one(points)
        self._kept.metrics.index_batches.inc()

    async def _index_one_by_one(self, points: Sequence[PatternPoint]) -> None:
        """Some vector cannot be stored: finds out which, so that the others are."""
        for point in points:
            try:
                await self._engine.index_threads.run(self._engine.index.upsert, [point])
                self._unmarked[point.pattern_id] = State.INDEXED
            except ValueError as error:
                _LOG.error("a pattern gets no vector; it is found by keyword only", problem=str(error))
                self._unmarked[point.pattern_id] = State.UNREADABLE

    async def _points(self, patterns: Sequence[Pattern]) -> list[PatternPoint]:
        """Encodes both renderings of each pattern, and each distinct text once."""
        rendered = [render(pattern.service, pattern.text, pattern.example) for pattern in patterns]
        place = {text: number for number, text in enumerate(dict.fromkeys(text for pair in rendered for text in pair))}
        encoded = await self._engine.encoder.encode(list(place), Urgency.PATTERNS)
        return [
            self._point(pattern, encoded, place[general], place[concrete])
            for pattern, (general, concrete) in zip(patterns, rendered, strict=True)
        ]

    def _point(self, pattern: Pattern, encoded: Encoded, general: int, concrete: int) -> PatternPoint:
        self._engine.frequencies.add(encoded.pieces[concrete])
        dense = unit(encoded.dense[general] + encoded.dense[concrete])
        return PatternPoint(pattern.pattern_id, pattern.service, dense, project(encoded.tokens[concrete], self._engine.basis))

    async def _flush_and_mark(self) -> None:
        self._flushed_at = time.monotonic()
        if not self._unmarked:
            return
        await self._engine.index_threads.run(self._engine.index.flush)
        await self._kept.registry_thread.run(self._kept.registry.mark, self._unmarked, self._engine.frequencies.to_bytes())
        self._kept.book.settle(self._unmarked)
        self._kept.metrics.indexed.inc(len(self._unmarked))
        self._unmarked = {}
        await self._sink.settled()
