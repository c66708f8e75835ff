"""What ingest checks before a batch may enter the log: what protects the log, and nothing else."""

from dataclasses import dataclass
from typing import NamedTuple

import xxhash
from google.protobuf.message import DecodeError

from treering.v1.batch_pb2 import LogBatch
from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import RejectionReason, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest import envelope
from treering_ingest.limits import COUNTED_BATCH_BYTES, MAX_BATCH_BYTES, MAX_RECORD_BYTES, MAX_RESOURCE_VALUE_BYTES
from treering_ingest.request_limits import PRODUCER_ID, RECORDS, RESOURCE, RESOURCE_KEY
from treering_runtime import wire
from treering_runtime.errors import ServiceError, invalid_field
from treering_runtime.faulty_text import faulty_text
from treering_runtime.limits import MAX_NAME_BYTES
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
        received: The serialised LogBatch, as it came.
        batch_hash: xxh3_64 of `received`.
        payload: The same, without the records that are left out.
        record_count: Records in `payload`.
        rejections: The records that are left out.
    """

    producer_id: bytes
    sequence: int
    received: bytes
    batch_hash: int
    payload: bytes
    record_count: int
    rejections: tuple[Rejection, ...]

    def former_hash(self) -> int:
        """What the version before noted for the same records: the hash of the request that brought them.

        That request had the records themselves where the batch is now, behind producer and sequence, as every library writes them.
        """
        around = UploadLogsRequest(producer_id=self.producer_id.decode(), sequence=self.sequence)
        return xxhash.xxh3_64_intdigest(around.SerializeToString(deterministic=True) + self.received)


def check_batch(received: bytes) -> CheckedBatch:
    """Checks the bytes of one UploadLogsRequest or StreamLogsRequest.

    Raises:
        ServiceError: BATCH_TOO_LARGE, MALFORMED_BATCH, INVALID_FIELD for the producer's id, too many records, or what is not served;
            OVERLOADED without memory for it.
    """
    # Before anything reads the bytes: gRPC itself takes messages that are four times as large.
    if len(received) > MAX_BATCH_BYTES:
        raise _too_large(len(received))
    opened, batch = _parsed(received)
    # Before the loop over the records below, which runs on the event loop.
    RECORDS.check_count("batch.records", len(batch.records))
    PRODUCER_ID.check("producer_id", opened.producer_id)
    _refuse_unserved(batch)
    _check_resource(batch, opened.batch)
    # The batch is stored as it came. What is parsed here is for the checks alone, and is never serialised again.
    payload, rejections = opened.batch, _rejections(batch, len(opened.batch))
    if rejections:
        payload = _leave_out(opened.batch, rejections)
    # Of the received bytes, also where records are left out: a sender that repeats the batch sends these again.
    digest, count = xxhash.xxh3_64_intdigest(opened.batch), len(batch.records) - len(rejections)
    return CheckedBatch(opened.producer_id.encode(), opened.sequence, opened.batch, digest, payload, count, rejections)


def _parsed(received: bytes) -> tuple[envelope.Envelope, LogBatch]:
    """The request opened, and its batch, unfolded only when it is known not to become many times as large."""
    try:
        opened = envelope.opened(received)
        # Counted first: an empty record is two bytes here, and an object many times as large when it is unfolded.
        if len(received) > COUNTED_BATCH_BYTES:
            _count(envelope.parts(opened.batch))
        return opened, LogBatch.FromString(opened.batch)
    # All that the parser and the count raise for bytes that are no message. It is the sender's fault, not INTERNAL.
    except (DecodeError, ValueError, IndexError, MemoryError) as error:
        # without memory for it now it is a batch all the same: who is told that it is none never sends it again
        if scarce := exhausted(error):
            raise scarce from error
        field = faulty_text(received, UploadLogsRequest.DESCRIPTOR)
        problem = f"{field} is not UTF-8" if field else "encode it as Protocol Buffers do"
        message, metadata = f"batch: not a valid UploadLogsRequest; {problem}", {"field": field} if field else {}
        raise ServiceError(ErrorReason.ERROR_REASON_MALFORMED_BATCH, message, metadata=metadata) from error


def _count(parts: envelope.Parts) -> None:
    RECORDS.check_count("batch.records", len(parts.records))
    RESOURCE.check_count("batch.resource", len(parts.resource))
    if parts.resource_logs:
        raise _not_served("batch.resource_logs")


def _refuse_unserved(batch: LogBatch) -> None:
    if batch.resource_logs:
        raise _not_served("batch.resource_logs")
    if batch.idempotency_key:
        raise invalid_field("batch.idempotency_key", "not served yet; give a producer_id and a sequence, which recognise a repeat")


def _not_served(field: str) -> ServiceError:
    return invalid_field(field, "OTLP is not served yet; send the records as `batch.records`")


def _check_resource(batch: LogBatch, raw: bytes) -> None:
    if not batch.resource:
        return
    RESOURCE.check_count("batch.resource", len(batch.resource))
    size = 0
    for key, value in batch.resource.items():
        # As the names of services are: a longer one would stand in every answer that lists keys. Refused and not cut, as a record's would
        # be: the sender made it once for all of its records, and can shorten it.
        if len(key.encode()) > MAX_NAME_BYTES:
            RESOURCE_KEY.check(f"batch.resource[{_number(raw, key)}].key", key)
        size += len(value.encode())
    if size > MAX_RESOURCE_VALUE_BYTES:
        problem = f"values of {size} bytes together, over {MAX_RESOURCE_VALUE_BYTES}; leave out what all senders have alike"
        raise invalid_field("batch.resource", problem, limit=MAX_RESOURCE_VALUE_BYTES)


def _number(raw: bytes, key: str) -> int:
    """Which entry of the resource has a key, by its place on the wire: a map of the generated code has no order."""
    keys = [next(iter(LogBatch.FromString(field).resource)) for tag, field in wire.fields(raw) if tag == wire.RESOURCE_TAG]
    return keys.index(key)


def _rejections(batch: LogBatch, size_bytes: int) -> tuple[Rejection, ...]:
    records = batch.records
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


def _leave_out(batch: bytes, rejections: tuple[Rejection, ...]) -> bytes:
    """The batch without these records. The others stay as they came: serialised again, a key that comes twice would come once."""
    bad = {rejection.index for rejection in rejections}
    fields = list(wire.fields(batch))
    # The n-th field with this tag is the n-th record, wherever other fields stand between them: fields of a message may come in any order.
    records = [place for place, (tag, _) in enumerate(fields) if tag == wire.RECORD_TAG]
    gone = {records[index] for index in bad}
    return b"".join(field for place, (_, field) in enumerate(fields) if place not in gone)


def _too_large(size_bytes: int) -> ServiceError:
    message = f"batch: {size_bytes} bytes are over {MAX_BATCH_BYTES}; send smaller batches"
    metadata = {"size_bytes": str(size_bytes), "limit_bytes": str(MAX_BATCH_BYTES)}
    return ServiceError(ErrorReason.ERROR_REASON_BATCH_TOO_LARGE, message, metadata=metadata)
