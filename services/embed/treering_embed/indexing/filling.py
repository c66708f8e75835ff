"""Gives patterns their vectors in one index, batch by batch."""

import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TypeVar

import structlog

from treering_embed.encoder import Ids
from treering_embed.engine.engine import Engine
from treering_embed.engine.vectors import Vectors, make_vectors
from treering_embed.limits import FLUSH_INTERVAL_S, RELEASE_AFTER_PATTERNS
from treering_embed.registry.kept import Kept
from treering_embed.registry.ledgers import Ledger
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
        give_way_until: When patterns of these ids give way to our sinks no more, as `time.monotonic` says it.
    """

    def __init__(
        self,
        kept: Kept,
        engine: Engine,
        ledger: Ledger,
        settled: Callable[[Collection[int]], Awaitable[None]],
        counted: Collection[int] = (),
        *,
        give_way_until: Callable[[Iterable[int]], float] = lambda _: math.inf,
    ) -> None:
        self._kept, self._engine, self._ledger, self._settled = kept, engine, ledger, settled
        self._counted = set(counted)
        self._give_way_until = give_way_until
        self._pieces: dict[int, Ids] = {}
        self._flushed_at = time.monotonic()
        self._since_release = 0

    async def fill(self, limit: int) -> int:
        """Takes up to `limit` patterns; returns how many it found."""
        unmarked = self._engine.unmarked
        # Done patterns wait in the registry until they are marked: so many more are asked for, and left out here.
        waiting = await self._on_registry(self._ledger.pending, limit + len(unmarked))
        patterns = [pattern for pattern in waiting if pattern.pattern_id not in unmarked][:limit]
        if patterns:
            until = self._give_way_until(pattern.pattern_id for pattern in patterns)
            await self._add(await make_vectors(self._engine, patterns, until))
        # Also after a batch, not only at the end: with patterns that never stop coming nothing would become visible.
        if time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            await self.finish()
        return len(patterns)

    async def _add(self, made: Vectors) -> None:
        async with self._engine.writing:
            await self._on_index(self._engine.index.upsert, made.points)
            # Noted under the same lock as the upsert: who forgets patterns takes them out of both.
            self._engine.unmarked.update(dict.fromkeys(made.pieces, "") | made.refused)
        # Counted only once a pattern, whatever the index lost: the counts weigh wordpieces by how many patterns have them.
        self._pieces |= {key: pieces for key, pieces in made.pieces.items() if key not in self._counted}
        self._kept.metrics.index_batches.inc()

    async def finish(self) -> None:
        """Flushes and marks what was taken."""
        # Also when nothing is unmarked: the interval counts from the last moment at which nothing was left to flush.
        self._flushed_at = time.monotonic()
        if not self._engine.unmarked:
            return
        # one step for who forgets patterns: otherwise one that was forgotten, registered again and marked here could lose its vector
        async with self._engine.writing:
            marked, gone = await self._mark()
            self._kept.metrics.indexed.inc(len(marked) - len(gone))
            # before the index is asked again: the registry has them as done, and nobody would settle them after a fault
            await self._settled(marked)
            if gone:
                await self._on_index(self._engine.index.delete, gone)
        for reason in filter(None, marked.values()):
            _LOG.error("a pattern gets no vector; it is found by keyword only", reason=reason)
        await self._release(len(marked))

    async def _mark(self) -> tuple[dict[int, str], list[int]]:
        """What was marked, and what of it was forgotten while it was encoded."""
        # before the mark: a pattern that counts as indexed must be found after a crash
        await self._on_index(self._engine.index.flush)
        # A copy, as `unmarked` is cleared below. Nothing else changes it meanwhile: `writing` is held.
        marked = dict(self._engine.unmarked)
        pieces = [self._pieces[key] for key in marked.keys() & self._pieces.keys()]
        # New counts beside the old ones: searches read `frequencies` while the registry commits, and a fault leaves them as they are.
        frequencies = await self._on_index(self._engine.frequencies.plus, pieces)
        gone = await self._on_registry(self._ledger.mark, marked, frequencies.to_bytes())
        # After the commit, and without an await between them: memory says what the registry says.
        self._engine.frequencies.become(frequencies)
        self._engine.unmarked.clear()
        self._pieces = {}
        return marked, gone

    async def _release(self, marked: int) -> None:
        self._since_release += marked
        if self._since_release >= RELEASE_AFTER_PATTERNS:
            self._since_release = 0
            # Given back on the index's thread: it takes some milliseconds, and searches wait for the loop.
            await self._on_index(release_freed)

    def start_over(self) -> None:
        """What was not marked is taken again."""
        self._engine.unmarked.clear()
        self._pieces = {}

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._kept.registry_thread.run(function, *arguments)

    async def _on_index(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._engine.index_threads.run(function, *arguments)
