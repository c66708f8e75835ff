"""Everything that needs the model: prepared in the background while records are taken already.

States: *preparing* (no search yet), *without index* (the model is there and embeds texts, the index cannot be opened; tried again and
again), *ready* (searches are answered, waiting patterns get their vectors), *closed*.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

import numpy as np
import structlog
from prometheus_client import CollectorRegistry

from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder.backoff import Backoff
from treering_embed.encoder.late import PieceFrequencies
from treering_embed.encoder.models import Models
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.queue import EncodeMetrics, EncodeQueue
from treering_embed.engine.choice import Choice, choose
from treering_embed.engine.engine import Engine
from treering_embed.index import Index, IndexFaultError
from treering_embed.index.opening import open_index
from treering_embed.indexing.comparison import Comparison, compare
from treering_embed.indexing.indexer import Indexer
from treering_embed.indexing.verification import verify
from treering_embed.limits import INDEX_THREADS, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import RegistryFault
from treering_embed.settings import EmbedSettings
from treering_embed.sink.sink import EmbedSink
from treering_runtime.errors import ServiceError

_LOG = structlog.get_logger()
_T = TypeVar("_T")


class EngineLifecycle:
    """Prepares the engine, says whether it is ready, and forgets patterns.

    Args:
        settings: Of the service.
        kept: What should be in the index.
        sink: Told when patterns wait again.
        collector: Where the encoder registers its figures.
        models: Where models come from.
    """

    def __init__(self, settings: EmbedSettings, kept: Kept, sink: EmbedSink, collector: CollectorRegistry, models: Models) -> None:
        self.models = models
        self.answers = asyncio.Event()
        """Set once questions are answered, or refused for another reason than that the service is starting."""
        self.searches = asyncio.Event()
        """Set once the index is open."""
        self.problem = ""
        """What is missing in the answers, for people; empty = nothing."""
        self.note = IndexNote("", "", 0)
        """Of the index that answers; without a model until one is chosen."""
        self._settings, self._kept, self._sink = settings, kept, sink
        self._encode_metrics = EncodeMetrics(collector)
        self._model: PreparedModel | None = None
        self._encoder: EncodeQueue | None = None
        self._engine: Engine | None = None
        self._successor: Engine | None = None

    @property
    def model(self) -> PreparedModel | None:
        """The model in use; None while it is prepared."""
        return self._model

    @property
    def is_ready(self) -> bool:
        """Whether searches are answered."""
        return self._engine is not None

    def engine(self) -> Engine:
        """What answers questions.

        Raises:
            ServiceError: STARTING, while the model is prepared; PEER_UNAVAILABLE, while the index cannot be opened.
        """
        if self._engine is None:
            if self._model is not None and self.problem:
                raise _unavailable(self.problem)
            raise ServiceError(ErrorReason.ERROR_REASON_STARTING, "the model is being loaded; try again in a few seconds")
        return self._engine

    @contextmanager
    def embedding(self) -> Iterator[EncodeQueue]:
        """What embeds texts, with or without an index; it stays open for as long as this lasts.

        Raises:
            ServiceError: STARTING, while the model is prepared.
        """
        # Without an engine nothing replaces this encoder, so it needs no count of its users.
        if self._engine is None and self._encoder is not None:
            yield self._encoder
            return
        with self.using() as engine:
            yield engine.encoder

    @contextmanager
    def using(self) -> Iterator[Engine]:
        """The engine, which stays open for as long as this lasts.

        Raises:
            ServiceError: As `engine`; PEER_UNAVAILABLE too where the index fails inside.
        """
        engine = self.engine()
        with engine.users.one_more():
            try:
                yield engine
            except IndexFaultError as fault:
                raise _unavailable(f"the index does not answer: {fault}") from fault

    def queue(self, model: PreparedModel) -> EncodeQueue:
        """A new queue for a model."""
        return EncodeQueue(model.encoder, self._encode_metrics, Backoff(self._sink.lag.is_behind))

    async def prepare(self) -> tuple[Indexer, str]:
        """Loads the model and opens the index; returns who fills it, and the model that everything is to be embedded with anew.

        Raises:
            StartError: The model cannot be used as configured.
        """
        choice = await self._choose()
        model = self._model = choice.model
        self.note = choice.note
        # Before the index is opened: texts can be embedded while a server is down or a disk is full.
        self._encoder = self.queue(model)
        threads = Background("index", INDEX_THREADS)
        try:
            index, missing = await self._open_patiently(model, threads)
        except BaseException:
            threads.close()
            raise
        # The registry's counts go with the marks of patterns; those of the model only start an index that has none.
        frequencies = PieceFrequencies.from_bytes(await self._on_registry(self._kept.current.frequencies) or model.frequencies)
        self._engine = Engine(model, self._encoder, index, threads, frequencies)
        self.problem = choice.problem
        # Verification may have sent patterns back to wait; the book was made before that.
        await self._requeue()
        self.answers.set()
        self.searches.set()
        return Indexer(self._kept, self._sink, self._engine, missing), choice.successor

    async def _choose(self) -> Choice:
        # Before anything is decided: a process that ended in between had not given up what was cancelled.
        if await self._on_registry(self._kept.successor.is_cancelled):
            await self._on_registry(self._kept.successor.abandon_cancelled, self._settings.model)
        current = await self._on_registry(self._kept.current.note)
        successor = await self._on_registry(self._kept.successor.note)
        number = await self._on_registry(self._kept.current.next_number)
        choice = await choose(self.models, self._settings, current, successor, number)
        # Noted before the index is made: after a crash in between, the registry knows the name of what may be on the disk.
        if current is None or choice.note.number != current.number:
            if choice.problem:
                _LOG.error("search is degraded", problem=choice.problem)
            await self._on_registry(self._kept.current.begin, choice.note)
        elif choice.note != current:
            await self._on_registry(self._kept.current.rename, choice.note)
        # A successor that is not wanted any more: its name goes onto the list of what is to be removed.
        if not choice.successor:
            await self._on_registry(self._kept.successor.abandon)
        return choice

    async def _open_patiently(self, model: PreparedModel, threads: Background) -> tuple[Index, set[int]]:
        """Opens the index, as often as it takes: a server that is down or a full disk is no reason to stop taking records."""
        pause = RETRY_MIN_S
        while True:
            try:
                return await self._open(model, threads)
            except IndexFaultError as fault:
                _LOG.error("the index cannot be opened; trying again", problem=str(fault), pause_s=pause)
                self.problem = f"the index cannot be opened: {fault}"
                # Refusals say the reason from now on, and no longer that the service is starting.
                self.answers.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def _open(self, model: PreparedModel, threads: Background) -> tuple[Index, set[int]]:
        """Opens the index and looks what it lacks; if that fails it is closed again, as a second open would damage an embedded one."""
        index = await threads.run(open_index, self._settings, self.note.name, model.encoder.dimension)
        try:
            return index, await verify(self._kept, self._kept.current, index, threads)
        except BaseException:
            # Shielded: a cancellation could take the call from the queue of the threads, and the shard would stay open.
            await asyncio.shield(threads.run(index.close))
            raise

    async def _requeue(self) -> None:
        """The book and what is visible follow the registry."""
        summary = await self._on_registry(self._kept.registry.summary, self._kept.book.today())
        self._kept.book.requeue(summary.pending)
        await self._sink.settled()
        if summary.pending:
            self._sink.committed_patterns.set()

    def succeed(self, engine: Engine | None) -> None:
        """Says which engine is being filled to answer later; None = none."""
        self._successor = engine

    def replace(self, engine: Engine, note: IndexNote) -> Engine:
        """Questions go to another engine from here on; returns the one before, which may still be in use."""
        before = self.engine()
        # One step without an await: a caller gets all of the old engine or all of the new one.
        self._engine, self._encoder, self._model, self._successor = engine, engine.encoder, engine.model, None
        self.note, self.problem = note, ""
        return before

    async def forget(self, pattern_ids: Sequence[int], below: dict[int, int]) -> int:
        """Forgets patterns, by the ids that other services know, that were last seen below the given ends; returns how many.

        A caller that goes away does not stop it.

        Raises:
            ServiceError: As `using`.
        """
        # Refused before anything is changed, as the index must lose the vectors in the same step.
        self.engine()
        stored = self._kept.book.ids.to_stored(np.array(pattern_ids, np.uint64)).tolist()
        return await self._kept.tasks.run(self._remove(lambda: self._sink.forget(stored, below)))

    async def make_room_forever(self) -> None:
        """Lets patterns that were not seen for longest give way whenever new ones need their room. Faults are tried again for ever."""
        pause = RETRY_MIN_S
        while True:
            await self._sink.crowded.wait()
            try:
                # Evictions are an owned task: at a stop this loop is cancelled, and registry and index must still part in step.
                gone = await self._kept.tasks.run(self._remove(self._sink.evict))
                _LOG.info("patterns that were not seen for longest gave way to new ones; they are found by words", patterns=gone)
                pause = RETRY_MIN_S
            except (ServiceError, IndexFaultError, RegistryFault) as error:
                _LOG.error("patterns cannot give way to new ones; trying again", problem=str(error), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def _remove(self, choose: Callable[[], Awaitable[list[int]]]) -> int:
        """Removes patterns from the registry, then from the index; between the two a crash leaves vectors that the next opening deletes."""
        async with AsyncExitStack() as held:
            engines = [held.enter_context(self.using())]
            # The successor too: forgotten in the registry alone, its vector would come back with the swap.
            if self._successor is not None:
                held.enter_context(self._successor.users.one_more())
                engines.append(self._successor)
            for engine in engines:
                # until the vectors are gone: a pattern that is registered again meanwhile is encoded and marked after that
                await held.enter_async_context(engine.writing)
            # The registry first. The other way round, a crash would leave a pattern that counts as indexed and has no vector.
            if gone := await choose():
                for engine in engines:
                    # A pattern that is registered again has lost its vector here: the filler must not mark it by what it upserted before.
                    for pattern_id in gone:
                        engine.unmarked.pop(pattern_id, None)
                    # Before the lock is given back: the deletion must not follow the upsert of a pattern that is registered again.
                    await engine.index_threads.run(engine.index.delete, gone)
                    await engine.index_threads.run(engine.index.flush)
        return len(gone)

    async def compare(self) -> Comparison:
        """Compares the registry with the index, by the ids that other services know.

        Raises:
            ServiceError: STARTING, while the model is prepared; PEER_UNAVAILABLE, when the index does not answer or the registry cannot be
                written.
        """
        with self.using() as engine:
            before = await self._on_registry(self._kept.registry.states)
            held = await engine.index_threads.run(engine.index.all_ids)
            # After the index was read: a cap may have refused patterns meanwhile, and without this they would count as lost.
            await self._register_what_was_refused()
            after, refused = await self._on_registry(lambda: (self._kept.registry.states(), self._kept.registry.keyword_only.ids()))
            to_wire = self._kept.book.ids.to_wire
            return await engine.index_threads.run(lambda: compare(before, held.tolist(), after, refused).translated(to_wire))

    async def _register_what_was_refused(self) -> None:
        """What a cap refused holds nothing up: it may be visible before it is registered as refused."""
        try:
            await self._sink.commit()
        except RegistryFault as error:
            raise ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, f"the registry cannot be written: {error}") from error

    async def forgotten_count(self) -> int:
        """So many patterns at most a cap kept out whose ids are not remembered any more."""
        return await self._on_registry(self._kept.registry.keyword_only.forgotten_count)

    async def _on_registry(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await self._kept.registry_thread.run(function, *arguments)

    def close(self) -> None:
        """Closes what is open; questions are refused from here on."""
        # First of all: nobody may begin to use what is closed below.
        engine, self._engine = self._engine, None
        if engine:
            engine.close()
        elif self._encoder:
            self._encoder.close()
        self._encoder = self._model = None


def _unavailable(problem: str) -> ServiceError:
    return ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, problem, metadata={"peer": "qdrant"})
