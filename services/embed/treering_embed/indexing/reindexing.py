"""Embeds every pattern anew, beside the index that goes on answering, and swaps the two.

States: *idle*; *preparing* (the model is loaded, its fast path made); *embedding* (the successor index is filled from the registry, oldest
pattern first, new ones last); idle again after the swap, *failed*, with the reason, where the model turned out to be unusable, or
*cancelled*. The registry says what is being made, so a crash anywhere is followed by going on. The swap is one transaction of the registry,
and so is a cancel: whichever comes first decides, and what was made of a cancelled index is removed.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
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
from treering_embed.indexing.meaning import EngineLifecycle
from treering_embed.indexing.progress import Phase, ReindexProgress
from treering_embed.indexing.verification import verify
from treering_embed.limits import INDEX_THREADS, REINDEX_BATCH, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry.ended import ReindexOutcome
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import RegistryFault
from treering_embed.settings import EmbedSettings
from treering_runtime.clocks import wall_ns
from treering_runtime.errors import ServiceError, StartError, invalid_field
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()
_T = TypeVar("_T")


class _Cancelled(Exception):  # noqa: N818 - an outcome, not a fault
    """The reindex that runs is not to be finished."""


class Reindexer:
    """Makes successors, one at a time."""

    def __init__(self, settings: EmbedSettings, kept: Kept, meaning: EngineLifecycle) -> None:
        self.progress = ReindexProgress()
        self._settings, self._kept, self._meaning = settings, kept, meaning
        self._wake = asyncio.Event()
        self._orders = asyncio.Lock()
        """Held while an order is noted: one that repeats it finds it there."""
        self._cancelled = 0
        """The number of the index that is not to be finished."""

    async def request(self, model: str, request_id: str = "") -> ReindexProgress:
        """Begins a reindex, durably; with the model in use if `model` is empty. One that was begun under this id is returned instead.

        Raises:
            ServiceError: REINDEX_RUNNING; INVALID_FIELD, when the model is not listed in the settings or cannot be used, or when the id was
                used for another model; STARTING, or PEER_UNAVAILABLE without an index.
        """
        async with self._orders:
            if request_id and (begun := await self._found(lambda each: each.request_id == request_id)):
                if model and begun.model != model:
                    raise invalid_field("request_id", f"was used for the model {begun.model}; take another id")
                return begun
            if self.progress.running:
                raise _running(self.progress)
            self._meaning.engine()
            before, wanted = self.progress, model or self._meaning.note.model
            if wanted not in self._settings.allowed_models:
                # not a word more: it would tell what is on this machine
                raise invalid_field("model", "not among the models; the setting MODELS of embed lists them")
            self.progress = ReindexProgress(Phase.PREPARING, wanted, started_ns=wall_ns())
            # a caller that goes away while the order is noted leaves a reindex that runs, not one that waits for the next start
            await self._kept.tasks.run(self._begin_checked(wanted, request_id, before))
            return self.progress

    async def cancel(self, number: int | None) -> ReindexProgress:
        """Has the reindex of this number, or the one that runs, given up, durably; one that has ended already stays as it ended.

        Raises:
            ServiceError: NOT_FOUND, when there is none.
        """
        async with self._orders:
            if number is None or number == self.progress.number:
                found = self.progress if self.progress.number and (self.progress.running or number) else None
            else:
                found = await self._found(lambda each: each.number == number)
            if found is None:
                raise _no_reindex(number)
            if found.running:
                # Whoever has asked may go away: what is noted here must be known to the task that runs.
                await self._kept.tasks.run(self._cancel(found.number))
            return self.progress if found.running else found

    async def _cancel(self, number: int) -> None:
        # The registry decides. False: the swap came first, or the model turned out to be unusable.
        if await self._on_registry(self._kept.successor.cancel, number):
            self._cancelled = number
            self._say(problem="it is being cancelled")
            self._wake.set()

    async def _found(self, wanted: Callable[[ReindexProgress], bool]) -> ReindexProgress | None:
        """The reindex that runs or ended last, or an earlier one."""
        if self.progress.phase is not Phase.IDLE and wanted(self.progress):
            return self.progress
        ended = await self._on_registry(self._kept.successor.ended)
        return next((progress for each in reversed(ended) if wanted(progress := ReindexProgress.of_ended(each))), None)

    async def _begin_checked(self, wanted: str, request_id: str, before: ReindexProgress) -> None:
        try:
            await self._meaning.models.identify(wanted)
            await self._begin(wanted, request_id)
        except BaseException as error:
            # Nothing began: the caller is told, and the next request is not refused because of this one.
            self.progress = before
            if isinstance(error, StartError):
                raise invalid_field("model", str(error)) from error
            raise

    async def begin(self, model: str) -> None:
        """Begins what the setting asks for, or goes on with what was begun before a restart; what was asked for since is left alone."""
        async with self._orders:
            if not self.progress.running:
                await self._begin(model)

    async def _begin(self, model: str, request_id: str = "") -> None:
        """Notes that everything is to be embedded with a model; goes on with what was done of it before."""
        found, configured = await self._on_registry(self._kept.successor.note), self._settings.model
        # The decision is renewed under the setting of today, and the successor keeps what it has.
        if found is not None and found.model == model:
            note = dataclasses.replace(found, configured=configured, request_id=request_id or found.request_id)
            await self._on_registry(self._kept.successor.rename, note)
        else:
            number = await self._on_registry(self._kept.current.next_number)
            note = IndexNote(model, configured, number, request_id=request_id)
            await self._on_registry(self._kept.successor.begin, note)
        # Over a restart the time of the start is lost, but not what was embedded.
        started = self.progress.started_ns or wall_ns()
        self._say(phase=Phase.PREPARING, model=model, started_ns=started, number=note.number, request_id=note.request_id)
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
            # Once more: what was cancelled is given up before anything else.
            except _Cancelled:
                self._wake.set()
            # The model will not become usable by trying again: the order is given up, and the index that answers stays.
            except StartError as error:
                _LOG.error("the index cannot be made anew; the one that is there goes on answering", problem=str(error))
                await self._on_registry(self._kept.successor.abandon, ReindexOutcome.FAILED, str(error))
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
        if await self._on_registry(self._kept.successor.is_cancelled):
            await self._on_registry(self._kept.successor.abandon_cancelled, self._settings.model)
            _LOG.info("the reindex was cancelled; the index that is there goes on answering", model=self.progress.model)
            self._say(phase=Phase.CANCELLED, problem="")
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
        # One thread runs the model for both engines; whoever is retired first must not end it.
        shared = queue is self._meaning.engine().encoder
        try:
            self._go_on(note)
            # The model's files are others than when this began, or it begins: what was embedded with others cannot be used.
            if (ready := complete(note, model)) != note:
                note = ready
                await self._on_registry(self._kept.successor.begin, note)
            engine = await self._open(note, model, queue)
        except BaseException:
            if not shared:
                queue.close()
            raise
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
        while self._go_on(note) and await filler.fill(REINDEX_BATCH):
            pass
        await filler.finish()
        # Nothing is marked in the old index from here to the swap, so only what came during the last batches is left.
        async with indexer.paused():
            # A batch that is not full is the last one: waiting for an empty one could last while new patterns come.
            while self._go_on(note) and await filler.fill(REINDEX_BATCH) == REINDEX_BATCH:
                pass
            await filler.finish()
            # The registry first, in one transaction. A restart after it opens the successor, before it the old index: no third case.
            settled = await self._on_registry(self._kept.successor.promote)
            if settled is None:
                raise _Cancelled
            # Both before the pause ends: questions and the indexer's next batch go to the new index together.
            before = self._meaning.replace(engine, note)
            indexer.use(engine)
            await indexer.settle(settled)
        return before

    def _go_on(self, note: IndexNote) -> bool:
        """True; asked between two steps, of which each can be finished."""
        if self._cancelled == note.number:
            raise _Cancelled
        return True

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


def _running(progress: ReindexProgress) -> ServiceError:
    message = f"everything is being embedded with {progress.model} already; `treering status` says how far it is"
    done = {"model": progress.model, "done_count": str(progress.done), "reindex_id": str(progress.number)}
    return ServiceError(ErrorReason.ERROR_REASON_REINDEX_RUNNING, message, metadata=done)


def _no_reindex(number: int | None) -> ServiceError:
    what = "no reindex runs" if number is None else f"no reindex has the id {number}"
    return ServiceError(
        ErrorReason.ERROR_REASON_NOT_FOUND, f"{what}; `treering status` shows the last one", metadata={"field": "reindex_id"}
    )
