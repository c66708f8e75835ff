"""Batches on their way: kept, sent until they are acknowledged, ended."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from treering_cli.following.positions import Pending, Position, Positions, new_producer_id

if TYPE_CHECKING:
    import grpc

    from treering.errors import TreeringError
    from treering.patience import Patience
    from treering.v1.ingest_pb2 import UploadLogsResponse
    from treering.v1.log_pb2 import LogRecord

MAX_RECORDS = 5_000
MAX_BYTES = 1024 * 1024
"""Of a batch: its two transactions cost some milliseconds, its records a hundred."""

Ref = tuple[str, int]
"""Path and line of a record."""


class Ingest(Protocol):
    """Takes encoded batches."""

    def upload(self, request: bytes) -> "UploadLogsResponse":
        """Returns when the batch is durable.

        Raises:
            TreeringError: It may or may not be stored.
        """


class Stopped(Exception):  # noqa: N818 - named for what it is
    """Sending was to end before a batch was acknowledged; the next start sends it first."""


class Shipping:
    """Sends batch after batch, each stored once.

    Args:
        positions: Where batches and positions are kept.
        ingest: Where they go.
        patience: How long to try.
        stop: Ends the trying; what was not acknowledged is sent at the next start.
        say: Is told what a person wants to know.

    Attributes:
        accepted, rejected: Records that are stored, and such as ingest refused.
        uncertain: Records that may be stored twice: ingest had forgotten who sends.
        ends: Where the records end, by log.
    """

    def __init__(
        self, positions: Positions, ingest: Ingest, patience: "Patience", stop: threading.Event, say: Callable[[str], None]
    ) -> None:
        self._positions = positions
        self._ingest = ingest
        self._patience = patience
        self._stop = stop
        self._say = say
        self._producer, self._sequence = positions.producer()
        self.accepted = self.rejected = self.uncertain = 0
        self.ends: dict[int, int] = {}

    def resume(self) -> None:
        """Sends what was on its way when the last run ended.

        Raises:
            Stopped: It was stopped before that was stored.
        """
        if pending := self._positions.pending():
            self._send(pending, [], was_sent=True)

    def ship(self, records: Sequence["LogRecord"], refs: Sequence[Ref], positions: Sequence[Position]) -> None:
        """Stores records, and then puts positions in force.

        Raises:
            Stopped: It was stopped before they were stored.
            TreeringError: Ingest will never take them.
        """
        pending = Pending(self._sequence, _encode(self._producer, self._sequence, records))
        # On disk before it is sent: after a crash the next start must send these bytes, and none of these lines in another batch.
        self._positions.begin(pending, positions)
        self._send(pending, refs, was_sent=False)

    def _send(self, pending: Pending, refs: Sequence[Ref], *, was_sent: bool) -> None:
        from treering.errors import ProducerError, TreeringError  # noqa: PLC0415 - start-up
        from treering.upload_core import FATAL  # noqa: PLC0415

        while True:
            try:
                response = self._ingest.upload(pending.request)
            except ProducerError as error:
                pending = self._renewed(pending, error, was_sent=was_sent)
                continue
            except FATAL:
                raise
            except TreeringError as error:
                was_sent = True
                if self._stop.wait(self._patience.delay(error, time.monotonic())):
                    raise Stopped from error
                continue
            self._patience.succeeded()
            self._count(response, refs)
            # Only now: before the acknowledgement the positions would skip lines that are nowhere.
            self._positions.end()
            self._sequence = pending.sequence + 1
            return

    def _renewed(self, pending: Pending, error: "TreeringError", *, was_sent: bool) -> Pending:
        """The same records under another producer id: ingest does not know this one any more, or knows it otherwise."""
        from treering.v1.ingest_pb2 import UploadLogsRequest  # noqa: PLC0415 - start-up

        records = UploadLogsRequest.FromString(pending.request).batch.records
        # Sent once before, it may be stored under the old id, and ingest cannot tell.
        if was_sent or error.reason != "PRODUCER_UNKNOWN":
            self.uncertain += len(records)
            self._say(f"ingest does not know this sender's batches any more; {len(records):,} records may be stored twice")
        self._producer, self._sequence = new_producer_id(), 1
        again = Pending(1, _encode(self._producer, 1, records))
        self._positions.renew_producer(self._producer, again)
        return again

    def _count(self, response: "UploadLogsResponse", refs: Sequence[Ref]) -> None:
        # A repeat under an id that nobody else has is our own, sent again after its acknowledgement was lost.
        self.accepted += response.accepted_count + response.duplicate_count
        self.rejected += sum(item.count for item in response.rejection_counts)
        for item in response.rejected_records:
            path, line = refs[item.index] if item.index < len(refs) else ("a record of the last run", 0)
            self._say(f"{path}:{line}: rejected by ingest: give every record a text, of at most 1 MiB")
        if response.end_offset_exclusive:
            self.ends[response.log_id] = max(self.ends.get(response.log_id, 0), response.end_offset_exclusive)


def _encode(producer_id: str, sequence: int, records: Sequence["LogRecord"]) -> bytes:
    from treering.v1.batch_pb2 import LogBatch  # noqa: PLC0415 - start-up
    from treering.v1.ingest_pb2 import UploadLogsRequest  # noqa: PLC0415 - start-up

    request = UploadLogsRequest(producer_id=producer_id, sequence=sequence, batch=LogBatch(records=records))
    return request.SerializeToString(deterministic=True)


class IngestChannel:
    """Ingest by gRPC.

    Args:
        address: Where it is.
        timeout_s: How long a batch may take, seconds.
    """

    def __init__(self, address: str, timeout_s: float = 60.0) -> None:
        from treering.channels import connect  # noqa: PLC0415 - start-up
        from treering.v1.ingest_pb2 import UploadLogsResponse  # noqa: PLC0415

        self._address = address
        self._timeout_s = timeout_s
        self._channel = connect(address)
        # Bytes as they were kept: a message that is encoded anew may come out otherwise, and would be no repeat.
        self._upload: grpc.StreamUnaryMultiCallable[bytes, UploadLogsResponse]
        self._upload = self._channel.stream_unary("/treering.v1.IngestService/UploadLogs", None, UploadLogsResponse.FromString)

    def upload(self, request: bytes) -> "UploadLogsResponse":
        """See `Ingest`."""
        import grpc  # noqa: PLC0415 - start-up

        from treering.errors import from_call  # noqa: PLC0415

        try:
            response: UploadLogsResponse = self._upload(_one(request), timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise from_call(error, self._address) from error
        return response

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


def _one(request: bytes) -> Iterator[bytes]:
    yield request
