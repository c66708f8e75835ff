"""The door: decides whether a batch comes in, gives it its place, and knows when it may be acknowledged."""

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

from treering.v1.error_pb2 import ErrorReason
from treering_ingest.active_producers import ActiveProducers
from treering_ingest.admission import CheckedBatch, Rejection
from treering_ingest.committer import Committer
from treering_ingest.disk import DiskGuard
from treering_ingest.durable_log import Batch, DiskFullError, LogFailedError, NoDescriptorError
from treering_ingest.limits import MAX_STREAMS, MAX_WAIT_FOR_ROOM_S, MAX_WAITING_BYTES
from treering_ingest.producers import Stored
from treering_runtime import caller as callers
from treering_runtime.clocks import wall_ns
from treering_runtime.errors import ServiceError, overloaded
from treering_runtime.scarcity import no_descriptor
from treering_runtime.wakeup import Notice, Wakeup


class Receipt(NamedTuple):
    """What became of one batch, once `ticket` is durable."""

    producer_id: bytes
    sequence: int
    ticket: int
    received_count: int
    accepted_count: int
    duplicate_count: int
    rejections: tuple[Rejection, ...]
    end_offset: int
    is_repeat: bool
    """Nothing of it was stored now: `duplicate_count` records are stored already, or none where all of them are rejections."""


class IntakeObserver(Protocol):
    """Is told what comes in, for metrics."""

    def received(self, receipt: Receipt, size_bytes: int) -> None:
        """A batch was taken or recognised as a repeat."""


