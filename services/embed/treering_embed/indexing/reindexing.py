"""Embeds every pattern anew, beside the index that goes on answering, and swaps the two.

States: *idle*; *preparing* (the model is loaded, its fast path made); *embedding* (the successor index is filled from the registry, oldest
pattern first, new ones last); idle again after the swap, or *failed*, with the reason, where the model turned out to be unusable.
The registry says what is being made, so a crash anywhere is followed by going on. The swap is one transaction of the registry.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import structlog

from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder.late import PieceFrequencies
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.queue import EncodeQueue
from treering_embed.engine.choice import complete
from treering_embed.engine.engine import Engine
from treering_embed.index import IndexFaultError
from treering_embed.index.opening import drop_index, open_index
from treering_embed.indexing.filling import Filler
from treering_embed.indexing.indexer import Indexer
from treering_embed.indexing.meaning import Meaning
from treering_embed.indexing.verification import verify
from treering_embed.limits import INDEX_THREADS, REINDEX_BATCH, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import RegistryFault
from treering_embed.settings import EmbedSettings
from treering_runtime.clocks import wall_ns
from treering_runtime.errors import ServiceError, StartError, invalid_field
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()
_T = TypeVar("_T")


class Phase(Enum):
    """What a reindex is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    EMBEDDING = "embedding"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """The reindex that runs, or the last one of this process; `problem` says what it waits for, or why it failed."""

    phase: Phase = Phase.IDLE
    model: str = ""
    done: int = 0
    started_ns: int = 0
    problem: str = ""

    @property
    def running(self) -> bool:
        """Whether another one has to wait."""
        return self.phase in {Phase.PREPARING, Phase.EMBEDDING}


