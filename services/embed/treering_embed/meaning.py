"""Everything that needs the model: prepared in the background while records are taken already.

States: *preparing* (no search yet), *ready* (searches are answered, waiting patterns get their vectors), *closed*.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry

from treering.v1.error_pb2 import ErrorReason
from treering_embed.comparison import Comparison, compare
from treering_embed.encoder.prepare import PreparedModel, prepare
from treering_embed.encoder.queue import EncodeQueue
from treering_embed.engine import Engine
from treering_embed.index import Index, IndexFaultError
from treering_embed.index.opening import open_index
from treering_embed.indexer import Indexer
from treering_embed.kept import Background, Kept
from treering_embed.late import PieceFrequencies
from treering_embed.limits import INDEX_THREADS, LATE_DIMENSION, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.renderings import RENDERING_VERSION
from treering_embed.settings import EmbedSettings
from treering_embed.sink import EmbedSink
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

_LOG = structlog.get_logger()
_T = TypeVar("_T")

PrepareModel = Callable[[EmbedSettings], Awaitable[PreparedModel]]


async def prepare_configured(settings: EmbedSettings) -> PreparedModel:
    """The model that the settings name.

    Raises:
        StartError: There is no such model, or it cannot be loaded.
    """
    return await prepare(settings.model, settings.data_dir / "encoder", settings.threads, fast=settings.encoder == "auto")


class Meaning:
    """Prepares the engine, says whether it is ready, and forgets patterns.

    Args:
        settings: Of the service.
        kept: What should be in the index.
        sink: Told when patterns wait again.
        collector: Where the encoder registers its figures.
        prepare_model: Where the model comes from.
    """

    def __init__(
        self, settings: EmbedSettings, kept: Kept, sink: EmbedSink, collector: CollectorRegistry, *, prepare_model: PrepareModel
    ) -> None:
        self._settings, self._kept, self._sink = settings, kept, sink
        self._collector, self._prepare_model = collector, prepare_model
        self._engine: Engine | None = None

    @property
    def is_ready(self) -> bool:
        """Whether questions are answered."""
        return self._engine is not None

    def engine(self) -> Engine:
        """What answers questions.

        Raises:
            ServiceError: STARTING, while the model is prepared.
        """
        if self._engine is None:
            raise ServiceError(ErrorReason.ERROR_REASON_STARTING, "the model is being loaded; try again in a few seconds")
        return self._engine

    async def prepare(self) -> Indexer:
        """Loads the model and opens the index; returns who fills it.

        Raises:
            StartError: The model cannot be used as configured.
        """
        model = await self._prepare_model(self._settings)
        threads = Background("index", INDEX_THREADS)
        index = await self._open_patiently(model, threads)
        await self._verify(index, threads, index_identity(model))
        frequencies = PieceFrequencies.from_bytes(await self._on_registry(self._kept.registry.frequencies) or model.frequencies)
        self._engine = Engine(model, EncodeQueue(model.encoder, self._collector), index, threads, frequencies)
        return Indexer(self._kept, self._sink, self._engine)

    async def _open_patiently(self, model: PreparedModel, threads: Background) -> Index:
        """Opens the index, as often as it takes: a server that is down or a full disk is no reason to stop taking records."""
        pause = RETRY_MIN_S
        while True:
            try:
                return await threads.run(open_index, self._settings, index_identity(model), model.encoder.dimension)
            except IndexFaultError as fault:
                _LOG.error("the index cannot be opened; trying again", problem=str(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def _verify(self, index: Index, threads: Background, identity: str) -> None:
        """Makes registry and index agree: what the index lacks waits again, what only the index has is deleted from it."""
        registry = self._kept.registry
        if await self._on_registry(registry.index_identity) != identity:
            await self._on_registry(registry.requeue_all, identity)
        held = set((await threads.run(index.all_ids)).tolist())
        if missing := await self._on_registry(registry.indexed_ids) - held:
            _LOG.warning("the index lacks patterns; they are encoded again", patterns=len(missing))
            await self._on_registry(registry.requeue, missing)
        summary = await self._on_registry(registry.summary, self._kept.book.today())
        if orphans := held - summary.pattern_ids:
            _LOG.warning("the index has patterns that the registry does not know; they are deleted", patterns=len(orphans))
            await threads.run(index.delete, sorted(orphans))
        self._kept.book.requeue(summary.pending)
        await self._sink.settled()
        if summary.pending:
            self._sink.committed_patterns.set()

    async def forget(self, pattern_ids: Sequence[int], below: dict[int, int]) -> int:
        """Forgets patterns that were last seen below the given ends; returns how many."""
        engine = self.engine()
        await self._sink.commit()
        gone = await self._on_registry(self._kept.registry.forget, pattern_ids, below)
        self._kept.book.forget(gone)
        if gone:
            await engine.index_threads.run(engine.index.delete, gone)
            await engine.index_threads.run(engine.index.flush)
        return len(gone)

    async def compare(self) -> Comparison:
        """Compares the registry with the index.

        Raises:
            ServiceError: STARTING, while the model is prepared.
            IndexFaultError: The index cannot be read at the moment.
        """
        engine = self.engine()
        before = await self._on_registry(self._kept.registry.states)
        held = await engine.index_threads.run(engine.index.all_ids)
        return compare(before, held.tolist(), await self._on_registry(self._kept.registry.states))

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._kept.registry_thread.run(function, *arguments)

    def close(self) -> None:
        """Closes the engine; questions are refused from here on."""
        if engine := self._engine:
            self._engine = None
            engine.close()


def index_identity(model: PreparedModel) -> str:
    """Names everything that vectors depend on: model and its preparation, renderings, masking rules, the reduced dimension."""
    parts = (model.identity, model.encoder.dimension, RENDERING_VERSION, MASK_VERSION, LATE_DIMENSION)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