class Intake:
    """Takes batches into the log, each once.

    States: *open*; *draining* (no new streams); *closed* (no batch comes in any more). Apart from that, `refusal` says why nothing is
    accepted at the moment: a disk that is low, a sink that is ahead of the log.

    Args:
        committer: Makes batches durable.
        disk: Knows the free space.
        observer: Is told what comes in.
        sink_ahead: Returns why no offset may be given out, a new error each time, or None.
        max_waiting_bytes: Bytes that may wait for the disk before streams are held.
        max_wait_s: How long a stream is held before it is refused, seconds.
    """

    def __init__(
        self,
        committer: Committer,
        disk: DiskGuard,
        observer: IntakeObserver,
        *,
        sink_ahead: Callable[[], ServiceError | None] = lambda: None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_wait_s: float = MAX_WAIT_FOR_ROOM_S,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self.committer = committer
        self.log_id = committer.log.log_id
        self.draining = False
        self.changed = Wakeup()
        self.drained, self.closed = Notice(), Notice()
        # By caller, so that one of them cannot hold all streams. Only callers with an open one are in it.
        self._streams: Counter[str] = Counter()
        self._disk = disk
        self._observer = observer
        self._sink_ahead = sink_ahead
        self._max_waiting_bytes = max_waiting_bytes
        self._max_wait_s = max_wait_s
        self._max_streams = max_streams
        self._closed = False
        # A copy, ahead of the log's own table: it has what is staged, too. The log's belongs to the log's thread.
        self._producers = committer.log.producers.copy()
        self._active = ActiveProducers(self._producers.capacity)
        # Ahead as well: where the log will end when everything staged is written. Tickets and offsets are given in the same order.
        self._end_offset = committer.log.end_offset

    @property
    def producer_count(self) -> int:
        """Producers that are remembered."""
        return len(self._producers)

    def refusal(self) -> ServiceError | None:
        """Why nothing is accepted at the moment, a new error for each who asks; None when records come in."""
        # The most final reason first: a sender that is told of a full disk would wait for space in a process that has failed.
        if self.committer.failure:
            return _log_failed(self.committer.failure)
        if self._closed:
            return draining()
        if ahead := self._sink_ahead():
            return ahead
        if lack := self.committer.lack:
            return self.explain(lack.error())
        # The other sign: the reserve is measured before a write; the committer has met the end of the disk in one.
        return _disk_low(self._disk) if self._disk.is_low else None

    def explain(self, error: LogFailedError | DiskFullError) -> ServiceError:
        """An error of the log, for whoever waits for it."""
        if isinstance(error, LogFailedError):
            return _log_failed(str(error))
        return no_descriptor() if isinstance(error, NoDescriptorError) else _disk_low(self._disk)

    def open_stream(self) -> None:
        """Counts a stream in.

        Raises:
            ServiceError: OVERLOADED or DRAINING.
        """
        if self.draining:
            raise draining()
        # The limit of all, then the caller's share: half of it, so that one caller leaves the other half to others.
        if self.stream_count >= self._max_streams:
            raise _overloaded("max_streams", f"{self._max_streams} streams are open already")
        share = max(1, self._max_streams // 2)
        if self._streams[callers.current()] >= share:
            raise _overloaded("max_streams_of_one_caller", f"{share} streams of yours are open already; the others are for other callers")
        self._streams[callers.current()] += 1

    def close_stream(self) -> None:
        """Counts a stream out; called by the task that counted it in."""
        # By the same caller as in `open_stream`: it stands in a context variable, and the same task runs both.
        self._streams[callers.current()] -= 1
        self._streams += Counter()  # drops the zeros
        self.changed.fire()

    @property
    def stream_count(self) -> int:
        """Open upload streams."""
        return self._streams.total()

    def drain(self) -> None:
        """No new streams; those that never end by themselves are asked to end."""
        self.draining = True
        self.drained.give()
        self.changed.fire()

    def close(self) -> None:
        """No batch comes in any more."""
        # First: a stream that is woken and goes on must meet the refusal.
        self.draining = self._closed = True
        self.closed.give()
        self.changed.fire()
        # Also those who wait for room: they would hold the stop up to the end of their patience.
        self.committer.room.fire()

    @property
    def is_closed(self) -> bool:
        """Whether batches are refused for good."""
        return self._closed

    async def take(self, batch: CheckedBatch) -> Receipt:
        """Gives a batch its place in the log. It may be acknowledged when the receipt's ticket is durable.

        Raises:
            ServiceError: Its sequence or the state of the service does not allow it; nothing was stored.
        """
        # Before the sequence is checked: while this waits, another stream may bring the same batch.
        if self.committer.held_bytes >= self._max_waiting_bytes or self.refusal():
            await self._wait_for_room()
        # From here on without an await. Between check and staging another batch of the producer could take the sequence.
        repeat = self._producers.check(batch.producer_id, batch.sequence, batch.batch_hash, batch.former_hash)
        # Before it is staged: in the table it would push out the one that has been silent longest.
        if batch.producer_id and batch.producer_id not in self._producers:
            self._active.check_new(callers.current())
        receipt = self._repeated(batch, repeat) if repeat else self._stage(batch)
        self._observer.received(receipt, len(batch.payload))
        return receipt

    def last_durable_sequence(self, producer_id: bytes) -> int:
        """Everything of this producer up to here is acknowledged or may be."""
        # One before the first that is not durable: batches of a producer become durable in order.
        waiting = self.committer.first_unacknowledged(producer_id)
        return self._producers.last_sequence(producer_id) if waiting is None else waiting - 1

    async def _wait_for_room(self) -> None:
        deadline = time.monotonic() + self._max_wait_s
        while True:
            self._disk.check()
            # Each time anew: what refuses may have come, or gone, while this waited.
            self._raise_refusal()
            if self.committer.held_bytes < self._max_waiting_bytes:
                return
            # A deadline, not a timeout of each wait: `room` fires with every commit, and others may take the room first.
            if not await self.committer.room.wait(max(0.0, deadline - time.monotonic())):
                raise _overloaded("max_waiting_bytes", f"{self.committer.held_bytes} bytes wait for the disk already")

    def _raise_refusal(self) -> None:
        refusal = self.refusal()
        try:
            if refusal:
                raise refusal
        finally:
            del refusal  # or this frame and the error hold each other, and with them the payload, until the next garbage collection

    def _repeated(self, batch: CheckedBatch, stored: Stored) -> Receipt:
        # The newest ticket: the batch that this repeats may be staged and not durable, and it is not known where.
        ticket, received = self.committer.staged_count, stored.record_count + len(batch.rejections)
        duplicates, end = stored.record_count, stored.end_offset
        return Receipt(batch.producer_id, batch.sequence, ticket, received, 0, duplicates, batch.rejections, end, is_repeat=True)

    def _stage(self, batch: CheckedBatch) -> Receipt:
        now, count = wall_ns(), batch.record_count
        ticket = self.committer.stage(Batch(batch.payload, count, batch.producer_id, batch.sequence, batch.batch_hash, now))
        # Counts until the next measurement, which takes off by itself what still waits (`IngestProcess._free_bytes`).
        self._disk.spend(len(batch.payload))
        self._end_offset += count
        # At once, not when it is durable: the producer's next batch, and a repeat of this one, come before that.
        self._producers.store(batch.producer_id, Stored(batch.sequence, batch.batch_hash, count, self._end_offset))
        if batch.producer_id:
            self._active.sent(batch.producer_id, callers.current())
        received = count + len(batch.rejections)
        end = self._end_offset
        return Receipt(batch.producer_id, batch.sequence, ticket, received, count, 0, batch.rejections, end, is_repeat=False)


def _log_failed(problem: str) -> ServiceError:
    """The error of everyone who waits for a log that failed."""
    message = f"nothing more is acknowledged by this process: {problem}; retry when it has been restarted"
    return ServiceError(ErrorReason.ERROR_REASON_LOG_FAILED, message)


def draining() -> ServiceError:
    """The error of everyone who comes while the service stops."""
    return ServiceError(ErrorReason.ERROR_REASON_DRAINING, "ingest is stopping; go on from last_durable_sequence when it is back")


def _overloaded(limit: str, problem: str) -> ServiceError:
    return overloaded(limit, f"{problem}; retry later")


def _disk_low(disk: DiskGuard) -> ServiceError:
    free = disk.free_bytes
    message = f"{free} bytes are free on the log's disk, {disk.reserve_bytes} are kept in reserve; free some space, then retry"
    metadata = {"free_bytes": str(free), "reserve_bytes": str(disk.reserve_bytes)}
    return ServiceError(ErrorReason.ERROR_REASON_DISK_LOW, message, metadata=metadata, retry_after_s=5.0)
