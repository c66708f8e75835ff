import pytest
import xxhash

from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import RejectionReason, StreamLogsRequest, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest.admission import check_batch
from treering_ingest.limits import MAX_BATCH_BYTES, MAX_RECORD_BYTES
from treering_runtime.errors import ServiceError

EMPTY = RejectionReason.REJECTION_REASON_MESSAGE_EMPTY
LARGE = RejectionReason.REJECTION_REASON_RECORD_TOO_LARGE


def test_a_good_batch_is_kept_byte_for_byte(request_of):
    received = request_of("one", "two", producer_id="me", sequence=4).SerializeToString() + b"\xfa\x07\x03new"
    batch = check_batch(received)
    assert batch.payload is received
    assert (batch.producer_id, batch.sequence, batch.record_count, batch.rejections) == (b"me", 4, 2, ())
    assert batch.batch_hash == xxhash.xxh3_64_intdigest(received)


def test_both_doors_take_the_same_bytes(request_of):
    received = request_of("one", producer_id="me", sequence=1).SerializeToString()
    assert StreamLogsRequest.FromString(received).SerializeToString() == received


def test_bad_records_are_left_out_one_by_one(request_of):
    huge = "x" * MAX_RECORD_BYTES
    request = request_of("a", "", huge, "b", "", producer_id="me", sequence=1)
    received = request.SerializeToString()
    batch = check_batch(received)
    kept = UploadLogsRequest.FromString(batch.payload)
    assert [record.message for record in kept.records] == ["a", "b"]
    assert (kept.producer_id, kept.sequence, batch.record_count) == ("me", 1, 2)
    assert [(item.index, item.reason) for item in batch.rejections] == [(1, EMPTY), (2, LARGE), (4, EMPTY)]
    assert batch.batch_hash == xxhash.xxh3_64_intdigest(received)


def test_fields_that_are_not_known_survive_when_others_are_left_out(request_of):
    record = LogRecord(message="kept").SerializeToString() + b"\xfa\x07\x03new"
    received = request_of("").SerializeToString() + b"\x1a" + bytes([len(record)]) + record
    assert b"\xfa\x07\x03new" in check_batch(received).payload


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1])
def test_the_limit_of_a_record_is_exact(size):
    record = LogRecord(message="")
    record.message = "x" * (size - 4)
    assert record.ByteSize() == size
    batch = check_batch(UploadLogsRequest(records=[record]).SerializeToString())
    assert bool(batch.rejections) == (size > MAX_RECORD_BYTES)


def test_an_empty_batch_is_fine():
    assert check_batch(b"").record_count == 0


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (b"\x1a\xff", "MALFORMED_BATCH"),
        (b"\x0a\x02\xff\xfe", "MALFORMED_BATCH"),
        (b"\x1a\x04\x2a\x02\xc3\x28", "MALFORMED_BATCH"),
        (bytes(MAX_BATCH_BYTES + 1), "BATCH_TOO_LARGE"),
        (UploadLogsRequest(producer_id="p" * 129).SerializeToString(), "INVALID_FIELD"),
    ],
)
def test_what_is_no_batch_is_refused(received, reason):
    with pytest.raises(ServiceError) as caught:
        check_batch(received)
    assert ErrorReason.Name(caught.value.reason) == f"ERROR_REASON_{reason}"
