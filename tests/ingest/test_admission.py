import time
from random import Random

import pytest
import xxhash

from tests.ingest.conftest import RequestOf
from tests.odd_messages import batch, field, odd_record, unknown, upload
from treering.v1.batch_pb2 import LogBatch
from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import RejectionReason, StreamLogsRequest, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest import admission
from treering_ingest.admission import check_batch
from treering_ingest.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES
from treering_runtime.errors import ServiceError

EMPTY = RejectionReason.REJECTION_REASON_MESSAGE_EMPTY
LARGE = RejectionReason.REJECTION_REASON_RECORD_TOO_LARGE


def test_a_good_batch_is_kept_byte_for_byte(request_of: RequestOf) -> None:
    sent = request_of("one", "two").batch.SerializeToString() + b"\xfa\x07\x03new"
    checked = check_batch(upload(sent, producer_id="me", sequence=4))
    assert checked.payload == sent
    assert checked.payload is checked.received
    assert (checked.producer_id, checked.sequence, checked.record_count, checked.rejections) == (b"me", 4, 2, ())
    assert checked.batch_hash == xxhash.xxh3_64_intdigest(sent)


def test_a_batch_that_comes_in_parts_is_their_merge(request_of: RequestOf) -> None:
    first, second = (request_of(text).batch.SerializeToString() for text in ("one", "two"))
    stranger = field(9, "of a newer sender")
    checked = check_batch(field(3, first) + stranger + field(1, "me") + field(3, second, size=3) + b"\x10\x04")
    assert (checked.payload, checked.producer_id, checked.sequence, checked.record_count) == (first + second, b"me", 4, 2)


def test_both_doors_take_the_same_bytes(request_of: RequestOf) -> None:
    received = request_of("one", producer_id="me", sequence=1).SerializeToString()
    assert StreamLogsRequest.FromString(received).SerializeToString() == received


def test_bad_records_are_left_out_one_by_one(request_of: RequestOf) -> None:
    huge = "x" * MAX_RECORD_BYTES
    request = request_of("a", "", huge, "b", "", producer_id="me", sequence=1)
    received = request.SerializeToString()
    checked = check_batch(received)
    kept = LogBatch.FromString(checked.payload)
    assert [record.message for record in kept.records] == ["a", "b"]
    assert (checked.producer_id, checked.sequence, checked.record_count) == (b"me", 1, 2)
    assert [(item.index, item.reason) for item in checked.rejections] == [(1, EMPTY), (2, LARGE), (4, EMPTY)]
    assert checked.batch_hash == xxhash.xxh3_64_intdigest(request.batch.SerializeToString())


def test_fields_that_are_not_known_survive_when_others_are_left_out(request_of: RequestOf) -> None:
    record = LogRecord(message="kept").SerializeToString() + b"\xfa\x07\x03new"
    received = request_of("").batch.SerializeToString() + field(3, record)
    assert b"\xfa\x07\x03new" in check_batch(upload(received)).payload


def test_the_others_stay_as_they_came_when_records_are_left_out() -> None:
    for seed in range(100):
        random = Random(seed)
        others = [odd_record(random) for _ in range(6)]
        gaps = [unknown(random) for _ in range(3)]
        left_out = field(3, field(5, "x") + field(5, ""), size=random.randrange(1, 5))
        shared = batch(resource={"host.name": "db-1", "k": ""})
        received = batch(*others[:2]) + gaps[0] + left_out + gaps[1] + batch(*others[2:]) + shared + left_out + gaps[2]
        checked = check_batch(upload(received))
        assert checked.payload == batch(*others[:2]) + gaps[0] + gaps[1] + batch(*others[2:]) + shared + gaps[2]
        assert checked.record_count == len(LogBatch.FromString(checked.payload).records) == 6
        assert [item.index for item in checked.rejections] == [2, 7]


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1])
def test_the_limit_of_a_record_is_exact(size: int) -> None:
    record = LogRecord(message="")
    record.message = "x" * (size - 4)
    assert record.ByteSize() == size
    checked = check_batch(UploadLogsRequest(batch=LogBatch(records=[record])).SerializeToString())
    assert bool(checked.rejections) == (size > MAX_RECORD_BYTES)


