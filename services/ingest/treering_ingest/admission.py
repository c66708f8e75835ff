"""What ingest checks before a batch may enter the log: what protects the log, and nothing else."""

from dataclasses import dataclass
from typing import NamedTuple

import xxhash
from google.protobuf.message import DecodeError

from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import RejectionReason, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest.limits import COUNTED_BATCH_BYTES, MAX_BATCH_BYTES, MAX_RECORD_BYTES
from treering_ingest.request_limits import LIMITS, PRODUCER_ID, RECORDS
from treering_runtime import wire
from treering_runtime.errors import ServiceError
from treering_runtime.faulty_text import faulty_text
from treering_runtime.request_limits import RequestLimits
from treering_runtime.scarcity import exhausted


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that is left out: its place in the batch, and why."""

    index: int
    reason: RejectionReason.ValueType


class CheckedBatch(NamedTuple):
    """A batch that may be stored.

    Args:
        producer_id: UTF-8 bytes; empty = anonymous.
        sequence: As received.
        batch_hash: xxh3_64 of the received bytes.
        payload: The received bytes, without the records that are left out.
        record_count: Records in `payload`.
        rejections: The records that are left out.
    """

    producer_id: bytes
    sequence: int
    batch_hash: int
    payload: bytes
    record_count: int
    rejections: tuple[Rejection, ...]


def check_batch(received: bytes) -> CheckedBatch:
    """Checks the bytes of one UploadLogsRequest or StreamLogsRequest.

    Raises:
        ServiceError: BATCH_TOO_LARGE, MALFORMED_BATCH, INVALID_FIELD for the producer's id or too many records; OVERLOADED without memory
            for it.
    """
    # Before anything reads the bytes: gRPC itself takes messages that are four times as large.
    if len(received) > MAX_BATCH_BYTES:
        raise _too_large(len(received))
    request = _parsed(received)
    # Before the loop over the records below, which runs on the event loop.
    RECORDS.check_count("records", len(request.records))
    PRODUCER_ID.check("producer_id", request.producer_id)
    # The batch is stored as it came. What is parsed here is for the checks alone, and is never serialised again.
    payload, rejections = received, _rejections(request, len(received))
    if rejections:
        payload = _leave_out(received, rejections)
    # Of the received bytes, also where records are left out: a sender that repeats the batch sends these again.
    digest = xxhash.xxh3_64_intdigest(received)
    return CheckedBatch(request.producer_id.encode(), request.sequence, digest, payload, len(request.records) - len(rejections), rejections)


_LIMITS = RequestLimits(LIMITS)


def _parsed(received: bytes) -> UploadLogsRequest:
    """The batch, unfolded only when it is known not to become many times as large."""
    try:
        # Counted on the wire first: an empty record is two bytes here, and an object many times as large when it is unfolded.
        if len(received) > COUNTED_BATCH_BYTES:
            _LIMITS.check_wire(received, UploadLogsRequest.DESCRIPTOR)
        return UploadLogsRequest.FromString(received)
    # All that the parser and the count raise for bytes that are no message. It is the sender's fault, not INTERNAL.
    except (DecodeError, ValueError, IndexError) as error:
        field = faulty_text(received, UploadLogsRequest.DESCRIPTOR)
        problem = f"{field} is not UTF-8" if field else "encode it as Protocol Buffers do"
        message, metadata = f"batch: not a valid UploadLogsRequest; {problem}", {"field": field} if field else {}
        # without memory for it now it is a batch all the same: who is told that it is none never sends it again
        raise exhausted(error) or ServiceError(ErrorReason.ERROR_REASON_MALFORMED_BATCH, message, metadata=metadata) from error


def _rejections(request: UploadLogsRequest, size_bytes: int) -> tuple[Rejection, ...]:
    records = request.records
    good = all([record.message for record in records])  # noqa: C419 - a list is twice as fast here, once for each record
    # A record cannot be larger than its batch, so small batches, nearly all, need no size of each record.
    if good and (size_bytes <= MAX_RECORD_BYTES or max(map(LogRecord.ByteSize, records)) <= MAX_RECORD_BYTES):
        return ()
    return tuple(
        Rejection(index, _EMPTY if not record.message else _TOO_LARGE)
        for index, record in enumerate(records)
        if not record.message or record.ByteSize() > MAX_RECORD_BYTES
    )


_EMPTY = RejectionReason.REJECTION_REASON_MESSAGE_EMPTY
_TOO_LARGE = RejectionReason.REJECTION_REASON_RECORD_TOO_LARGE


def _leave_out(received: bytes, rejections: tuple[Rejection, ...]) -> bytes:
    """The batch without these records. The others stay as they came: serialised again, a key that comes twice would come once."""
    bad = {rejection.index for rejection in rejections}
    fields = list(wire.fields(received))
    # The n-th field with this tag is the n-th record, wherever other fields stand between them: fields of a message may come in any order.
    records = [place for place, (tag, _) in enumerate(fields) if tag == wire.RECORD_TAG]
    gone = {records[index] for index in bad}
    return b"".join(field for place, (_, field) in enumerate(fields) if place not in gone)


def _too_large(size_bytes: int) -> ServiceError:
    message = f"batch: {size_bytes} bytes are over {MAX_BATCH_BYTES}; send smaller batches"
    metadata = {"size_bytes": str(size_bytes), "limit_bytes": str(MAX_BATCH_BYTES)}
    return ServiceError(ErrorReason.ERROR_REASON_BATCH_TOO_LARGE, message, metadata=metadata)
