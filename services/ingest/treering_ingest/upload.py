"""One call that brings batches: what became of them, and what may be said when it breaks."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable
from dataclasses import dataclass, field

from treering.v1.ingest_pb2 import RejectionReason
from treering_ingest.admission import Rejection, check_batch
from treering_ingest.durable_log import DiskFullError, LogFailedError
from treering_ingest.inbox import Inbox
from treering_ingest.intake import Intake, Receipt, draining
from treering_ingest.limits import (
    ACKNOWLEDGE_PAUSE_S,
    MANY_BATCHES,
    MAX_LISTED_REJECTIONS,
    MAX_UNACKNOWLEDGED_BATCHES,
    SMALL_BATCHES_RECORDS,
)
from treering_runtime.errors import ServiceError
from treering_runtime.wakeup import Wakeup


@dataclass(slots=True)
class UploadOutcome:
    """What became of some batches, in the words of the contract."""

    accepted_count: int = 0
    duplicate_count: int = 0
    rejection_counts: Counter[RejectionReason.ValueType] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)
    end_offset: int = 0

    def add(self, receipt: Receipt, first_index: int) -> None:
        """Adds a batch whose first record has the number `first_index` in its stream."""
        self.accepted_count += receipt.accepted_count
        self.duplicate_count += receipt.duplicate_count
        self.end_offset = max(self.end_offset, receipt.end_offset)
        for rejection in receipt.rejections:
            self.rejection_counts[rejection.reason] += 1
            # Counted in full, listed in part: an answer must stay below the size of a message.
            if len(self.rejected) < MAX_LISTED_REJECTIONS:
                self.rejected.append(Rejection(first_index + rejection.index, rejection.reason))


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """All batches of `producer_id` up to `last_durable_sequence` are durable; `outcome` is of those since the one before."""

    producer_id: bytes
    last_durable_sequence: int
    outcome: UploadOutcome


class Upload:
    """Batches of one stream, answered once at the end."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._outcome = UploadOutcome()
        self._index = 0
        self._ticket = 0
        self._producer_id = b""

    async def run(self, batches: AsyncIterable[bytes]) -> UploadOutcome:
        """Takes every batch, and returns when all are durable.

        Raises:
            ServiceError: With `last_durable_sequence` of the producer that sent last.
        """
        inbox = Inbox(batches)
        # No task is needed to wait for the stop: the inbox ends, and `_take_all` goes on from there.
        self._intake.closed.listen(inbox.close)
        try:
            await self._take_all(inbox)
            # One wait for the last ticket: tickets are durable in order, so this covers all before it.
            await self._intake.committer.wait_durable(self._ticket)
        except (ServiceError, LogFailedError, DiskFullError) as error:
            raise await broken(self._intake, error, self._producer_id, self._ticket) from error
        finally:
            # Also for a caller that hung up. What was taken stays staged and is stored; only the answer is lost.
            self._intake.closed.forget(inbox.close)
            inbox.close()
        return self._outcome

    async def _take_all(self, inbox: Inbox) -> None:
        while batches := await inbox.take():
            for received in batches:
                batch = check_batch(received)
                # Before the batch is taken: when that is refused, the error says how far this producer came.
                self._producer_id = batch.producer_id
                receipt = await self._intake.take(batch)
                self._outcome.add(receipt, self._index)
                self._index += receipt.received_count
                self._ticket = receipt.ticket
        # An inbox that was closed ends like one that was read to its end. Without this a part of an upload would be answered with OK.
        if inbox.is_closed:
            raise draining()


async def broken(intake: Intake, error: ServiceError | LogFailedError | DiskFullError, producer_id: bytes, ticket: int) -> ServiceError:
    """A new error to end a stream with, once it is known what of the stream is durable."""
    try:
        # First what was taken, then the answer: a sender goes on from `last_durable_sequence`, and would send again what is stored.
        await intake.committer.wait_durable(ticket)
    # The disk's fault counts more than what broke the stream: with it nothing of the rest is durable.
    except (LogFailedError, DiskFullError) as failure:
        known = intake.explain(failure)
    else:
        known = error if isinstance(error, ServiceError) else intake.explain(error)
    durable = {"last_durable_sequence": str(intake.last_durable_sequence(producer_id))} if producer_id else {}
    return ServiceError(known.reason, known.message, metadata=known.metadata | durable, retry_after_s=known.retry_after_s)


