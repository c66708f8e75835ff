"""Works in the background: gives registered patterns their vectors, and keeps index and registry the same."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from treering_embed.book import PatternBook
from treering_embed.encoder import Encoded, Matrix, unit
from treering_embed.encoder.queue import EncodeQueue, Urgency
from treering_embed.index import Index, IndexFault, PatternPoint
from treering_embed.late import PieceFrequencies, project
from treering_embed.limits import FLUSH_INTERVAL_S, INDEX_BATCH, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.metrics import EmbedMetrics
from treering_embed.registry import Pattern, Registry, RegistryFault, State
from treering_embed.renderings import render
from treering_embed.sink import EmbedSink

_LOG = structlog.get_logger()
_T = TypeVar("_T")


class Indexer:
    """For each batch of waiting patterns: encode, upsert; then, every `FLUSH_INTERVAL_S` or when none waits, flush, and only then mark.

    A crash anywhere leaves patterns waiting that may be in the index already; they are encoded and upserted again, to the same points.
    """

    def __init__(
        self,
        registry: Registry,
        registry_thread: ThreadPoolExecutor,
        book: PatternBook,
        sink: EmbedSink,
        metrics: EmbedMetrics,
        *,
        encoder: EncodeQueue,
        index: Index,
        index_threads: ThreadPoolExecutor,
        basis: Matrix,
        frequencies: PieceFrequencies,
    ) -> None:
        self._registry, self._registry_thread = registry, registry_thread
        self._book, self._sink, self._metrics = book, sink, metrics
        self._encoder, self._index, self._index_threads = encoder, index, index_threads
        self._basis, self._frequencies = basis, frequencies
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
            except (IndexFault, RegistryFault) as error:
                self._metrics.faults.inc()
                _LOG.error("the index cannot be written; trying again", problem=str(error), pause_s=pause)
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
        pending = await self._on(self._registry_thread, self._registry.pending, INDEX_BATCH + len(self._unmarked))
        return [pattern for pattern in pending if pattern.pattern_id not in self._unmarked][:INDEX_BATCH]

    async def _index_batch(self, patterns: Sequence[Pattern]) -> None:
        points = await self._points(patterns)
        try:
            await self._on(self._index_threads, self._index.upsert, points)
            self._unmarked |= dict.fromkeys((point.pattern_id for point in points), State.INDEXED)
        except ValueError:
            await self._index_one_by_one(points)
        self._metrics.index_batches.inc()

    async def _index_one_by_one(self, points: Sequence[PatternPoint]) -> None:
        """Some vector cannot be stored: finds out which, so that the others are."""
        for point in points:
            try:
                await self._on(self._index_threads, self._index.upsert, [point])
                self._unmarked[point.pattern_id] = State.INDEXED
            except ValueError as error:
                _LOG.error("a pattern gets no vector; it is found by keyword only", problem=str(error))
                self._unmarked[point.pattern_id] = State.UNREADABLE

    async def _points(self, patterns: Sequence[Pattern]) -> list[PatternPoint]:
        """Encodes both renderings of each pattern, and each distinct text once."""
        rendered = [render(pattern.service, pattern.text, pattern.example) for pattern in patterns]
        place = {text: number for number, text in enumerate(dict.fromkeys(text for pair in rendered for text in pair))}
        encoded = await self._encoder.encode(list(place), Urgency.PATTERNS)
        return [
            self._point(pattern, encoded, place[general], place[concrete])
            for pattern, (general, concrete) in zip(patterns, rendered, strict=True)
        ]

    def _point(self, pattern: Pattern, encoded: Encoded, general: int, concrete: int) -> PatternPoint:
        self._frequencies.add(encoded.pieces[concrete])
        dense = unit(encoded.dense[general] + encoded.dense[concrete])
        return PatternPoint(pattern.pattern_id, pattern.service, dense, project(encoded.tokens[concrete], self._basis))

    async def _flush_and_mark(self) -> None:
        self._flushed_at = time.monotonic()
        if not self._unmarked:
            return
        await self._on(self._index_threads, self._index.flush)
        await self._on(self._registry_thread, self._registry.mark, self._unmarked, self._frequencies.to_bytes())
        self._book.settle(self._unmarked)
        self._metrics.indexed.inc(len(self._unmarked))
        self._unmarked = {}
        await self._sink.settled()

    async def _on(self, threads: ThreadPoolExecutor, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)
