"""The store: a sink of the log that keeps its records hot, seals them, and gives snapshots of everything."""

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
from prometheus_client import CollectorRegistry

from treering.v1.log_pb2 import Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.retention.retention_clock import SYSTEM_CLOCKS, Clocks
from treering_query.retention.upkeep import Policy
from treering_query.sealed.catalog import Sealed
from treering_query.sealed.damage import Damage, DamagedSegmentError
from treering_query.sealed.inventory import Inventory
from treering_query.sealed.opening import open_sealer
from treering_query.sealed.sealing import Sealer
from treering_query.store.deliveries import Deliveries, HotBounds
from treering_query.store.forgetting import Forgetting
from treering_query.store.intake import DeliveryReader
from treering_query.store.kept_clock import KeptClock
from treering_query.store.maintenance import Forget, Maintenance
from treering_query.store.pattern_table import PatternTable
from treering_query.store.published import Published
from treering_query.store.quarantine import Quarantine
from treering_query.store.questions import Questions
from treering_query.store.seal_hot import sealing_of
from treering_query.store.sealed_files import SealedFiles
from treering_query.store.shown import ShownEnds
from treering_query.store.template_keeper import TemplateKeeper
from treering_query.store.unsealed import Unsealed
from treering_query.store.without_pattern import WithoutPattern
from treering_query.templates import Templates, TemplatesChange
from treering_query.values.schemas import kinds
from treering_query.values.segment import Segment
from treering_query.view.engine import SnapshotEngine
from treering_query.view.snapshot import Snapshot
from treering_query.view.view import View
from treering_runtime.background import Background
from treering_runtime.errors import StopError
from treering_runtime.patterns import PatternIds
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Quarantined, QuarantineSelection

T = TypeVar("T")


