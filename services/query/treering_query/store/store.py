"""The store: a sink of the log that keeps its records hot, seals them, and gives snapshots of everything."""

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
import structlog
from prometheus_client import CollectorRegistry

from treering.v1.log_pb2 import Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query import limits
from treering_query.store import hot
from treering_query.store.damage import Damage, DamagedSegmentError
from treering_query.store.engine import Engine
from treering_query.store.intake import Intake, Taken
from treering_query.store.inventory import Inventory
from treering_query.store.kept_clock import KeptClock
from treering_query.store.maintenance import Forget, Maintenance
from treering_query.store.pattern_table import Ids, NewPatterns, PatternTable
from treering_query.store.published import Published
from treering_query.store.retention_clock import SYSTEM_CLOCKS, Clocks
from treering_query.store.seal_task import SealTask
from treering_query.store.sealed_files import SealedFiles
from treering_query.store.sealed_state import SealBatch
from treering_query.store.shown import Shown
from treering_query.store.snapshot import Snapshot
from treering_query.store.unsealed import Unsealed
from treering_query.store.upkeep import Policy
from treering_query.store.view import Segment, View, kinds
from treering_query.store.without_pattern import WithoutPattern
from treering_query.templates import Templates, TemplatesChange
from treering_query.templates.keeper import TemplateKeeper
from treering_runtime.patterns import PatternIds
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Change, Quarantined, Selection, records_by_log

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


