"""Gives patterns their vectors in one index, batch by batch."""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import structlog

from treering_embed.encoder import Ids
from treering_embed.engine import Engine
from treering_embed.kept import Kept
from treering_embed.ledgers import Ledger
from treering_embed.limits import FLUSH_INTERVAL_S, RELEASE_AFTER_PATTERNS
from treering_embed.vectors import make_vectors
from treering_runtime.memory import release_freed

_LOG = structlog.get_logger()
_T = TypeVar("_T")


class Filler:
    """For each batch of waiting patterns: encode, upsert; then, every `FLUSH_INTERVAL_S` or when none waits, flush, and only then mark.

    A crash anywhere leaves patterns waiting that may be in the index already; they are encoded and upserted again, to the same points.

    Args:
        kept: Has the registry's thread.
        engine: What encodes, and the index.
        ledger: Which patterns wait for this index.
        settled: Told which patterns wait no more.
        counted: Patterns whose wordpieces are counted already: they were in the index before, and the index lost them.
    """

    def __init__(
        self,
        kept: Kept,
        engine: Engine,
        ledger: Ledger,
        settled: Callable[[Collection[int]], Awaitable[None]],
        counted: Collection[int] = (),
    ) -> None:
        self._kept, self._engine, self._ledger, self._settled = kept, engine, ledger, settled
        self._counted = set(counted)
        self._unmarked: dict[int, str] = {}
        self._pieces: dict[int, Ids] = {}
        self._flushed_at = time.monotonic()
        self._since_release = 0

    async def fill(self, limit: int) -> int:
        """Takes up to `limit` patterns; returns how many it found."""
        waiting = await self._on_registry(self._ledger.pending, limit + len(self._unmarked))
        patterns = [pattern for pattern in waiting if pattern.pattern_id not in self._unmarked][:limit]
        if patterns:
            made = await make_vectors(self._engine, patterns)
            await self._on_index(self._engine.index.upsert, made.points)
            self._unmarked |= dict.fromkeys(made.pieces, "") | made.refused
            self._pieces |= {key: pieces for key, pieces in made.pieces.items() if key not in self._counted}
            self._kept.metrics.index_batches.inc()
        if time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            await self.finish()
        return len(patterns)

    async def finish(self) -> None:
        """Flushes and marks what was taken."""
        self._flushed_at = time.monotonic()
        if not self._unmarked:
            return
        await self._on_index(self._engine.index.flush)
        frequencies = self._engine.frequencies.plus(self._pieces.values())
        gone = await self._on_registry(self._ledger.mark, self._unmarked, frequencies.to_bytes())
        self._engine.frequencies.become(frequencies)
        marked, self._unmarked, self._pieces = self._unmarked, {}, {}
        for reason in filter(None, marked.values()):
            _LOG.error("a pattern gets no vector; it is found by keyword only", reason=reason)
        if gone:  # forgotten while it was encoded
            await self._on_index(self._engine.index.delete, gone)
        self._kept.metrics.indexed.inc(len(marked) - len(gone))
        await self._settled(marked)
        await self._release(len(marked))

    async def _release(self, marked: int) -> None:
        self._since_release += marked
        if self._since_release >= RELEASE_AFTER_PATTERNS:
            self._since_release = 0
            await self._on_index(release_freed)

    def start_over(self) -> None:
        """What was not marked is taken again."""
        self._unmarked, self._pieces = {}, {}

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._kept.registry_thread.run(function, *arguments)

    async def _on_index(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._engine.index_threads.run(function, *arguments)