def test_an_empty_batch_is_fine() -> None:
    assert check_batch(b"").record_count == 0


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (b"\x1a\xff", "MALFORMED_BATCH"),
        (b"\x0a\x02\xff\xfe", "MALFORMED_BATCH"),
        (b"\x1a\x06\x1a\x04\x2a\x02\xc3\x28", "MALFORMED_BATCH"),
        (b"\x1a\x02\x1a\xff", "MALFORMED_BATCH"),
        (bytes(MAX_BATCH_BYTES + 1), "BATCH_TOO_LARGE"),
        (UploadLogsRequest(producer_id="p" * 129).SerializeToString(), "INVALID_FIELD"),
    ],
)
def test_what_is_no_batch_is_refused(received: bytes, reason: str) -> None:
    with pytest.raises(ServiceError) as caught:
        check_batch(received)
    assert ErrorReason.Name(caught.value.reason) == f"ERROR_REASON_{reason}"


@pytest.mark.parametrize("record", [b"\x1a\x00", b"\x9a\x00\x00", b"\x1a\x02\x2a\x00"])
def test_a_batch_of_records_without_content_is_refused_before_it_is_unfolded(record: bytes) -> None:
    allowed = check_batch(upload(record * MAX_BATCH_RECORDS))
    assert len(allowed.rejections) == MAX_BATCH_RECORDS
    for count in (MAX_BATCH_RECORDS + 1, (MAX_BATCH_BYTES - 10) // len(record)):
        received = upload(record * count)
        started = time.perf_counter()
        with pytest.raises(ServiceError, match=r"batch\.records: more than 50000; send smaller batches") as caught:
            check_batch(received)
        assert time.perf_counter() - started < 1.0
        assert caught.value.metadata == {"field": "batch.records", "limit": "50000"}


def test_unknown_fields_are_no_records() -> None:
    sent = LogBatch(records=[LogRecord(message="m")]).SerializeToString() + (b"\x92\x01\x0a" + b"\x1a" * 10) * 100_000
    assert check_batch(upload(sent)).record_count == 1


def test_a_batch_that_is_too_long_is_never_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    class NeverUnfolded:
        """Whoever unfolds a batch with this has an AttributeError."""

    monkeypatch.setattr(admission, "LogBatch", NeverUnfolded)
    with pytest.raises(ServiceError, match="records: more than 50000"):
        check_batch(upload(b"\x1a\x00" * (MAX_BATCH_BYTES // 2 - 8)))
    with pytest.raises(ServiceError, match="resource: more than 128"):
        check_batch(upload(b"\x2a\x00" * (MAX_BATCH_BYTES // 2 - 8)))


def refused(batch: LogBatch | bytes) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        check_batch(upload(batch.SerializeToString() if isinstance(batch, LogBatch) else batch))
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    return caught.value.metadata["field"], caught.value.message


def test_what_is_not_served_yet_is_refused_with_a_remedy() -> None:
    assert refused(LogBatch(resource_logs=[b"", b"x"])) == (
        "batch.resource_logs",
        "batch.resource_logs: OTLP is not served yet; send the records as `batch.records`",
    )
    field_name, words = refused(LogBatch(idempotency_key="k", records=[LogRecord(message="m")]))
    assert field_name == "batch.idempotency_key"
    assert "not served yet; give a producer_id and a sequence" in words


def test_a_resource_has_limits() -> None:
    largest = {f"{number}": "" for number in range(127)} | {"k" * 256: "v" * 65_536}
    assert check_batch(upload(batch(odd_record(Random(1)), resource=largest))).record_count == 1
    assert refused(batch(resource=largest | {"one": "more"})) == (
        "batch.resource",
        "batch.resource: more than 128; keep what tells senders apart",
    )
    assert refused(batch(resource={"a": "v" * 65_536, "b": "é"}))[1].startswith(
        "batch.resource: values of 65538 bytes together, over 65536;"
    )
    assert refused(batch(resource={"z": "1", "é" * 128 + "k": "2", "a": "3"})) == (
        "batch.resource[1].key",
        "batch.resource[1].key: 257 bytes, over 256; shorten the key",
    )


def test_a_key_of_a_resource_may_come_again_and_hold_anything() -> None:
    twice = batch(resource={"a": "1", "": "\0"}) + batch(resource={"a": "2"})
    assert check_batch(upload(twice)).payload == twice
    assert refused(batch(resource={"a": "1"}) + batch(resource={"a": "1", "k" * 300: ""}))[0] == "batch.resource[2].key"


def test_records_in_place_of_a_batch_are_no_batch() -> None:
    """What a sender of the version before sends."""
    for record in (LogRecord(message="m"), LogRecord(service="checkout", message="order 7 was paid", attributes={"k": "v"})):
        with pytest.raises(ServiceError):
            check_batch(field(1, "me") + b"\x10\x01" + field(3, record.SerializeToString()))
