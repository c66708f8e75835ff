"""Everything that needs the model: prepared in the background while records are taken already.

States: *preparing* (no search yet), *ready* (searches are answered, waiting patterns get their vectors), *closed*.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry

from treering.v1.error_pb2 import ErrorReason
from treering_embed.book import PatternBook
from treering_embed.encoder.prepare import PreparedModel, prepare
from treering_embed.encoder.queue import EncodeQueue
from treering_embed.index import Index, IndexFault
from treering_embed.indexer import Indexer
from treering_embed.late import PieceFrequencies
from treering_embed.limits import LATE_DIMENSION, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.metrics import EmbedMetrics
from treering_embed.registry import Registry
from treering_embed.renderings import RENDERING_VERSION
from treering_embed.search import Searcher
from treering_embed.settings import EmbedSettings
from treering_embed.sink import EmbedSink
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

_LOG = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(frozen=True)
class Ready:
    """What answers questions."""

    model: PreparedModel
    encoder: EncodeQueue
    index: Index
    searcher: Searcher


class Meaning:
    """Prepares the model and the index, then indexes for ever.

    Args:
        settings: Of the service.
        registry: What should be in the index; used on `registry_thread` only.
        registry_thread: One thread.
        book: Its summary in memory.
        sink: Told when patterns are indexed.
        metrics: Figures of the service.
        collector: Where the encoder registers its own figures.
    """

    def __init__(
        self,
        settings: EmbedSettings,
        registry: Registry,
        registry_thread: ThreadPoolExecutor,
        book: PatternBook,
        sink: EmbedSink,
        metrics: EmbedMetrics,
        collector: CollectorRegistry,
    ) -> None:
        self._settings, self._registry, self._registry_thread = settings, registry, registry_thread
        self._book, self._sink, self._metrics, self._collector = book, sink, metrics, collector
        self._index_threads = ThreadPoolExecutor(2, "index")
        self._ready: Ready | None = None
        self._encoder: EncodeQueue | None = None
        self._index: Index | None = None

    @property
    def is_ready(self) -> bool:
        """Whether questions are answered."""
        return self._ready is not None

    def ready(self) -> Ready:
        """What answers questions.

        Raises:
            ServiceError: STARTING, while the model is prepared.
        """
        if self._ready is None:
            raise ServiceError(ErrorReason.ERROR_REASON_STARTING, "the model is being loaded; try again in a few seconds")
        return self._ready

    async def prepare(self) -> Indexer:
        """Loads the model and opens the index; returns who fills it.

        Raises:
            StartError: The model or the index cannot be used as configured.
        """
        settings = self._settings
        cache = settings.data_dir / "encoder"
        model = await prepare(settings.model, cache, settings.threads, fast=settings.encoder == "auto")
        self._encoder = EncodeQueue(model.encoder, self._collector)
        self._index = await self._open_patiently(model)
        await self._verify(self._index, model)
        frequencies = PieceFrequencies.from_bytes(await self._on_registry(self._registry.frequencies) or model.frequencies)
        searcher = Searcher(self._encoder, self._index, model.basis, frequencies, self._index_threads)
        self._ready = Ready(model, self._encoder, self._index, searcher)
        return Indexer(
            self._registry,
            self._registry_thread,
            self._book,
            self._sink,
            self._metrics,
            encoder=self._encoder,
            index=self._index,
            index_threads=self._index_threads,
            basis=model.basis,
            frequencies=frequencies,
        )

    async def _open_patiently(self, model: PreparedModel) -> Index:
        """Opens the index, as often as it takes: a server that is down or a full disk is no reason to stop taking records."""
        pause = RETRY_MIN_S
        while True:
            try:
                return await self._on_index(open_index, self._settings, index_identity(model), model.encoder.dimension)
            except IndexFault as fault:
                _LOG.error("the index cannot be opened; trying again", problem=str(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def _verify(self, index: Index, model: PreparedModel) -> None:
        """Makes registry and index agree: what the index lacks waits again, what only the index has is deleted from it."""
        identity = index_identity(model)
        if await self._on_registry(self._registry.index_identity) != identity:
            await self._on_registry(self._registry.requeue_all, identity)
        held = set((await self._on_index(index.all_ids)).tolist())
        wanted = await self._on_registry(self._registry.indexed_ids)
        if missing := wanted - held:
            _LOG.warning("the index lacks patterns; they are encoded again", patterns=len(missing))
            await self._on_registry(self._registry.requeue, missing)
        summary = await self._on_registry(self._registry.summary, self._book.today())
        if orphans := held - summary.pattern_ids:
            await self._on_index(index.delete, sorted(orphans))
        self._book.requeue(summary.pending)
        await self._sink.settled()
        if summary.pending:
            self._sink.committed_patterns.set()

    async def _on_index(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._index_threads, function, *arguments)

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._registry_thread, function, *arguments)

    async def forget(self, pattern_ids: list[int], below: dict[int, int]) -> int:
        """Forgets patterns that were last seen below the given ends; returns how many."""
        index = self.ready().index
        await self._sink.commit()
        gone = await self._on_registry(self._registry.forget, pattern_ids, below)
        self._book.forget(gone)
        if gone:
            await self._on_index(index.delete, gone)
            await self._on_index(index.flush)
        return len(gone)

    def close(self) -> None:
        """Ends the threads and closes the index."""
        self._ready = None
        if self._encoder:
            self._encoder.close()
        self._index_threads.shutdown()
        if self._index:
            self._index.close()


def index_identity(model: PreparedModel) -> str:
    """Names everything that vectors depend on: model and its preparation, renderings, masking rules, the reduced dimension."""
    parts = (model.identity, model.encoder.dimension, RENDERING_VERSION, MASK_VERSION, LATE_DIMENSION)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def open_index(settings: EmbedSettings, identity: str, dimension: int) -> Index:
    """Opens the index that the settings name. Engines are imported here: the one that is not used costs nothing.

    Raises:
        IndexFault: It cannot be opened at the moment.
    """
    if settings.index == "server":
        from treering_embed.index.server import ServerIndex, connect  # noqa: PLC0415

        client = connect(settings.qdrant_url, settings.qdrant_api_key)
        name = settings.qdrant_collection
        return ServerIndex(client, f"{name}-{identity}", name, dimension)
    return _open_edge(settings.data_dir / "index", identity, dimension)


def _open_edge(parent: Path, identity: str, dimension: int) -> Index:
    from treering_embed.index.edge import DamagedIndex, EdgeIndex  # noqa: PLC0415

    path = parent / identity
    try:
        return EdgeIndex(path, dimension)
    except DamagedIndex as damage:
        aside = path.with_suffix(".damaged")
        _LOG.error("the index is damaged; it is set aside and rebuilt from the registry", problem=str(damage), kept_at=str(aside))
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        return EdgeIndex(path, dimension)
