"""The store: a sink of the log that keeps its records hot, seals them, and gives snapshots of everything."""

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
import structlog
from prometheus_client import CollectorRegistry, Histogram

from treering.v1.log_pb2 import Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.store import hot
from treering_query.store.damage import Damage, DamagedSegmentError
from treering_query.store.engine import Engine
from treering_query.store.intake import Intake, Taken, unknown
from treering_query.store.inventory import Inventory
from treering_query.store.listing import listed
from treering_query.store.sealing import Lot, Sealer
from treering_query.store.snapshot import Snapshot
from treering_query.store.upkeep import Change, Policy, changes
from treering_query.store.view import PATTERNS_SCHEMA, Segment, View
from treering_query.templates import Templates, TemplatesChange
from treering_query.templates.keeper import TemplateKeeper
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Change as QuarantineChange
from treering_runtime.quarantine import Quarantined, Selection, records_by_log

_LOG = structlog.get_logger()

T = TypeVar("T")

_RETRY_SEAL_S = (1.0, 60.0)
"""First and longest pause after a seal that failed, seconds: a full disk may have room again."""

Forget = Callable[[Sequence[int], Sequence[Position]], Awaitable[None]]
"""Tells whoever else keeps patterns that some have no record below some positions any more; raises to be asked again later."""

_FORGET_AT_ONCE = 10_000
"""Patterns of one call, as the contract has it."""

_PATTERN_TABLES = 16
"""Tables of patterns before they are made one."""


@dataclass(frozen=True)
class HotBounds:
    """When hot records are sealed: whichever comes first."""

    rows: int
    size_bytes: int
    age_s: float


