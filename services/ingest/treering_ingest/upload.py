"""One call that brings batches: what became of them, and what may be said when it breaks."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable
from dataclasses import dataclass, field

from treering.v1.ingest_pb2 import RejectionReason
from treering_ingest.admission import Rejection, check_batch
from treering_ingest.intake import Intake, Receipt, draining
from treering_ingest.limits import ACKNOWLEDGE_PAUSE_S, MAX_LISTED_REJECTIONS, MAX_UNACKNOWLEDGED_BATCHES
from treering_ingest.wakeup import Wakeup
from treering_ingest.wal import DiskFullError, LogFailedError
from treering_runtime.errors import ServiceError


@dataclass(slots=True)
class Outcome:
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
            if len(self.rejected) < MAX_LISTED_REJECTIONS:
                self.rejected.append(Rejection(first_index + rejection.index, rejection.reason))


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """All batches of `producer_id` up to `last_durable_sequence` are durable; `outcome` is of those since the one before."""

    producer_id: bytes
    last_durable_sequence: int
    outcome: Outcome


class Upload:
    """Batches of one stream, answered once at the end."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._outcome = Outcome()
        self._index = 0
        self._ticket = 0
        self._producer_id = b""

    async def run(self, batches: AsyncIterable[bytes]) -> Outcome:
        """Takes every batch, and returns when all are durable.

        Raises:
            ServiceError: With `last_durable_sequence` of the producer that sent last.
        """
        taking = asyncio.create_task(self._take_all(batches))
        try:
            await _until_closed(self._intake, taking)
            await taking
            await self._intake.committer.wait_durable(self._ticket)
        except (ServiceError, LogFailedError, DiskFullError) as error:
            raise await broken(self._intake, error, self._producer_id, self._ticket) from error
        finally:
            taking.cancel()
        return self._outcome

    async def _take_all(self, batches: AsyncIterable[bytes]) -> None:
        async for received in batches:
            batch = check_batch(received)
            self._producer_id = batch.producer_id
            receipt = await self._intake.take(batch)
            self._outcome.add(receipt, self._index)
            self._index += receipt.received_count
            self._ticket = receipt.ticket


async def _until_closed(intake: Intake, taking: "asyncio.Task[None]") -> None:
    """Waits until all batches are taken; a service that closes its door meanwhile is a ServiceError."""
    closing = asyncio.create_task(_closed(intake))
    try:
        await asyncio.wait({taking, closing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closing.cancel()
    if not taking.done():
        raise draining()


async def _closed(intake: Intake) -> None:
    while not intake.is_closed:
        await intake.changed.wait()


async def broken(intake: Intake, error: ServiceError | LogFailedError | DiskFullError, producer_id: bytes, ticket: int) -> ServiceError:
    """The error that ends a stream, once it is known what of the stream is durable."""
    try:
        await intake.committer.wait_durable(ticket)
    except (LogFailedError, DiskFullError) as failure:
        error = failure
    known = error if isinstance(error, ServiceError) else intake.explain(error)
    if producer_id:
        known.metadata["last_durable_sequence"] = str(intake.last_durable_sequence(producer_id))
    return known


class Shipment:
    """Batches of one stream, acknowledged as they become durable.

    `read` takes them, `acknowledge` answers; both run at the same time. What is not acknowledged yet is bounded: a client that does not
    read acknowledgements is not read from either.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._waiting: deque[tuple[Receipt, int]] = deque()
        self._changed = Wakeup()
        self._index = 0
        self._producer_id = b""
        self._ticket = 0
        self._ended = False
        self._error: ServiceError | None = None

    async def read(self, batches: AsyncIterable[bytes]) -> None:
        """Takes every batch; an error is raised by `acknowledge` once everything before it is acknowledged."""
        try:
            async for received in batches:
                batch = check_batch(received)
                self._producer_id = batch.producer_id
                receipt = await self._intake.take(batch)
                self._waiting.append((receipt, self._index))
                self._index += receipt.received_count
                self._ticket = receipt.ticket
                self._changed.fire()
                while len(self._waiting) >= MAX_UNACKNOWLEDGED_BATCHES:
                    await self._changed.wait()
        except ServiceError as error:
            self._error = error
        finally:
            self._ended = True
            self._changed.fire()

    async def acknowledge(self) -> list[Acknowledgement]:
        """Waits for something to become durable and says what; empty at the end of the stream.

        A sender with several batches on their way gets its acknowledgements after short pauses, many batches in one.

        Raises:
            ServiceError: With `last_durable_sequence` of the producer that sent last.
        """
        if len(self._waiting) > 1:
            await asyncio.sleep(ACKNOWLEDGE_PAUSE_S)
        while not self._waiting and not self._ended:
            await self._changed.wait()
        if self._waiting:
            try:
                await self._intake.committer.wait_durable(self._waiting[0][0].ticket)
            except (LogFailedError, DiskFullError) as error:
                raise await broken(self._intake, error, self._producer_id, self._ticket) from error
            return self._collect()
        if self._error:
            raise await broken(self._intake, self._error, self._producer_id, self._ticket)
        return []

    def end_early(self) -> None:
        """The service stops: what was taken is still acknowledged, then the stream ends with DRAINING."""
        self._error = self._error or draining()
        self._ended = True
        self._changed.fire()

    def _collect(self) -> list[Acknowledgement]:
        outcomes: dict[bytes, tuple[int, Outcome]] = {}
        while self._waiting and self._intake.committer.is_durable(self._waiting[0][0].ticket):
            receipt, first_index = self._waiting.popleft()
            last, outcome = outcomes.get(receipt.producer_id, (0, Outcome()))
            outcome.add(receipt, first_index)
            outcomes[receipt.producer_id] = (max(last, receipt.sequence), outcome)
        self._changed.fire()
        return [Acknowledgement(producer_id, last, outcome) for producer_id, (last, outcome) in outcomes.items()]