class Reindexer:
    """Makes successors, one at a time."""

    def __init__(self, settings: EmbedSettings, kept: Kept, meaning: Meaning) -> None:
        self.progress = Progress()
        self._settings, self._kept, self._meaning = settings, kept, meaning
        self._wake = asyncio.Event()

    async def request(self, model: str) -> None:
        """Begins a reindex, durably; with the model in use if `model` is empty.

        Raises:
            ServiceError: REINDEX_RUNNING; INVALID_FIELD, when the model is not listed in the settings or cannot be used; STARTING, or
                PEER_UNAVAILABLE without an index.
        """
        if self.progress.running:
            done = {"model": self.progress.model, "done_count": str(self.progress.done)}
            message = f"everything is being embedded with {self.progress.model} already; `treering status` says how far it is"
            raise ServiceError(ErrorReason.ERROR_REASON_REINDEX_RUNNING, message, metadata=done)
        self._meaning.engine()
        before, wanted = self.progress, model or self._meaning.note.model
        if wanted not in self._settings.allowed_models:
            # not a word more: it would tell what is on this machine
            raise invalid_field("model", "not among the models; the setting MODELS of embed lists them")
        # before anything is awaited: of two requests at the same time one is refused
        self._say(phase=Phase.PREPARING, model=wanted, done=0, problem="", started_ns=wall_ns())
        # a caller that goes away while the order is noted leaves a reindex that runs, not one that waits for the next start
        await self._kept.tasks.run(self._begin_checked(wanted, before))

    async def _begin_checked(self, wanted: str, before: Progress) -> None:
        try:
            await self._meaning.models.identify(wanted)
            await self.begin(wanted)
        except BaseException as error:
            # Nothing began: the caller is told, and the next request is not refused because of this one.
            self.progress = before
            if isinstance(error, StartError):
                raise invalid_field("model", str(error)) from error
            raise

    async def begin(self, model: str) -> None:
        """Notes that everything is to be embedded with a model; goes on with what was done of it before."""
        # Over a restart the time of the start is lost, but not what was embedded.
        self._say(phase=Phase.PREPARING, model=model, started_ns=self.progress.started_ns or wall_ns())
        found = await self._on_registry(self._kept.successor.note)
        # The decision is renewed under the setting of today, and the successor keeps what it has.
        if found is not None and found.model == model:
            await self._on_registry(self._kept.successor.rename, dataclasses.replace(found, configured=self._settings.model))
        else:
            number = await self._on_registry(self._kept.current.next_number)
            await self._on_registry(self._kept.successor.begin, IndexNote(model, self._settings.model, number))
        # After the note: woken before it, the task would find nothing to do.
        self._wake.set()

    async def run_forever(self, indexer: Indexer) -> None:
        """Makes what is noted and removes what is given up. Faults of disk and network are tried again for ever."""
        pause = RETRY_MIN_S
        # The registry may hold an order, or names of indexes to remove, from before a restart.
        self._wake.set()
        while True:
            await self._wake.wait()
            # Cleared before the work: an order that comes during it wakes the task again.
            self._wake.clear()
            try:
                await self._make_and_tidy(indexer)
                pause = RETRY_MIN_S
            # The model will not become usable by trying again: the order is given up, and the index that answers stays.
            except StartError as error:
                _LOG.error("the index cannot be made anew; the one that is there goes on answering", problem=str(error))
                await self._on_registry(self._kept.successor.abandon)
                self._say(phase=Phase.FAILED, problem=str(error))
                # Once more for the tidying: what was made of the successor is on the list now.
                self._wake.set()
            except Exception as error:  # noqa: BLE001 - the order stands; it is said what is in its way, and tried again
                expected = isinstance(error, IndexFaultError | RegistryFault)
                _LOG.error("reindex: trying again", problem=str(error), pause_s=pause, exc_info=None if expected else error)
                self._say(problem=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)
                self._wake.set()

    async def _make_and_tidy(self, indexer: Indexer) -> None:
        note = await self._on_registry(self._kept.successor.note)
        if note is not None:
            await self._reindex(note, indexer)
        try:
            await self._tidy()
        # The swap is done and durable; a fault of the tidying does not make the reindex a failure.
        finally:
            if note is not None:
                self._say(phase=Phase.DONE, problem="")

    async def _reindex(self, note: IndexNote, indexer: Indexer) -> None:
        self._say(phase=Phase.PREPARING, model=note.model)
        model, queue = await self._load(note)
        # The model's files are others than when this began, or it begins: what was embedded with others cannot be used.
        if (ready := complete(note, model)) != note:
            note = ready
            await self._on_registry(self._kept.successor.begin, note)
        engine = await self._open(note, model, queue)
        # One thread runs the model for both engines; whoever is retired first must not end it.
        shared = queue is self._meaning.engine().encoder
        async with AsyncExitStack() as undo:
            # Last in, first out: forgetting stops using the engine, and only then it is closed.
            undo.push_async_callback(_retire, engine, keep_encoder=shared)
            undo.callback(self._meaning.succeed, None)
            # Before the first vector: patterns that are forgotten from here on are deleted from this index too.
            self._meaning.succeed(engine)
            before = await self._fill_and_swap(note, engine, indexer)
            # The swap is over: the engine answers, and nothing may close it here any more.
            undo.pop_all()
        # Calls that began with the old engine are still answered by it.
        await _retire(before, keep_encoder=shared)
        _LOG.info("the index was made anew", model=note.model, patterns=self.progress.done, identity=note.identity)

    async def _load(self, note: IndexNote) -> tuple[PreparedModel, EncodeQueue]:
        """The model, with the queue of the engine in use where it is the same: then searches still go first."""
        serving = self._meaning.engine()
        if await self._meaning.models.identify(note.model) == serving.model.identity:
            return serving.model, serving.encoder
        try:
            model = await self._meaning.models.prepare(note.model)
        except (RuntimeError, ValueError, OSError) as error:  # what engines raise of a model that they cannot load
            raise StartError(f"model={note.model}: it cannot be loaded ({type(error).__name__}: {error})") from error
        return model, self._meaning.queue(model)

    async def _open(self, note: IndexNote, model: PreparedModel, queue: EncodeQueue) -> Engine:
        threads = Background("successor", INDEX_THREADS)
        try:
            index = await threads.run(open_index, self._settings, note.name, model.encoder.dimension)
        except BaseException:
            threads.close()
            if queue is not self._meaning.engine().encoder:
                queue.close()
            raise
        frequencies = PieceFrequencies.from_bytes(await self._on_registry(self._kept.successor.frequencies) or model.frequencies)
        return Engine(model, queue, index, threads, frequencies)

    async def _fill_and_swap(self, note: IndexNote, engine: Engine, indexer: Indexer) -> Engine:
        """Returns the engine that answered until now."""
        lost = await verify(self._kept, self._kept.successor, engine.index, engine.index_threads)
        filler = Filler(self._kept, engine, self._kept.successor, self._count, lost)
        await self._count(())
        self._say(phase=Phase.EMBEDDING, problem="")
        # First without a pause: for minutes or hours, new patterns go on getting their vectors in the old index.
        while await filler.fill(REINDEX_BATCH):
            pass
        await filler.finish()
        # Nothing is marked in the old index from here to the swap, so only what came during the last batches is left.
        async with indexer.paused():
            # A batch that is not full is the last one: waiting for an empty one could last while new patterns come.
            while await filler.fill(REINDEX_BATCH) == REINDEX_BATCH:
                pass
            await filler.finish()
            # The registry first, in one transaction. A restart after it opens the successor, before it the old index: no third case.
            settled = await self._on_registry(self._kept.successor.promote)
            # Both before the pause ends: questions and the indexer's next batch go to the new index together.
            before = self._meaning.replace(engine, note)
            indexer.use(engine)
            await indexer.settle(settled)
        return before

    async def _count(self, marked: Collection[int]) -> None:
        del marked
        self._say(done=await self._on_registry(self._kept.successor.done_count))

    async def _tidy(self) -> None:
        """Lets people find the index by its usual name, and removes what is given up: indexes, and what was kept of other models."""
        engine = self._meaning.engine()
        # The name that people use points to the new index before the old one is removed.
        await engine.index_threads.run(engine.index.expose)
        names = await self._on_registry(self._kept.current.dropped)
        for name in names:
            await engine.index_threads.run(drop_index, self._settings, name)
        # Removed, then taken off the list: after a crash in between a name is tried once more, which is harmless.
        if names:
            await self._on_registry(self._kept.current.forget_dropped, names)
            _LOG.info("indexes that are not used any more were removed", names=names)
        # Last: the model of a removed index is not needed by any other.
        await self._meaning.models.keep_only({engine.model.identity})

    def _say(self, **changes: Any) -> None:
        self.progress = dataclasses.replace(self.progress, **changes)

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._kept.registry_thread.run(function, *arguments)


async def _retire(engine: Engine, *, keep_encoder: bool) -> None:
    """Closes an engine once the calls that began with it are answered."""
    try:
        await engine.users.gone()
    finally:
        await on_own_thread("retire", lambda: engine.close(keep_encoder=keep_encoder))