class Store:
    """Everything that was logged. Implements `treering_runtime.sink.Sink`; belongs to one event loop.

    Life of a record: *active* (hot, the chunks grow) -> *sealing* (hot, on the way into a segment) -> *sealed*. It is visible all the
    time, because `View` is replaced whole at each step. While one lot is sealing the next one gathers; when that is full too, `deliver`
    waits, and with it the log.

    Args:
        directory: The data directory.
        engine: Runs the questions.
        bounds: When hot records are sealed.
        registry: Where seals are timed.
    """

    def __init__(self, directory: Path, engine: Engine, bounds: HotBounds, registry: CollectorRegistry) -> None:
        self.board = ProgressBoard()
        self.damage = Damage()
        self._directory = directory
        self._engine = engine
        self._bounds = bounds
        self._view = View()
        self._known: set[int] = set()
        self._new_patterns: list[pa.Table] = []
        self._quarantined: list[Quarantined] = []
        self._set_aside: Counter[int] = Counter()
        self._oldest = 0.0
        self._seal_seconds = Histogram("treering_query_seal_seconds", "Duration of seals, seconds", registry=registry)
        self.templates = TemplateKeeper(self, registry)
        self._pins: Counter[int] = Counter()
        self._rewritten: list[Segment] = []
        self._segments_change = asyncio.Lock()
        self._sealing = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._intake_thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._seal_thread = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reads the catalog, reconciles it with the files, and begins to seal in the background.

        Raises:
            StartError: The catalog or a segment is damaged or missing.
        """
        loop = asyncio.get_running_loop()
        self._sealer = await loop.run_in_executor(self._seal_thread, Sealer, self._directory)
        sealed = await loop.run_in_executor(self._seal_thread, self._sealer.open)
        templates = await loop.run_in_executor(self._seal_thread, self._sealer.templates.load)
        self._known = set(sealed.patterns.column("pattern_id").to_pylist())
        self._set_aside.update(sealed.quarantined)
        seen = tuple(sorted(sealed.ends.items()))
        for log_id, end in seen:
            aside = self._set_aside[log_id]
            await self.board.update(log_id, next_offset=end, visible_end=end, releasable_end=end, quarantined=aside)
        patterns = (listed(sealed.patterns, templates),)
        view = View(segments=sealed.segments, sealed_counts=sealed.counts, patterns=patterns, templates=templates, seen=seen)
        self._view = replace(view, expired=self._sealer.expired)
        self._intake = Intake(self._directory / "reading", sealed.ends)
        self._tasks = [asyncio.create_task(self._keep_sealing()), asyncio.create_task(self.templates.run())]
        self.templates.wake()

    async def close(self) -> None:
        """Stops; what is hot is forgotten here and delivered again by the log."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.templates.close()
        self._intake_thread.shutdown()
        self._intake.close()
        await asyncio.get_running_loop().run_in_executor(self._seal_thread, self._sealer.close)
        self._seal_thread.shutdown()

    @property
    def view(self) -> View:
        """What is visible now."""
        return self._view

    def snapshot(self) -> Snapshot:
        """Everything that is visible now; close it, or use it as a context manager."""
        view = self._view
        held = [segment.segment_id for segment in view.segments]
        self._pins.update(held)
        return Snapshot(view, self._engine.cursor, lambda: self._unpin(held), self.damage)

    def _unpin(self, held: Iterable[int]) -> None:
        self._pins.subtract(held)
        self._pins += Counter()  # drops the zeros

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking `work(snapshot)` on a thread, bounded in number, interrupted after `timeout_s` seconds or on cancellation.

        Several runs on one snapshot see the same moment; await one before the next.

        Raises:
            ServiceError: TIMED_OUT, OVERLOADED, SQL_LIMIT; STORE_DAMAGED when a segment that is read is damaged.
        """
        try:
            return await self._engine.run(snapshot, work, timeout_s)
        except duckdb.Error as error:
            damage = await self.find_damage(snapshot)
            raise damage or error from error

    async def find_damage(self, snapshot: Snapshot) -> DamagedSegmentError | None:
        """After a question failed: is a damaged segment why? Reads files until one is found, which is remembered."""
        return await asyncio.to_thread(self.damage.find, snapshot.view.segments)

    @contextlib.asynccontextmanager
    async def inventory(self) -> AsyncIterator[Inventory]:
        """What is sealed at this moment, to be checked; its files stay meanwhile."""
        async with self._segments_change:
            leaving = frozenset(segment.path.name for segment in self._rewritten)
            found = await self._on_seal_thread(self._sealer.inventory)
            held = self.snapshot()
        with held:
            yield replace(found, leaving=leaving)

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """Begins where this store stands in the log, or at the log's first offset when that is later."""
        held = dict(self._view.seen).get(log_id, 0)
        if held < log_start_offset:
            _LOG.warning("the log begins after what is stored", log_id=f"{log_id:016x}", stored_end=held, log_start=log_start_offset)
        seen = dict(self._view.seen) | {log_id: max(held, log_start_offset)}
        self._view = replace(self._view, seen=tuple(sorted(seen.items())))
        await self._report(log_id)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames, waits while there is no room, and makes their records visible.

        What counts as taken is the view's own word, which changes in one step with the records: a delivery that is cut off between
        that step and the board's change brings nothing twice.
        """
        del log_end_offset
        async with self._changed:
            await self._changed.wait_for(lambda: not self._full())
            held = dict(self._view.seen).get(log_id, 0)
            fresh = [frame for frame in frames if frame.first_offset + frame.record_count > held]
            if fresh:
                taken, bad, active = await self._on_intake_thread(log_id, fresh, held)
                self._publish(log_id, fresh[-1].first_offset + fresh[-1].record_count, taken, bad, active)
                self._changed.notify_all()
        await self._report(log_id)

    def _publish(self, log_id: int, end: int, taken: Taken, bad: Sequence[Quarantined], active: tuple[hot.Chunk, ...]) -> None:
        if not self._has_unsealed():
            self._oldest = time.monotonic()
        seen = tuple(sorted((dict(self._view.seen) | {log_id: end}).items()))
        self._view = replace(self._view, active=active, patterns=self._with_patterns(taken.patterns), seen=seen)
        self._quarantined += bad
        self._set_aside[log_id] += sum(item.record_count for item in bad)
        for item in bad:
            _LOG.error("records cannot be read; set aside", log_id=f"{log_id:016x}", offset=item.first_offset, reason=item.reason)

    async def _on_intake_thread(
        self, log_id: int, frames: Sequence[DeliveredFrame], next_offset: int
    ) -> tuple[Taken, list[Quarantined], tuple[hot.Chunk, ...]]:
        active = self._view.active

        def work() -> tuple[Taken, list[Quarantined], tuple[hot.Chunk, ...]]:
            taken, bad = self._intake.take(log_id, frames, next_offset)
            return taken, bad, hot.appended(active, taken.records) if taken.records.num_rows else active

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._intake_thread, work))

    def _with_patterns(self, found: pa.Table) -> tuple[pa.Table, ...]:
        new = unknown(found, self._known)
        if not new.num_rows:
            return self._view.patterns
        self._known.update(new.column("pattern_id").to_pylist())
        self._new_patterns.append(new)
        self.templates.wake()
        tables = (*self._view.patterns, listed(new, self._view.templates))
        return tables if len(tables) < _PATTERN_TABLES else (tables[0], pa.concat_tables(tables[1:]).combine_chunks())

    async def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""
        await self._on_seal_thread(lambda: self._sealer.templates.save(change))

    def publish_templates(self, templates: Templates, before: Sequence[pa.Table], after: pa.Table | None) -> bool:
        """Shows templates; see `templates.keeper.Shelf`."""
        now = self._view.patterns
        if len(now) < len(before) or any(one is not other for one, other in zip(before, now, strict=False)):
            return False
        tables = now if after is None else (after, *(listed(table, templates) for table in now[len(before) :]))
        self._view = replace(self._view, templates=templates, patterns=tables)
        return True

    async def _report(self, log_id: int) -> None:
        end = dict(self._view.seen)[log_id]
        await self.board.update(log_id, next_offset=end, visible_end=end, quarantined=self._set_aside[log_id])

    def _full(self) -> bool:
        active = self._view.active
        held = hot.total_bytes(active) + sum(len(item.payload) for item in self._quarantined)
        return hot.total_rows(active) >= self._bounds.rows or held >= self._bounds.size_bytes

    def _has_unsealed(self) -> bool:
        return bool(self._view.active or self._quarantined)

    async def _keep_sealing(self) -> None:
        while True:
            await self._until_due()
            await self.seal()

    async def _until_due(self) -> None:
        """Returns when the active lot is due. Looks under the lock, so that a delivery which fills it meanwhile is not missed."""
        async with self._changed:
            while not self._full():
                left = self._oldest + self._bounds.age_s - time.monotonic() if self._has_unsealed() else None
                if left is not None and left <= 0:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()

    async def seal(self) -> None:
        """Seals what is hot now; tries again until it succeeds."""
        async with self._sealing:
            await self._seal_active()

    async def _seal_active(self) -> None:
        async with self._changed:
            lot = self._begin_lot()
            self._changed.notify_all()
        pause, longest = _RETRY_SEAL_S
        while True:
            try:
                await self._seal_lot(lot)
            except Exception:  # noqa: BLE001 - whatever is wrong with the disk may pass; nothing is lost meanwhile
                _LOG.exception("sealing failed; it is tried again", retry_in_s=pause, rows=lot.records.num_rows)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                return

    def _begin_lot(self) -> Lot:
        view = self._view
        self._view = replace(view, sealing=view.active, active=())
        patterns = pa.concat_tables([PATTERNS_SCHEMA.empty_table(), *self._new_patterns])
        lot = Lot(hot.as_table(view.active), patterns, dict(view.seen), QuarantineChange(tuple(self._quarantined)))
        self._new_patterns, self._quarantined = [], []
        return lot

    async def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside; what was set aside just now is sealed first."""
        if self._quarantined or self._sealing.locked():
            await self.seal()
        return await self._on_seal_thread(lambda: self._sealer.quarantined(selection, after))

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads again what was set aside: what is readable now becomes a segment, in the transaction in which it leaves the quarantine."""
        taken, bad = await asyncio.get_running_loop().run_in_executor(self._intake_thread, self._intake.take_again, items)
        async with self._segments_change:
            lot = Lot(taken.records, taken.patterns, {}, QuarantineChange(bad, items))
            segment, counts = await self._on_seal_thread(functools.partial(self._sealer.seal, lot, self._view.sealed_counts))
            segments = (*self._view.segments, segment) if segment else self._view.segments
            patterns = self._with_patterns(taken.patterns)
            self._view = replace(self._view, segments=segments, sealed_counts=counts, patterns=patterns)
        for log_id, count in (records_by_log(items) - records_by_log(bad)).items():
            self._set_aside[log_id] -= count
            await self.board.update(log_id, quarantined=self._set_aside[log_id])
        _LOG.info(
            "records that were set aside were read again", stored=taken.records.num_rows, still=sum(item.record_count for item in bad)
        )
        return int(taken.records.num_rows)

    async def keep_up(self, policy: Policy, now: int, forget: Forget) -> int:
        """Drops, rewrites and merges what the policy says is due at `now` (nanoseconds since 1970); returns how many changes were made.

        Files of an earlier call that no query holds any more are deleted: a reader of the manifest has the time between two calls to open
        what it names. Patterns without a record are forgotten, elsewhere first, so that one that could not be told stays due.
        """
        await self._remove_rewritten()
        due = list(changes(self._view.segments, policy, now, frozenset(self.damage.segment_ids)))
        for change in due:
            await self._rewrite(change)
        await self._forget_patterns(forget)
        return len(due)

    async def _rewrite(self, change: Change) -> None:
        async with self._segments_change:
            try:
                segment, counts = await self._on_seal_thread(lambda: self._sealer.rewrite(change.segments, change.without))
            except DamagedSegmentError as damaged:
                self.damage.mark(damaged.segment, damaged.problem)
                return
            gone = {each.segment_id for each in change.segments}
            kept = tuple(each for each in self._view.segments if each.segment_id not in gone)
            segments = (*kept, *((segment,) if segment else ()))
            self._view = replace(self._view, segments=segments, sealed_counts=counts, expired=self._sealer.expired)
            self._rewritten += change.segments
        rows = sum(each.row_count for each in change.segments)
        _LOG.info("segments rewritten", segments=len(gone), rows=rows, rows_kept=segment.row_count if segment else 0)

    async def _remove_rewritten(self) -> None:
        free = [segment for segment in self._rewritten if segment.segment_id not in self._pins]
        for segment in free:
            await self._on_seal_thread(functools.partial(self._sealer.remove, segment))
            self._rewritten.remove(segment)

    async def _forget_patterns(self, forget: Forget) -> None:
        dead, below = sorted(self._without_record()), self._view.positions()
        for start in range(0, len(dead), _FORGET_AT_ONCE):
            await forget(dead[start : start + _FORGET_AT_ONCE], below)
        async with self._segments_change:
            gone = self._without_record() & set(dead)
            if not gone:
                return
            # In one step of the loop: a delivery after it finds these patterns unknown again, and its seal comes after their removal.
            self._known -= gone
            kept = pa.concat_tables(self._view.patterns)
            self._view = replace(self._view, patterns=(unknown(kept, gone).combine_chunks(),))
            self.templates.wake(forgotten=True)
            await self._on_seal_thread(lambda: self._sealer.forget(sorted(gone)))

    def _without_record(self) -> set[int]:
        view = self._view
        held = [view.sealed_counts.column("pattern_id"), *(chunk.table.column("pattern_id") for chunk in view.hot)]
        new = [table.column("pattern_id") for table in self._new_patterns]
        return self._known.difference(*(column.unique().to_pylist() for column in (*held, *new)))

    async def _on_seal_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._seal_thread, work))

    async def _seal_lot(self, lot: Lot) -> None:
        async with self._segments_change:
            await self._seal_lot_alone(lot)

    async def _seal_lot_alone(self, lot: Lot) -> None:
        started = time.monotonic()
        counts = self._view.sealed_counts
        segment, merged = await self._on_seal_thread(lambda: self._sealer.seal(lot, counts))
        segments = (*self._view.segments, segment) if segment else self._view.segments
        self._view = replace(self._view, segments=segments, sealing=(), sealed_counts=merged)
        for log_id, end in lot.ends.items():
            await self.board.update(log_id, releasable_end=end)
        seconds = time.monotonic() - started
        self._seal_seconds.observe(seconds)
        _LOG.info("sealed", rows=lot.records.num_rows, size_bytes=segment.size_bytes if segment else 0, seconds=round(seconds, 3))
