"""What an upload knows: which batches wait, which are on their way, what became of the others. No input or output happens here."""

import math
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from treering.errors import ProducerError
from treering.limits import (
    LARGEST_BATCH_BYTES,
    LARGEST_BATCH_RECORDS,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_IN_FLIGHT_BATCHES,
    MAX_PENDING_BYTES,
    MAX_RECORD_BYTES,
    MAX_REJECTIONS_LISTED,
)
from treering.upload_options import UploaderOptions
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import (
    REJECTION_REASON_RECORD_TOO_LARGE,
    RejectionReason,
    StreamLogsRequest,
    StreamLogsResponse,
)
from treering.v1.log_pb2 import LogRecord, Position


@dataclass(frozen=True)
class Rejection:
    """A record that was refused."""

    ref: object
    """What `send` was given as `ref`."""
    reason: str
    """MESSAGE_EMPTY or RECORD_TOO_LARGE."""


@dataclass(frozen=True)
class UploadResult:
    """What became of an upload so far."""

    producer_id: str
    """Under which id the records were sent."""
    accepted: int
    """Records that this upload stored."""
    duplicate: int
    """Records that were stored before, by an earlier upload with the same producer id."""
    rejected: int
    """Records that were refused."""
    rejections: tuple[Rejection, ...]
    """The first 1,000 of these."""
    uncertain: int
    """Records that may be stored twice: the log had forgotten the producer while they were on their way."""
    positions: tuple[Position, ...]
    """Where the records end, for each log; give it as `min_positions` to read what was written."""
    blocked_s: float
    """Time that `send` waited because too much was pending, seconds."""
    pending: int
    """Records that `send` took and that are neither acknowledged nor refused: they may or may not be stored. 0 after a `close` that
    returned."""
    reconnects: int
    """How often a connection was lost before everything was done, while batches were on their way or between two of them."""

    @property
    def end_offset(self) -> int:
        """One past the highest offset of the uploaded records; 0 when there are none."""
        return max((position.offset for position in self.positions), default=0)


@dataclass
class Batch:
    """Encoded records with one sequence number."""

    sequence: int
    payload: bytes
    refs: Sequence[object]
    sent: bool = False
    first_index: int = 0

    def request(self, producer_id: str) -> bytes:
        """The encoded StreamLogsRequest: two encoded messages after each other are their merge."""
        return StreamLogsRequest(producer_id=producer_id, sequence=self.sequence).SerializeToString() + self.payload


@dataclass
class _Open:
    """The batch that is being filled."""

    records: list[LogRecord] = field(default_factory=list)
    refs: list[object] = field(default_factory=list)
    size: int = 0
    since: float = 0.0