class Shipment:
    """Batches of one stream, acknowledged as they become durable.

    A task of its own reads them, `acknowledge` answers; both go on at the same time. What is not acknowledged yet is bounded: a client that
    does not read acknowledgements is not read from either. However the reading ends, `acknowledge` ends the same way, after everything that
    was taken is acknowledged; only a stream that was read to its end, ends well.
    """

    def __init__(self, intake: Intake, batches: AsyncIterable[bytes]) -> None:
        self._intake = intake
        # A sender without a batch on its way may be waiting for its answer: what it sends next is not gathered.
        self._inbox = Inbox(batches, in_a_hurry=lambda: not self._waiting)
        # Batches taken and not acknowledged, with the number of their first record in the stream. Bounded by `_read_all`.
        self._waiting: deque[tuple[Receipt, int]] = deque()
        self._changed = Wakeup()
        self._index = 0
        self._producer_id = b""
        self._ticket = 0
        self._had_many = self._ended_early = False
        self._reading = asyncio.create_task(self._read_all())
        self._reading.add_done_callback(self._read_to_the_end)

    async def _read_all(self) -> None:
        while batches := await self._inbox.take():
            for received in batches:
                await self._take(received)
            self._changed.fire()
            # Here the reading stops, so the inbox fills, and gRPC holds the sender back.
            while len(self._waiting) >= MAX_UNACKNOWLEDGED_BATCHES:
                await self._changed.wait()
        # After the last batch that was read: all of it has been taken, and is acknowledged before this error ends the stream.
        if self._ended_early:
            raise draining()

    def _read_to_the_end(self, reading: "asyncio.Task[None]") -> None:
        if not reading.cancelled():
            reading.exception()  # looked at: when the client is gone, nobody is told
        self._changed.fire()

    async def _take(self, received: bytes) -> None:
        batch = check_batch(received)
        self._producer_id = batch.producer_id
        receipt = await self._intake.take(batch)
        # Only after it was taken: a batch that is refused has no ticket to wait for.
        self._waiting.append((receipt, self._index))
        self._index += receipt.received_count
        self._ticket = receipt.ticket

    async def acknowledge(self) -> list[Acknowledgement]:
        """Waits for something to become durable and says what; empty at the end of the stream.

        A sender with many small batches on their way gets its acknowledgements after short pauses, many batches in one.

        Raises:
            ServiceError: With `last_durable_sequence` of the producer that sent last.
            Exception: Whatever else the reading ended with.
        """
        if self._had_many or self._has_many():
            await asyncio.sleep(ACKNOWLEDGE_PAUSE_S)
        # No await between the look and the wait, so the end of the reading is not missed.
        while not self._waiting and not self._reading.done():
            await self._changed.wait()
        try:
            if self._waiting:
                # The oldest is the first to be durable. Waiting for a newer one would keep its acknowledgement back.
                await self._intake.committer.wait_durable(self._waiting[0][0].ticket)
                return self._collect()
            # Last: an error of the reading may end the stream only when everything before it is acknowledged.
            self._reading.result()
        except (ServiceError, LogFailedError, DiskFullError) as error:
            raise await broken(self._intake, error, self._producer_id, self._ticket) from error
        return []

    def _has_many(self) -> bool:
        """Whether many small batches are on their way: their sender does not wait for each answer."""
        return len(self._waiting) > MANY_BATCHES and self._index - self._waiting[0][1] < SMALL_BATCHES_RECORDS

    def end_early(self) -> None:
        """The service stops: what was taken is still acknowledged, then the stream ends with DRAINING."""
        self._ended_early = True
        self._inbox.close()

    def close(self) -> None:
        """Reads no more: no batch of it comes in from now on. Called once, at the end."""
        self._inbox.close()
        self._reading.cancel()
        del self._reading  # see Inbox.close

    def _collect(self) -> list[Acknowledgement]:
        self._had_many = self._has_many()
        # By producer: sequences of different producers on one stream have nothing to do with each other.
        outcomes: dict[bytes, tuple[int, UploadOutcome]] = {}
        # The oldest first, up to one that is not durable: an acknowledgement stands for all that came before.
        while self._waiting and self._intake.committer.is_durable(self._waiting[0][0].ticket):
            receipt, first_index = self._waiting.popleft()
            last, outcome = outcomes.get(receipt.producer_id, (0, UploadOutcome()))
            outcome.add(receipt, first_index)
            outcomes[receipt.producer_id] = (max(last, receipt.sequence), outcome)
        # Now there is room: the reading may go on.
        self._changed.fire()
        return [Acknowledgement(producer_id, last, outcome) for producer_id, (last, outcome) in outcomes.items()]
