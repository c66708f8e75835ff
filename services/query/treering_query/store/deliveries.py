"""Deliveries: frames of the log become hot records, and what is hot becomes a batch to be sealed."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.sealed.sealed_state import SealBatch
from treering_query.store.intake import DeliveryReader
from treering_query.store.pattern_table import NewPatterns, PatternTable
from treering_query.store.published import Published
from treering_query.store.shown import ShownEnds
from treering_query.store.unsealed import Unsealed
from treering_query.store.without_pattern import WithoutPattern
from treering_query.view import hot
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Quarantined

_LOG = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class HotBounds:
    """When hot records are sealed: whichever comes first."""

    rows: int
    size_bytes: int
    age_s: float


@dataclass(frozen=True)
class _Delivered:
    """What a delivery brings, prepared on the intake thread."""

    active: tuple[hot.Chunk, ...]
    patterns: NewPatterns | None
    quarantined: list[Quarantined]
    without_pattern: int


class Deliveries:
    """Adds hot records, one delivery at a time, and takes them for a seal. Nothing else changes what is hot. Belongs to one event loop.

    Args:
        published: The view that shows the records.
        unsealed: Keeps what the next seal takes along.
        patterns: Knows which patterns are new.
        board: Told how far each log is.
        bounds: When what is hot is due, and when there is no room for more.
        without_pattern: Counts the records that have no pattern.
    """

    def __init__(
        self,
        published: Published,
        unsealed: Unsealed,
        patterns: PatternTable,
        board: ProgressBoard,
        *,
        bounds: HotBounds,
        without_pattern: WithoutPattern,
    ) -> None:
        self._published = published
        self._unsealed = unsealed
        self._patterns = patterns
        self._board = board
        self._bounds = bounds
        self._without_pattern = without_pattern
        # Held while a delivery is read or a batch is taken; waiting on it gives it up, so a full store still seals.
        self._hot = asyncio.Condition()
        # One thread: decoding, masking and the claims of ids happen in the order of the deliveries.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")

    def open(self, intake: DeliveryReader, shown: ShownEnds, hot_changed: Callable[[], None]) -> None:
        """Begins: `intake` reads frames, `shown` notes what was shown, both are closed here; `hot_changed` hears of new ones."""
        self.intake = intake
        self._shown = shown
        self._hot_changed = hot_changed

    def close(self) -> None:
        """Ends the thread, when what runs on it has ended."""
        # Waits: the notes and the slots below are used by what runs on it.
        self._thread.shutdown()
        self.intake.close()
        self._shown.close()

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Runs what reads frames, or claims ids of patterns: one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def paused(self) -> AbstractAsyncContextManager[None]:
        """For as long as it is held no delivery is read."""
        return self._hot

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """Begins where this store stands in the log, or behind an operator's hole.

        Of a log that is new here nothing is shown before something of it arrives: what begins it is its own word.
        """
        view = self._published.view
        if (held := dict(view.seen).get(log_id)) is None:
            return
        if held < log_start_offset:
            _LOG.warning("the log begins after what is stored", log_id=str(log_id), stored_end=held, log_start=log_start_offset)
            # The records before are gone from the log: without this step they would be waited for, for ever.
            self._show(log_id, log_start_offset, view.active)
        self.report(log_id)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame]) -> None:
        """Takes frames, waits while there is no room, and makes their records visible.

        What counts as taken is the view's own word, which changes in one step with the records: a delivery that is cut off before that step
        brings nothing, and one that is cut off after it brings nothing twice.
        """
        async with self._hot:
            # The limit stands before the reading: the frames are bytes of the caller's until there is room for their columns.
            await self._hot.wait_for(lambda: not self._full())
            # After the wait: while it lasted the same delivery may have come by another stream.
            held = dict(self._published.view.seen).get(log_id, self._board.get(log_id).next_offset)
            # A log delivers again what it was not told of; a frame that is cut by `held` is read in part.
            fresh = [frame for frame in frames if frame.first_offset + frame.record_count > held]
            if fresh:
                # Cancelled here, the thread reads on and its result is dropped. The view has not changed, so the log delivers again.
                delivered = await self.on_thread(lambda: self._read(log_id, fresh, held))
                self._take_over(log_id, fresh[-1].first_offset + fresh[-1].record_count, delivered)
        # Also when nothing was fresh: the log asks how far this store is.
        self.report(log_id)

    def report(self, log_id: int) -> None:
        """Tells the board how far a log is."""
        end = dict(self._published.view.seen).get(log_id, 0)
        # Three places where a quarantined record can be, never in two: not yet sealed, on its way, sealed.
        quarantined = self._published.quarantined(log_id) + self._unsealed.quarantined[log_id]
        self._board.update(log_id, next_offset=end, visible_end=end, quarantined=quarantined)

    def due_in(self) -> float | None:
        """Seconds until what is hot has to be sealed; None when there is nothing."""
        # Before the age: a delivery waits for room.
        if self._full():
            return 0.0
        age_s = self._unsealed.age_s
        return None if age_s is None else self._bounds.age_s - age_s

    async def begin_batch(self) -> SealBatch:
        """Everything that is hot, as one batch; what comes from here on is gathered for the next one."""
        # under the lock: a delivery that is being read would otherwise append to records that are a batch already
        async with self._hot:
            records = hot.as_table(self._published.view.active)
            # With the records of the same moment: a text that is sealed later than its records would be missing after a crash.
            patterns, quarantine = self._unsealed.take()
            # Every log, also one without a new record: a commit may raise its end, as by records that could not be read.
            ends = dict(self._published.view.seen)
            batch = SealBatch(records, patterns, ends, quarantine, secrets.token_hex(8), self._board.chain.of(ends))
            self._published.begin_sealing(batch)
            # There is room now. Who waits runs only when the lock is free, so it sees the new view.
            self._hot.notify_all()
        return batch

    def _full(self) -> bool:
        active = self._published.view.active
        # Quarantined payloads are memory as well: a sender of rubbish must not get around the limit.
        held = hot.total_bytes(active) + self._unsealed.size_bytes
        return hot.total_rows(active) >= self._bounds.rows or held >= self._bounds.size_bytes

    def _read(self, log_id: int, frames: Sequence[DeliveredFrame], next_offset: int) -> _Delivered:
        active = self._published.view.active
        taken, bad = self.intake.take(log_id, frames, next_offset)
        # The caller holds the lock, so nobody changes what is hot meanwhile. If it was cancelled, this result is dropped.
        chunks = hot.appended(active, taken.records) if taken.records.num_rows else active
        return _Delivered(chunks, self._patterns.new_in(taken.patterns), bad, taken.without_pattern)

    def _take_over(self, log_id: int, end: int, delivered: _Delivered) -> None:
        # no await from the first of these lines to the last: records, patterns and position become visible together
        self._unsealed.add(delivered.quarantined)
        self._patterns.add(delivered.patterns)
        self._show(log_id, end, delivered.active)
        self._hot_changed()
        self._without_pattern.add(delivered.without_pattern)
        for item in delivered.quarantined:
            _LOG.error("records cannot be read; quarantined", log_id=str(log_id), offset=item.first_offset, reason=item.reason)

    def _show(self, log_id: int, end: int, active: tuple[hot.Chunk, ...]) -> None:
        # the note first: what a question may have seen before a crash is waited for after it
        self._shown.note(log_id, end)
        seen = tuple(sorted((dict(self._published.view.seen) | {log_id: end}).items()))
        self._published.view = replace(self._published.view, active=active, seen=seen)