class Store:
    """Everything that was logged. Implements `treering_runtime.sink.Sink`; belongs to one event loop. Wires parts that have one job each.

    Life of a record: *active* (hot, the chunks grow) -> *sealing* (hot, on the way into a segment) -> *sealed*. It is visible all the
    time, because `View` is replaced whole at each step. While one batch is sealing the next one gathers; when that is full too, `deliver`
    waits, and with it the log.

    Who changes what: `Deliveries` alone adds hot records, `SealTask` alone has it begin a batch of them, `SealedFiles` runs one change
    of segments and catalog at a time. Callers of all three may be cancelled at any moment: a delivery then brings nothing, and everything
    else goes on without them.

    Args:
        directory: The data directory.
        engine: Runs the questions.
        bounds: When hot records are sealed.
        registry: Where seals are timed.
        clocks: Of the machine.
        opened: Opens the sealer, and with it the catalog and the segments' objects.
    """

    def __init__(
        self,
        directory: Path,
        engine: SnapshotEngine,
        bounds: HotBounds,
        registry: CollectorRegistry,
        clocks: Clocks = SYSTEM_CLOCKS,
        *,
        opened: Callable[[Path], Sealer] = open_sealer,
    ) -> None:
        self.board = ProgressBoard()
        self.damage = Damage()
        # Shared by the deliveries and by what forgets patterns: one table of who holds which id.
        self.ids = PatternIds()  # claimed on the intake thread only, so that of two patterns that come together one is the first
        self._directory = directory
        self._engine = engine
        self._questions = Questions(engine, self.damage)
        # Parts from the inside out: each one gets those that it uses, none of them knows the store.
        self._published = Published(engine, self.damage)
        unsealed, without_pattern = Unsealed(), WithoutPattern(registry)
        self.templates = TemplateKeeper(self, registry)
        self._patterns = PatternTable(self._published, unsealed, self.templates.wake)
        self._files = SealedFiles(directory, self._published, opened)
        self.clock = KeptClock(directory, self._files, clocks)
        self._deliveries = Deliveries(self._published, unsealed, self._patterns, self.board, bounds=bounds, without_pattern=without_pattern)
        self._sealing = sealing_of(self._deliveries, self._files, self.clock, self.board, registry)
        self._quarantine = Quarantine(
            self._deliveries,
            unsealed,
            self._patterns,
            self._files,
            sealing=self._sealing,
            clock=self.clock,
            without_pattern=without_pattern,
        )
        # Only now: it needs the deliveries and the files, and is needed by the maintenance alone.
        forgetting = Forgetting(
            self._deliveries, self._patterns, self._files, self.ids, patterns_left=lambda: self.templates.wake(forgotten=True)
        )
        self._maintenance = Maintenance(self._published, self._files, self.damage, self._patterns.without_record, forgetting.drop)
        self._background = Background()

    async def open(self) -> None:
        """Reads the catalog, reconciles it with the files, and begins to seal in the background.

        Raises:
            StartError: The catalog or a segment is damaged or missing.
        """
        # The catalog first: it says what everything below begins with, and refuses the start before anything is written.
        sealed = await self._files.open()
        # Before the first seal: a segment is stamped with this clock.
        await self.clock.open(sealed.segments)
        templates = await self._files.change(lambda sealer: sealer.load_templates())
        self._patterns.open(sealed.patterns, templates)
        # On the thread that claims ids later, and before the first delivery: a known pattern must keep its id.
        await self._deliveries.on_thread(lambda: self.ids.restore(kinds(sealed.patterns)))
        # Before `Shown` asks the board how far this process is.
        self._begin_at(sealed)
        shown = ShownEnds(self._directory / "shown", self.board)
        self._deliveries.open(DeliveryReader(self._directory / "reading", sealed.ends, self.ids), shown, self._sealing.hot_changed)
        self._shown = shown
        # Last: nothing seals, joins or waits before all parts have what they begin with.
        self._background.start("sealing", self._sealing.run())
        self._background.start("templates", self.templates.run())
        self._background.start("wait for what was shown", shown.watch())
        self.templates.wake()

    async def work(self) -> None:
        """Returns never while the store's own tasks do their work.

        Raises:
            StopError: One of them failed: sealing would end, or questions would wait, and nobody would know.
        """
        await self._background.wait_failed()
        raise StopError(f"{self._background.failure}; the log of the service has the whole story. Start again")

    def _begin_at(self, sealed: Sealed) -> None:
        seen = tuple(sorted(sealed.ends.items()))
        self._published.view = replace(self.view, seen=seen)
        for log_id, end in seen:
            self.board.update(log_id, releasable_end=end)
            self._deliveries.report(log_id)
        # The log compares its own chain with this one, so that a log that was replaced is noticed.
        for log_id, link in sealed.links.items():
            self.board.chain.restore(log_id, sealed.ends[log_id], link)

    async def close(self) -> None:
        """Stops; what is hot is forgotten here and delivered again by the log."""
        # The tasks first, so that none begins a change below. A change that runs goes on: it is not the task's.
        await self._background.stop()
        self.templates.close()
        # After the tasks and before the files: it waits for changes that run, then deletes what they replaced.
        await self._maintenance.close()
        with contextlib.suppress(duckdb.Error, OSError):  # without it the clock lags by the time since the last turn
            await self.clock.keep()
        await self._files.close()  # a change that runs may need the thread of the deliveries
        self._deliveries.close()
        self._questions.close()

    @property
    def view(self) -> View:
        """What is visible now."""
        return self._published.view

    async def wait_visible(self, positions: Sequence[Position], timeout_s: float | None) -> None:
        """Waits until everything below `positions`, and what was visible before a restart, is visible.

        Raises:
            ServiceError: TIMED_OUT when it is not after `timeout_s` seconds (None waits for ever).
        """
        # One deadline for both waits.
        begin = time.monotonic()
        await self._shown.returned(timeout_s)
        await self.board.wait_visible(positions, None if timeout_s is None else timeout_s - (time.monotonic() - begin))

    def snapshot(self) -> Snapshot:
        """Everything that is visible now; close it, or use it as a context manager."""
        return self._published.snapshot()

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking `work(snapshot)` on a thread; see `Questions.run`."""
        return await self._questions.run(snapshot, work, timeout_s)

    async def find_damage(self, segments: Sequence[Segment], error: Exception) -> DamagedSegmentError | None:
        """After a question failed: is one of the segments that it read damaged? See `Questions.find_damage`."""
        return await self._questions.find_damage(segments, error)

    def inventory(self) -> AbstractAsyncContextManager[Inventory]:
        """What is sealed at this moment, to be checked; its files stay meanwhile."""
        return self._files.inventory()

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """Begins where this store stands in the log, or behind an operator's hole; see `Deliveries.open_log`."""
        await self._deliveries.open_log(log_id, log_start_offset)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames, waits while there is no room, and makes their records visible; see `Deliveries.deliver`."""
        del log_end_offset
        await self._deliveries.deliver(log_id, frames)

    async def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""
        await self._files.change(lambda sealer: sealer.save_templates(change))

    def publish_templates(self, templates: Templates, before: Sequence[pa.Table], after: pa.Table | None) -> bool:
        """Shows templates; see `shelf.Shelf`."""
        return self._patterns.show_templates(templates, before, after)

    @property
    def seal_problem(self) -> str:
        """Why the last attempt to seal failed; empty when it did not."""
        return self._sealing.problem

    def disk_free_bytes(self) -> int:
        """Of the file system that holds the segments."""
        # Free for this user: blocks that the system keeps for root do not count.
        return shutil.disk_usage(self._directory).free

    async def seal(self) -> None:
        """Returns when everything that is hot now is sealed. A caller that is cancelled does not stop it."""
        await self._sealing.seal()

    async def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is quarantined; what came just now is sealed first."""
        return await self._quarantine.listed(selection, after)

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads quarantined records again, and returns how many were stored; see `Quarantine.read_again`."""
        return await self._quarantine.read_again(items)

    async def keep_up(self, policy: Policy, now: int, forget: Forget) -> int:
        """One turn of retention, compaction and forgetting; see `Maintenance.turn`."""
        return await self._maintenance.turn(policy, now, forget)