class UploadState:
    """Every record is in one of four states.

    *open* (in the batch that fills), *waiting* (sealed, not sent), *in flight* (sent, not acknowledged), *done* (acknowledged or refused).
    A broken stream moves what is in flight back to the front of what waits, with the same sequence and bytes, so a repeat is recognised.
    """

    def __init__(self, producer_id: str, options: UploaderOptions) -> None:
        self._fresh = not producer_id
        self.producer_id = producer_id or _new_id()
        self._max_records = min(options.get("max_batch_records", MAX_BATCH_RECORDS), LARGEST_BATCH_RECORDS)
        self._max_bytes = min(options.get("max_batch_bytes", MAX_BATCH_BYTES), LARGEST_BATCH_BYTES)
        self._max_pending = options.get("max_pending_bytes", MAX_PENDING_BYTES)
        # Made here: what is no text raises now, in the caller, and not when a batch is full.
        self._resource = LogBatch(resource=options.get("resource", {})).resource
        self.linger_s = options.get("linger_s", 0.2)
        self.acknowledge_within_s = options.get("acknowledge_within_s", 30.0)
        self._unanswered_since = 0.0
        self._open = _Open()
        self._waiting: deque[Batch] = deque()
        self._in_flight: deque[Batch] = deque()
        self._pending_bytes = 0
        self._next_sequence = 1
        self._next_index = 0
        self._skip_below = self._skipped = 0
        self._accepted = self._duplicate = self._rejected = self._uncertain = 0
        self._rejections: list[Rejection] = []
        self._ends: dict[int, int] = {}
        self.blocked_s = 0.0
        self.reconnects = 0

    # What comes in

    @property
    def full(self) -> bool:
        """Whether `add` must wait."""
        return self._pending_bytes + self._open.size >= self._max_pending

    @property
    def idle(self) -> bool:
        """Whether everything is done."""
        return not (self._open.records or self._waiting or self._in_flight)

    @property
    def pending(self) -> int:
        """How many records are neither acknowledged nor refused."""
        return self._skipped + len(self._open.refs) + sum(len(batch.refs) for batch in (*self._waiting, *self._in_flight))

    def add(self, record: LogRecord, ref: object, now: float) -> bool:
        """Takes one record; True when a batch can be sent now, or a new one has begun, which must be sent in time."""
        size = record.ByteSize()
        # Refused here, before it opens or fills a batch: ingest would refuse it, and the bytes would travel for nothing.
        if size > MAX_RECORD_BYTES:
            self._reject(ref, REJECTION_REASON_RECORD_TOO_LARGE)
            return False
        # Before the record is added: a batch is over the limit only when one record alone is.
        if self._open.size + size > self._max_bytes:
            self.seal()
        begins = not self._open.records
        if begins:
            self._open.since = now
        self._open.records.append(record)
        self._open.refs.append(ref)
        self._open.size += size
        if len(self._open.records) >= self._max_records:
            self.seal()
            return True
        return begins

    def due_in(self, now: float) -> float:
        """Seconds until the open batch must be sealed; infinite when it is empty."""
        return self._open.since + self.linger_s - now if self._open.records else math.inf

    def seal(self) -> None:
        """Ends the open batch, if it holds anything. Equal records give equal bytes: maps are encoded in the order of their keys."""
        if not self._open.records:
            return
        # The order of sealing is the order of sequences and of sending, for good: a repeat has the same number and the same bytes.
        records, sequence = self._open, self._next_sequence
        skipped = sequence < self._skip_below
        # first: without memory for it nothing has changed, and the records are sealed later
        payload = b"" if skipped else self._encoded(records.records)
        self._open, self._next_sequence = _Open(), sequence + 1
        if skipped:
            self._skipped += len(records.refs)
            return
        self._waiting.append(Batch(sequence, payload, records.refs))
        self._pending_bytes += len(payload)

    def _encoded(self, records: Sequence[LogRecord]) -> bytes:
        batch = LogBatch(records=records, resource=self._resource)
        return StreamLogsRequest(batch=batch).SerializeToString(deterministic=True)

    # What goes out

    @property
    def sendable(self) -> bool:
        """Whether a batch may be sent now."""
        return bool(self._waiting) and len(self._in_flight) < MAX_IN_FLIGHT_BATCHES

    @property
    def in_flight(self) -> int:
        """How many batches have no acknowledgement yet."""
        return len(self._in_flight)

    def overdue_in(self, now: float) -> float:
        """Seconds until the silence of the service has lasted too long; infinite while nothing is in flight."""
        return self._unanswered_since + self.acknowledge_within_s - now if self._in_flight else math.inf

    def take(self, now: float) -> bytes:
        """The next request; only when `sendable`."""
        # The silence counts from the first batch that waits for an answer, not from the last answer.
        if not self._in_flight:
            self._unanswered_since = now
        batch = self._waiting.popleft()
        # Ingest numbers records by their place in the stream, so rejections are found by this index.
        batch.first_index = self._next_index
        self._next_index += len(batch.refs)
        batch.sent = True
        self._in_flight.append(batch)
        return batch.request(self.producer_id)

    def acknowledge(self, response: StreamLogsResponse, now: float) -> None:
        """Takes in what the service says about the batches up to a sequence."""
        self._unanswered_since = now
        done: list[Batch] = []
        # An acknowledgement stands for all batches up to its sequence.
        while self._in_flight and self._in_flight[0].sequence <= response.last_durable_sequence:
            done.append(self._finish(self._in_flight.popleft()))
        # A later batch was the same as before: so were those that were skipped, under the same producer id.
        if done and self._skipped:
            self._duplicate += self._skipped
            self._skipped = 0
        own = self._fresh  # a repeat under an id that nobody else ever had is our own, sent again after a lost acknowledgement
        self._accepted += response.accepted_count + (response.duplicate_count if own else 0)
        self._duplicate += 0 if own else response.duplicate_count
        if response.end_offset_exclusive:
            self._ends[response.log_id] = max(self._ends.get(response.log_id, 0), response.end_offset_exclusive)
        self._count_rejections(response, done)

    def broke(self) -> None:
        """The stream is gone: what was in flight goes again, first."""
        # In front and in the old order: sequences must not have a gap.
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self._next_index = 0

    def recover(self, error: ProducerError) -> None:
        """Deals with a batch that did not fit what the log knows of the producer. Call it after `broke`.

        Raises:
            ProducerError: It cannot be dealt with: two senders share the producer id, or the log lost acknowledged records.
        """
        if error.reason == "PRODUCER_UNKNOWN":
            self._take_new_id()
        elif error.reason == "SEQUENCE_REUSED":
            self._skip_known(error)
        else:
            raise error

    def _take_new_id(self) -> None:
        # Sent at least once under the old id: the log may have them, and cannot tell under the new one.
        self._uncertain += sum(len(batch.refs) for batch in self._waiting if batch.sent)
        self.producer_id, self._fresh = _new_id(), True
        self._skip_below = 0
        for sequence, batch in enumerate(self._waiting, start=1):
            batch.sequence = sequence
        self._next_sequence = len(self._waiting) + 1

    def _skip_known(self, error: ProducerError) -> None:
        """An earlier upload got further than the log can compare. The last batches, which it can, will show whether both are the same."""
        last = int(error.metadata.get("last_sequence", 0))
        # The log compares the last batches only; one of them must still come, or nothing would prove the others.
        comparable = last - MAX_IN_FLIGHT_BATCHES + 1
        if self._fresh or self._skip_below >= comparable or not self._waiting or self._waiting[0].sequence >= comparable:
            raise error
        self._skip_below = comparable
        while self._waiting and self._waiting[0].sequence < comparable:
            self._skipped += len(self._finish(self._waiting.popleft()).refs)

    def check_complete(self) -> None:
        """Makes sure, at the end, that skipped batches were known to the log: that a later one was acknowledged.

        Raises:
            ProducerError: The upload ended before that; nothing that was skipped may count as stored.
        """
        if self._skipped:
            message = (
                f"producer {self.producer_id} has sent more than this before, and the log cannot compare it any more;"
                " send it under another producer id (it may be stored twice then)"
            )
            raise ProducerError(message, reason="SEQUENCE_REUSED", metadata={"producer_id": self.producer_id})

    def _finish(self, batch: Batch) -> Batch:
        self._pending_bytes -= len(batch.payload)
        return batch

    def _reject(self, ref: object, reason: RejectionReason.ValueType) -> None:
        self._rejected += 1
        self._list_rejection(ref, reason)

    def _list_rejection(self, ref: object, reason: RejectionReason.ValueType) -> None:
        if len(self._rejections) < MAX_REJECTIONS_LISTED:
            self._rejections.append(Rejection(ref, RejectionReason.Name(reason).removeprefix("REJECTION_REASON_")))

    def _count_rejections(self, response: StreamLogsResponse, done: Iterable[Batch]) -> None:
        self._rejected += sum(item.count for item in response.rejection_counts)
        if not response.rejected_records:
            return
        refs = {batch.first_index + place: ref for batch in done for place, ref in enumerate(batch.refs)}
        for item in response.rejected_records:
            self._list_rejection(refs.get(item.index), item.reason)

    def result(self) -> UploadResult:
        """What became of the records so far."""
        return UploadResult(
            producer_id=self.producer_id,
            accepted=self._accepted,
            duplicate=self._duplicate,
            rejected=self._rejected,
            rejections=tuple(self._rejections),
            uncertain=self._uncertain,
            positions=tuple(Position(log_id=log_id, offset=end) for log_id, end in sorted(self._ends.items())),
            blocked_s=self.blocked_s,
            pending=self.pending,
            reconnects=self.reconnects,
        )


def _new_id() -> str:
    return secrets.token_hex(16)