class Store:
    """Everything that was logged. Implements `treering_runtime.sink.Sink`; belongs to one event loop.

    Life of a record: *active* (hot, the chunks grow) -> *sealing* (hot, on the way into a segment) -> *sealed*. It is visible all the
    time, because `View` is replaced whole at each step. While one batch is sealing the next one gathers; when that is full too, `deliver`
    waits, and with it the log.

    Who changes what: `deliver` alone adds hot records (under the lock `_hot`), `SealTask` alone takes them, `SealedFiles` runs one change
    of segments and catalog at a time. Callers of all three may be cancelled at any moment: a delivery then brings nothing, and everything
    else goes on without them.

    Args:
        directory: The data directory.
        engine: Runs the questions.
        bounds: When hot records are sealed.
        registry: Where seals are timed.
        clocks: Of the machine.
    """

    def __init__(
        self, directory: Path, engine: Engine, bounds: HotBounds, registry: CollectorRegistry, clocks: Clocks = SYSTEM_CLOCKS
    ) -> None:
        self.board = ProgressBoard()
        self.damage = Damage()
        self.ids = PatternIds()  # claimed on the intake thread only, so that of two patterns that come together one is the first
        self._without_pattern = WithoutPattern(registry)
        self._directory = directory
        self._engine = engine
        self._bounds = bounds
        self._published = Published(engine, self.damage)
        self._unsealed = Unsealed()
        self._patterns = PatternTable(self._published, self._unsealed)
        self._files = SealedFiles(directory, self._published)
        self.clock = KeptClock(directory, self._files, clocks)
        self._sealing = SealTask(self._due_in, self._begin_batch, self._seal_batch, registry)
        drop = self._drop_patterns
        self._maintenance = Maintenance(self._published, self._files, self.damage, self._patterns.without_record, drop)
        self.templates = TemplateKeeper(self, registry)
        self._hot = asyncio.Condition()
        self._intake_thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._damage_thread = ThreadPoolExecutor(1, thread_name_prefix="damage")
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reads the catalog, reconciles it with the files, and begins to seal in the background.

        Raises:
            StartError: The catalog or a segment is damaged or missing.
        """
        sealed = await self._files.open()
        await self.clock.open(sealed.segments)
        templates = await self._files.change(lambda sealer: sealer.load_templates())
        self._patterns.open(sealed.patterns, templates)
        await self._on_intake_thread(lambda: self.ids.restore(kinds(sealed.patterns)))
        seen = tuple(sorted(sealed.ends.items()))
        self._published.view = replace(self.view, seen=seen)
        for log_id, end in seen:
            self.board.update(log_id, releasable_end=end)
            self._report(log_id)
        for log_id, link in sealed.links.items():
            self.board.chain.restore(log_id, sealed.ends[log_id], link)
        self._intake = Intake(self._directory / "reading", sealed.ends, self.ids)
        self._shown = Shown(self._directory / "shown", self.board)
        self._tasks = [asyncio.create_task(work) for work in (self._sealing.run(), self.templates.run(), self._shown.watch())]
        self.templates.wake()

    async def close(self) -> None:
        """Stops; what is hot is forgotten here and delivered again by the log."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.templates.close()
        await self._maintenance.close()
        with contextlib.suppress(duckdb.Error, OSError):  # without it the clock lags by the time since the last turn
            await self.clock.keep()
        await self._files.close()  # a change that runs may need the other thread
        self._intake_thread.shutdown()
        self._intake.close()
        self._shown.close()
        self._damage_thread.shutdown(cancel_futures=True)

    @property
    def view(self) -> View:
        """What is visible now."""
        return self._published.view

    async def wait_visible(self, positions: Sequence[Position], timeout_s: float | None) -> None:
        """Waits until everything below `positions`, and what was visible before a restart, is visible.

        Raises:
            ServiceError: TIMED_OUT when it is not after `timeout_s` seconds (None waits for ever).
        """
        begin = time.monotonic()
        await self._shown.returned(timeout_s)
        await self.board.wait_visible(positions, None if timeout_s is None else timeout_s - (time.monotonic() - begin))

    def snapshot(self) -> Snapshot:
        """Everything that is visible now; close it, or use it as a context manager."""
        return self._published.snapshot()

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking `work(snapshot)` on a thread, bounded in number, interrupted after `timeout_s` seconds or on cancellation.

        Several runs on one snapshot see the same moment; await one before the next.

        Raises:
            ServiceError: TIMED_OUT, OVERLOADED, SQL_LIMIT; STORE_DAMAGED when a segment that is read is damaged.
        """
        try:
            return await self._engine.run(snapshot, work, timeout_s)
        except duckdb.Error as error:
            damage = await self.find_damage(snapshot.last_read, error)
            raise damage or error from error

    async def find_damage(self, segments: Sequence[Segment], error: Exception) -> DamagedSegmentError | None:
        """After a question failed: is one of the segments that it read damaged? Reads their files until one is, which is remembered.

        One search at a time, for `DAMAGE_SEARCH_S` seconds at most, time in the queue included: many failing questions cost no more.
        """
        until = time.monotonic() + limits.DAMAGE_SEARCH_S
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._damage_thread, self.damage.find, segments, str(error), until)

    def inventory(self) -> AbstractAsyncContextManager[Inventory]:
        """What is sealed at this moment, to be checked; its files stay meanwhile."""
        return self._files.inventory()

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """Begins where this store stands in the log, or behind an operator's hole.

        Of a log that is new here nothing is shown before something of it arrives: what begins it is its own word.
        """
        if (held := dict(self.view.seen).get(log_id)) is None:
            return
        if held < log_start_offset:
            _LOG.warning("the log begins after what is stored", log_id=f"{log_id:016x}", stored_end=held, log_start=log_start_offset)
            self._show(log_id, log_start_offset, self.view.active)
        self._report(log_id)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames, waits while there is no room, and makes their records visible.

        What counts as taken is the view's own word, which changes in one step with the records: a delivery that is cut off before that step
        brings nothing, and one that is cut off after it brings nothing twice.
        """
        del log_end_offset
        async with self._hot:
            await self._hot.wait_for(lambda: not self._full())
            held = dict(self.view.seen).get(log_id, self.board.get(log_id).next_offset)
            fresh = [frame for frame in frames if frame.first_offset + frame.record_count > held]
            if fresh:
                delivered = await self._on_intake_thread(lambda: self._read(log_id, fresh, held))
                self._take_over(log_id, fresh[-1].first_offset + fresh[-1].record_count, delivered)
        self._report(log_id)

    def _read(self, log_id: int, frames: Sequence[DeliveredFrame], next_offset: int) -> _Delivered:
        active = self.view.active
        taken, bad = self._intake.take(log_id, frames, next_offset)
        chunks = hot.appended(active, taken.records) if taken.records.num_rows else active
        return _Delivered(chunks, self._patterns.new_in(taken.patterns), bad, taken.without_pattern)

    def _take_over(self, log_id: int, end: int, delivered: _Delivered) -> None:
        # no await from the first of these lines to the last: records, patterns and position become visible together
        self._unsealed.add(delivered.quarantined)
        if self._patterns.add(delivered.patterns):
            self.templates.wake()
        self._show(log_id, end, delivered.active)
        self._sealing.hot_changed()
        self._without_pattern.add(delivered.without_pattern)
        for item in delivered.quarantined:
            _LOG.error("records cannot be read; quarantined", log_id=f"{log_id:016x}", offset=item.first_offset, reason=item.reason)

    def _show(self, log_id: int, end: int, active: tuple[hot.Chunk, ...]) -> None:
        self._shown.note(log_id, end)
        seen = tuple(sorted((dict(self.view.seen) | {log_id: end}).items()))
        self._published.view = replace(self.view, active=active, seen=seen)

    def _report(self, log_id: int) -> None:
        end = dict(self.view.seen).get(log_id, 0)
        quarantined = self._published.quarantined(log_id) + self._unsealed.quarantined[log_id]
        self.board.update(log_id, next_offset=end, visible_end=end, quarantined=quarantined)

    async def _on_intake_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._intake_thread, work)

    async def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""
        await self._files.change(lambda sealer: sealer.save_templates(change))

    def publish_templates(self, templates: Templates, before: Sequence[pa.Table], after: pa.Table | None) -> bool:
        """Shows templates; see `templates.keeper.Shelf`."""
        return self._patterns.show_templates(templates, before, after)

    def _full(self) -> bool:
        active = self.view.active
        held = hot.total_bytes(active) + self._unsealed.size_bytes
        return hot.total_rows(active) >= self._bounds.rows or held >= self._bounds.size_bytes

    def _due_in(self) -> float | None:
        """Seconds until what is hot has to be sealed."""
        if self._full():
            return 0.0
        age_s = self._unsealed.age_s
        return None if age_s is None else self._bounds.age_s - age_s

    async def _begin_batch(self) -> SealBatch:
        # under the lock: a delivery that is being read would otherwise append to records that are a batch already
        async with self._hot:
            records = hot.as_table(self.view.active)
            patterns, quarantine = self._unsealed.take()
            ends = dict(self.view.seen)
            batch = SealBatch(records, patterns, ends, quarantine, secrets.token_hex(8), self.board.chain.of(ends))
            self._published.begin_sealing(batch)
            self._hot.notify_all()
        return batch

    async def _seal_batch(self, batch: SealBatch) -> None:
        segment = await self._files.change(lambda sealer: sealer.seal(batch, self.clock.now()))
        # after the commit only: below this offset the log may delete
        for log_id, end in batch.ends.items():
            self.board.update(log_id, releasable_end=end)
        _LOG.info("sealed", rows=batch.records.num_rows, size_bytes=segment.size_bytes if segment else 0)

    @property
    def seal_problem(self) -> str:
        """Why the last attempt to seal failed; empty when it did not."""
        return self._sealing.problem

    def disk_free_bytes(self) -> int:
        """Of the file system that holds the segments."""
        return shutil.disk_usage(self._directory).free

    async def seal(self) -> None:
        """Returns when everything that is hot now is sealed. A caller that is cancelled does not stop it."""
        await self._sealing.seal()

    async def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is quarantined; what came just now is sealed first."""
        if self._unsealed.quarantined:
            await self._sealing.seal()
        await self._sealing.settled()
        return await self._files.change(lambda sealer: sealer.quarantined(selection, after))

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads quarantined records again: what is readable now becomes a segment, in the transaction in which it leaves the quarantine.

        Returns how many records were stored. A caller that is cancelled once the change has begun does not stop it.
        """
        return await self._files.exclusively(lambda: self._read_again(items))

    async def _read_again(self, items: Sequence[Quarantined]) -> int:
        def read() -> tuple[Taken, list[Quarantined], NewPatterns | None]:
            taken, bad = self._intake.take_again(items)
            return taken, bad, self._patterns.new_in(taken.patterns)

        taken, bad, new = await self._on_intake_thread(read)
        batch = SealBatch(taken.records, taken.patterns, {}, Change(bad, items))
        await self._files.within(lambda sealer: sealer.seal(batch, self.clock.now()))
        if self._patterns.add(new):
            self.templates.wake()
        self._without_pattern.add(taken.without_pattern)
        for log_id in records_by_log(items):
            self._report(log_id)
        _LOG.info("quarantined records were read again", stored=taken.records.num_rows, still=sum(item.record_count for item in bad))
        return int(taken.records.num_rows)

    async def keep_up(self, policy: Policy, now: int, forget: Forget) -> int:
        """One turn of retention, compaction and forgetting; see `Maintenance.turn`."""
        return await self._maintenance.turn(policy, now, forget)

    async def _drop_patterns(self, dead: Ids) -> None:
        await self._files.exclusively(lambda: self._drop_alone(dead))

    async def _drop_alone(self, dead: Ids) -> None:
        # no delivery meanwhile: one after it finds these patterns unknown, and the seal that stores them again comes after their removal
        async with self._hot:
            leaving = await self._on_intake_thread(lambda: self._patterns.left_by(dead))
            while not self._patterns.forget(leaving):
                leaving = await self._on_intake_thread(lambda: self._patterns.left_by(dead))
            # with no delivery being read: one that claims an id from here on finds its pattern unknown, and stores it again
            await self._on_intake_thread(lambda: self.ids.release(leaving.gone.tolist()))
        if len(leaving.gone):
            self.templates.wake(forgotten=True)
            await self._files.within(lambda sealer: sealer.forget(leaving.gone.tolist()))
