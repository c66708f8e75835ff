"""Group commit: everything that waits is written at once, synced once, and acknowledged together."""

import asyncio
import bisect
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from treering_ingest.commit_policy import CommitObserver, CommitPolicy
from treering_ingest.durable_log import Batch, DiskFullError, DurableLog, LogFailedError
from treering_ingest.limits import BATCH_OVERHEAD_BYTES, DISK_RETRY_S
from treering_ingest.settings import Durability
from treering_ingest.waiters import Fault, Waiter, ticket_of
from treering_runtime.wakeup import Wakeup

_LOG = structlog.get_logger()
_R = TypeVar("_R")


class Committer:
    """Takes batches in order, and tells when they are durable.

    States: *running* from `start`; *stopped* after `stop`, when everything staged is durable or has failed; *failed* when the disk failed:
    all who wait get LogFailedError, now and later. A lack of space or descriptors is no failure: all who wait get DiskFullError, and what
    is staged is tried again until there is room.

    Belongs to one event loop. What writes to the log runs on a thread of its own, through this class alone.

    Args:
        log: The open log.
        policy: See CommitPolicy.
        observer: Is told of commits.
    """

    def __init__(self, log: DurableLog, policy: CommitPolicy, observer: CommitObserver) -> None:
        self.log = log
        # Payload bytes that are staged and not durable yet. The intake bounds them, and they are taken off the free space of the disk.
        self.waiting_bytes = 0
        self.lack: Fault | None = None
        """Why what waits cannot be written at the moment; None when it can."""
        self.failure = ""  # why the disk failed; empty while it has not
        # Both say only that something may have changed, a commit, a failure, room: whoever wakes looks again.
        self.advanced = Wakeup()
        self.room = Wakeup()
        self._policy = policy
        self._observer = observer
        self._end_offset = log.end_offset  # as far as this writer knows; of the log's thread
        # Of the event loop: `stage` appends, the committer's task takes. The log's thread sees a group only as the argument of `_write`.
        self._pending: deque[tuple[Batch, float]] = deque()
        self._in_flight: list[tuple[Batch, float]] = []
        self._staged = Wakeup()
        self._urgent = Wakeup()
        # Batches that were ever staged, and those of them that may be acknowledged. A ticket is a value of the first.
        self._staged_count = 0
        self._durable_count = 0
        # Sorted by ticket. One for each stream at most, and those of cancelled callers until their ticket is durable.
        self._waiters: list[Waiter] = []
        # Producers that staged something since the last group. All anonymous ones share the empty id and count as one sender.
        self._senders: set[bytes] = set()
        self._company = 1
        self._stopping = False
        self._last_sync = time.monotonic()
        # One thread, so calls run one after the other in the order in which they were made. The log needs no other lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to commit."""
        self._thread.submit(int)  # starts it now: later there may be no memory for a thread, and without it nothing can be written
        self._task = asyncio.create_task(self._run(), name="committer")

    @property
    def staged_count(self) -> int:
        """Batches that were ever staged: the ticket of the newest."""
        return self._staged_count

    @property
    def held_bytes(self) -> int:
        """Memory of the batches that wait, about: their payloads and what is around them."""
        return self.waiting_bytes + BATCH_OVERHEAD_BYTES * (self._staged_count - self._durable_count)

    def is_durable(self, ticket: int) -> bool:
        """Whether the batch with this ticket, and all before it, may be acknowledged."""
        return ticket <= self._durable_count

    def stage(self, batch: Batch) -> int:
        """Adds a batch to the log's order and returns its ticket. Call only after a look at `held_bytes` and `failure`."""
        # A batch's ticket is its number in this order, which is the log's: one comparison tells whether it may be acknowledged.
        # Not a coroutine: the ticket, the place in the log and the intake's own count of offsets are fixed in one step and cannot disagree.
        self._pending.append((batch, time.monotonic()))
        self._senders.add(batch.producer_id)
        # Counted until the batch is durable, not until it is written: this is the memory that the intake bounds.
        self.waiting_bytes += len(batch.payload)
        self._staged_count += 1
        # Further batches wake nobody: the group is in its group wait already, and ends that early only when it is large enough.
        if len(self._pending) == 1:
            self._staged.fire()
        elif self.waiting_bytes >= self._policy.linger_bytes:
            self._urgent.fire()
        return self._staged_count

    async def wait_durable(self, ticket: int) -> None:
        """Returns when the batch with this ticket may be acknowledged.

        Raises:
            LogFailedError: It never will be.
            DiskFullError: It may be later, when there is space; nobody knows when.
        """
        # After a failure nothing is acknowledged any more, durable or not: what this process believes of its files is not proven.
        if self.failure:
            raise LogFailedError(self.failure)
        if not self.is_durable(ticket):
            # Without this, the caller would wait until somebody makes space on the disk.
            if self.lack:
                raise self.lack.error()
            # A caller that is cancelled here ends its wait only. Its batch stays staged and becomes durable; sent again, it is a repeat.
            if fault := await self._wait(ticket):
                raise fault.error()

    async def _wait(self, ticket: int) -> Fault | None:
        future: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
        # in the order of tickets: whoever waits for less must not wait for what stands before it here
        bisect.insort(self._waiters, Waiter(ticket, future, time.monotonic()), key=ticket_of)
        # The first waiter sets the end of the group wait, the last one that is expected ends it. Those between change neither.
        if len(self._waiters) == 1 or not self._expects_company:
            self._urgent.fire()
        return await future

    def first_unacknowledged(self, producer_id: bytes) -> int | None:
        """The lowest sequence of a producer that is staged and not durable, or never will be; None when there is none."""
        # Both lists: `_commit` moves a batch before it is durable.
        staged = (batch for batch, _ in (*self._in_flight, *self._pending))
        return min((batch.sequence for batch in staged if batch.producer_id == producer_id), default=None)

    async def wait_failed(self) -> None:
        """Returns when the disk has failed; otherwise never."""
        # `advanced` fires for every commit, too.
        while not self.failure:
            await self.advanced.wait()

    async def on_log_thread(self, call: Callable[[], _R]) -> _R:
        """Runs something that uses the log where nothing else uses it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def stop(self) -> None:
        """Commits what is staged, if the disk lets it, and seals the log. A second call changes nothing."""
        if self._stopping:
            return
        # Before the first await: a second call must not close the log again.
        self._stopping = True
        # The three places where the task or a caller may wait. A missing one would make the stop wait for the next batch.
        self._staged.fire()
        self._urgent.fire()
        self.room.fire()
        # The task ends by itself once everything staged is durable. It is never cancelled: a cancelled write could be half done
        # while `stop` already closes the file.
        if self._task:
            await self._task
        try:
            # After the last group only: the footer that this writes says that all frames before it are durable.
            await self.on_log_thread(self.log.close)
        except (DiskFullError, LogFailedError) as error:
            # The next start reads a segment without a footer as one that a crash ended, and seals it then.
            _LOG.warning("the newest segment stays unsealed", problem=str(error))
        # The thread ran everything before `close` in order, also a deletion whose caller was cancelled. So this waits for nothing.
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while await self._wait_for_work():
                await self._commit(self._take_group())
        # The group stays in `_in_flight` and its callers are told by `_fail`. It is not tried again: after a failed sync nobody
        # knows which of its bytes are on the disk.
        except LogFailedError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is: who waits is told, and the process ends, as for a disk that failed
            _LOG.exception("the log cannot be written")
            self._fail(f"the log cannot be written: {type(error).__name__}")
        # Only a lack of room leaves batches here: `_wait_for_work` ends the loop in that case alone before everything is written.
        if not self.failure and self._pending:
            self._fail("there is no room, and the service is stopping; these batches are not stored")

    async def _wait_for_work(self) -> bool:
        """True when there is a group to write or something to sync; False when it is time to end."""
        while not self._pending:
            if self._stopping:
                # Durability `interval`: what was written without a sync must still be durable when the process has ended.
                await self._sync_now()
                return False
            # The timeout of this wait is the next due sync, so an idle log does not keep unsynced frames longer than promised.
            if not await self._staged.wait(self._time_to_sync()):
                await self._sync_now()
        await self._linger()
        # A stop without room gives up here: waiting for it could last for ever, and nothing of it was acknowledged.
        return not (self._stopping and self.lack)

    async def _linger(self) -> None:
        """Keeps a group back for what may join it: as long as nobody waits for it, and a little longer where several senders do."""
        # Nothing is in flight here, so `waiting_bytes` is exactly what is pending.
        while not (self._stopping or self.waiting_bytes >= self._policy.linger_bytes):
            # Somebody waits and nobody else is expected: every further millisecond would be added to that caller's latency.
            if self._waiters and not self._expects_company:
                return
            # The deadlines are computed anew after each wake-up: a waiter that came meanwhile shortens them.
            if (left := self._lingers_until() - time.monotonic()) <= 0:
                return
            await self._urgent.wait(left)

    def _lingers_until(self) -> float:
        # Never empty here: only `_take_group` takes from it, and the task that lingers calls that.
        # The oldest decides, so that no later arrival can extend the wait of one that waits already.
        until = self._pending[0][1] + self._policy.linger_s
        # With `interval`, a sync that is due does not wait for a group that gathers: what it is for was acknowledged before.
        if (due_in := self._time_to_sync()) is not None:
            until = min(until, time.monotonic() + due_in)
        return min(until, self._waiters[0].since + self._policy.company_s) if self._waiters else until

    @property
    def _expects_company(self) -> bool:
        """Whether more will soon wait than do: as many as last time, and each who has sent something since."""
        return self._policy.durability is Durability.ALWAYS and len(self._waiters) < max(self._company, len(self._senders))

    def _time_to_sync(self) -> float | None:
        # No time: with `always` each group is synced by its own commit, and without unsynced frames nothing is due.
        if self._policy.durability is Durability.ALWAYS or not self.log.has_unsynced:
            return None
        return max(0.0, self._last_sync + self._policy.sync_interval_s - time.monotonic())

    def _take_group(self) -> list[tuple[Batch, float]]:
        # Taken out of the queue and put into `_in_flight` without an await between: a batch is always in one of the two.
        group: list[tuple[Batch, float]] = []
        size = 0
        # One batch always goes, also one that alone is above the limit: it would wait for ever.
        while self._pending and (not group or size + len(self._pending[0][0].payload) <= self._policy.max_group_bytes):
            group.append(self._pending.popleft())
            size += len(group[-1][0].payload)
        # Senders are counted from one group to the next: each of them is expected to wait for the next sync.
        self._senders.clear()
        return group

    async def _commit(self, group: list[tuple[Batch, float]]) -> None:
        # Set before the first await: `first_unacknowledged` must find these batches while they are written.
        self._in_flight = group
        batches = [batch for batch, _ in group]
        # With `interval`, a group that finds a sync due waits for it; those between are acknowledged after the write alone.
        sync = self._policy.durability is Durability.ALWAYS or self._time_to_sync() == 0
        try:
            # Nothing is acknowledged between append and sync: `_finish` runs after both, on the event loop.
            await self.on_log_thread(lambda: self._write(batches, sync=sync))
        except DiskFullError as error:
            # The group is pending again after this. The next one may be larger by what was staged behind it.
            await self._wait_for_space(group, error)
            return
        if self.lack:
            _LOG.info("there is room again; what waited is written")
        # In the same step as `_finish`: whoever that wakes is refused while this is set.
        self.lack = None
        self._finish(group)

    def _write(self, batches: list[Batch], *, sync: bool) -> None:
        # Append before sync, in one call on the log's thread: no other write can come between and be synced by accident only.
        # A log that ends elsewhere than where this writer left it has another one: this one stops.
        self._end_offset = self.log.append(batches, self._end_offset)[-1]
        if sync:
            self._sync()

    def _sync(self) -> None:
        # Runs on the log's thread. An error passes through to `_run`, which makes it final: a second sync could succeed without the bytes.
        started = time.monotonic()
        self.log.sync()
        # Read by the event loop: one float, replaced as a whole. The interval counts from the end of a sync.
        self._last_sync = time.monotonic()
        self._observer.synced(self._last_sync - started)

    async def _sync_now(self) -> None:
        await self.on_log_thread(self._sync)
        # With `interval` no group ends here, yet the durable end of the log has moved: deliveries wait for that.
        self.advanced.fire()

    async def _wait_for_space(self, group: list[tuple[Batch, float]], error: DiskFullError) -> None:
        if not self.lack:
            _LOG.error("nothing can be written; what waits is written as soon as there is room", problem=str(error))
        # Before callers are told: one that comes from now on is refused at once, here and by the intake.
        self.lack = Fault(type(error), str(error))
        # Callers are told now and not when there is room: they have deadlines and may send elsewhere.
        self._tell_waiters(self.lack, self._waiters)
        self.advanced.fire()
        # Back to the front, in the old order. Later batches of the same producers are behind them, and would be out of sequence.
        self._pending.extendleft(reversed(group))
        self._in_flight = []
        deadline = time.monotonic() + DISK_RETRY_S
        # `_urgent` is fired by senders, too: without the loop, a busy sender would turn the retry interval into a busy loop.
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            # With `interval`, what was acknowledged before the disk was full is not synced yet, and needs no room for that.
            due_in = self._time_to_sync()
            if due_in == 0:
                await self._sync_now()
            else:
                await self._urgent.wait(left if due_in is None else min(left, due_in))

    def _finish(self, group: list[tuple[Batch, float]]) -> None:
        size = sum(len(batch.payload) for batch, _ in group)
        self._in_flight = []
        self.waiting_bytes -= size
        # The count is raised before anybody is woken: a caller that runs first looks at it again.
        self._durable_count += len(group)
        # How many shared this commit is the estimate of how many will wait for the next.
        self._company = max(1, len(self._waiters))
        # Tickets are sorted, so everybody up to this index waited for a batch that is durable now.
        done = bisect.bisect_right(self._waiters, self._durable_count, key=ticket_of)
        self._tell_waiters(None, self._waiters[:done])
        self.room.fire()
        self.advanced.fire()
        self._observer.committed(sum(batch.record_count for batch, _ in group), size, time.monotonic() - group[0][1])

    def _fail(self, problem: str) -> None:
        # Before the wake-ups: whoever asks from now on is refused and does not start to wait.
        self.failure = problem
        self._tell_waiters(Fault(LogFailedError, problem), self._waiters)
        self.room.fire()
        self.advanced.fire()

    def _tell_waiters(self, fault: Fault | None, first: list[Waiter]) -> None:
        """Tells the first of those who wait, up to all; they wait no more."""
        for waiter in first:
            # A caller that was cancelled has a future that is done; to set it again would end this task and with it the log.
            if not waiter.future.done():
                waiter.future.set_result(fault)
        # The futures first, then the list: no await comes between, so nobody can join the ones that are told.
        del self._waiters[: len(first)]
