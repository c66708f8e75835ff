import time
from random import Random

import pytest
import xxhash

from tests.odd_messages import batch, field, odd_record, unknown
from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import RejectionReason, StreamLogsRequest, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest import admission
from treering_ingest.admission import check_batch
from treering_ingest.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES
from treering_runtime.errors import ServiceError

EMPTY = RejectionReason.REJECTION_REASON_MESSAGE_EMPTY
LARGE = RejectionReason.REJECTION_REASON_RECORD_TOO_LARGE


def test_a_good_batch_is_kept_byte_for_byte(request_of):
    received = request_of("one", "two", producer_id="me", sequence=4).SerializeToString() + b"\xfa\x07\x03new"
    checked = check_batch(received)
    assert checked.payload is received
    assert (checked.producer_id, checked.sequence, checked.record_count, checked.rejections) == (b"me", 4, 2, ())
    assert checked.batch_hash == xxhash.xxh3_64_intdigest(received)


def test_both_doors_take_the_same_bytes(request_of):
    received = request_of("one", producer_id="me", sequence=1).SerializeToString()
    assert StreamLogsRequest.FromString(received).SerializeToString() == received


def test_bad_records_are_left_out_one_by_one(request_of):
    huge = "x" * MAX_RECORD_BYTES
    request = request_of("a", "", huge, "b", "", producer_id="me", sequence=1)
    received = request.SerializeToString()
    checked = check_batch(received)
    kept = UploadLogsRequest.FromString(checked.payload)
    assert [record.message for record in kept.records] == ["a", "b"]
    assert (kept.producer_id, kept.sequence, checked.record_count) == ("me", 1, 2)
    assert [(item.index, item.reason) for item in checked.rejections] == [(1, EMPTY), (2, LARGE), (4, EMPTY)]
    assert checked.batch_hash == xxhash.xxh3_64_intdigest(received)


def test_fields_that_are_not_known_survive_when_others_are_left_out(request_of):
    record = LogRecord(message="kept").SerializeToString() + b"\xfa\x07\x03new"
    received = request_of("").SerializeToString() + b"\x1a" + bytes([len(record)]) + record
    assert b"\xfa\x07\x03new" in check_batch(received).payload


def test_the_others_stay_as_they_came_when_records_are_left_out():
    for seed in range(100):
        random = Random(seed)
        others = [odd_record(random) for _ in range(6)]
        gaps = [unknown(random) for _ in range(3)]
        left_out = field(3, field(5, "x") + field(5, ""), size=random.randrange(1, 5))
        received = batch(*others[:2]) + gaps[0] + left_out + gaps[1] + batch(*others[2:]) + left_out + gaps[2]
        checked = check_batch(received)
        assert checked.payload == batch(*others[:2]) + gaps[0] + gaps[1] + batch(*others[2:]) + gaps[2]
        assert checked.record_count == len(UploadLogsRequest.FromString(checked.payload).records) == 6
        assert [item.index for item in checked.rejections] == [2, 7]


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1])
def test_the_limit_of_a_record_is_exact(size):
    record = LogRecord(message="")
    record.message = "x" * (size - 4)
    assert record.ByteSize() == size
    checked = check_batch(UploadLogsRequest(records=[record]).SerializeToString())
    assert bool(checked.rejections) == (size > MAX_RECORD_BYTES)


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


@pytest.mark.parametrize("record", [b"\x1a\x00", b"\x9a\x00\x00", b"\x1a\x02\x2a\x00"])
def test_a_batch_of_records_without_content_is_refused_before_it_is_unfolded(record):
    allowed = check_batch(record * MAX_BATCH_RECORDS)
    assert len(allowed.rejections) == MAX_BATCH_RECORDS
    for count in (MAX_BATCH_RECORDS + 1, MAX_BATCH_BYTES // len(record)):
        started = time.perf_counter()
        with pytest.raises(ServiceError, match="records: more than 50000; send smaller batches") as caught:
            check_batch(record * count)
        assert time.perf_counter() - started < 1.0
        assert caught.value.metadata == {"field": "records", "limit": "50000"}


def test_unknown_fields_are_no_records():
    received = UploadLogsRequest(records=[LogRecord(message="m")]).SerializeToString() + (b"\x92\x01\x0a" + b"\x1a" * 10) * 100_000
    assert check_batch(received).record_count == 1


def test_a_batch_that_is_too_long_is_never_unfolded(monkeypatch):
    class NeverUnfolded:
        DESCRIPTOR = UploadLogsRequest.DESCRIPTOR

    monkeypatch.setattr(admission, "UploadLogsRequest", NeverUnfolded)
    with pytest.raises(ServiceError, match="records: more than 50000"):
        check_batch(b"\x1a\x00" * (MAX_BATCH_BYTES // 2))
