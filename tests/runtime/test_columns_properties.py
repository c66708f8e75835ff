"""`FrameDecoder` against a twin in plain Python that says the same things one record at a time."""

import sys
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.odd_messages import GIANTS, batch, broken_record, entry, field, healthy_record, odd_record, upload
from tests.runtime.plain_columns import plain_attributes, plain_columns
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_ingest.admission import check_batch
from treering_runtime.columns import SCHEMA, TEXTS, FrameDecoder
from treering_runtime.errors import ServiceError
from treering_runtime.resources import of_text

DECODER = FrameDecoder()
TEXTS_DECODER = FrameDecoder(TEXTS)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INT32 = st.one_of(st.integers(0, 24), st.integers(-(2**31), 2**31 - 1))
TIMES = st.one_of(st.sampled_from([0, 2**63 - 2, 2**63 - 1]), st.integers(1, 2**63 - 1), st.integers(2**63, 2**64 - 1))
PLAIN_RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    severity=INT32,
    service=TEXT,
    environment=TEXT,
    message=TEXT,
    attributes=st.dictionaries(TEXT, TEXT, max_size=3),
    trace_id=st.one_of(st.just(b""), st.binary(min_size=16, max_size=16), st.binary(max_size=20)),
    span_id=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8), st.binary(max_size=12)),
)
KEYS = st.one_of(TEXT, st.sampled_from(["a", "treering.duplicate.a", "treering.severity", "treering.trace_id"]))
ENTRIES = st.lists(st.builds(entry, KEYS, st.one_of(TEXT, st.sampled_from("12"))), max_size=6).map(b"".join)
RECORDS = st.builds(lambda record, entries: record.SerializeToString() + entries, PLAIN_RECORDS, ENTRIES)
RESOURCES = st.one_of(st.just({}), st.dictionaries(KEYS, TEXT, max_size=3), st.sampled_from([{"a": "1", "b": "2"}, {"b": "2", "a": "1"}]))
FRAMES = st.lists(st.tuples(st.lists(RECORDS, max_size=4), st.integers(1, 2**62), st.integers(0, 5), RESOURCES), min_size=1, max_size=4)


def built(batches: list[Any]) -> list[DeliveredFrame]:
    """Frames with growing offsets, gaps between them allowed."""
    frames, offset = [], 0
    for records, arrival, gap, *resource in batches:
        offset += gap
        # As a log of before has it: the producer and the sequence stand before the records.
        payload = UploadLogsRequest(producer_id="p", sequence=1).SerializeToString() + batch(*records, resource=dict(*resource))
        frames.append(DeliveredFrame(first_offset=offset, record_count=len(records), arrival_time_unix_nano=arrival, payload=payload))
        offset += len(records)
    return frames


def rows_of(batch: Any) -> list[Any]:
    columns = {name: batch.column(name) for name in batch.schema.names}
    for name in ("time", "arrival_time"):
        columns[name] = columns[name].view("int64")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*(column.to_pylist() for column in columns.values()), strict=True)]
    assert all(len(dict(row["attributes"])) == len(row["attributes"]) for row in rows)
    return [row | {"attributes": dict(row["attributes"]), "resource": of_text(row["resource"])} for row in rows]


@given(FRAMES, st.integers(0, 2**64 - 1))
def test_columns_say_what_the_plain_twin_says(batches: list[Any], log_id: int) -> None:
    frames = built(batches)
    found = DECODER.decode(log_id, frames)
    found.validate(full=True)
    assert found.schema == SCHEMA
    assert rows_of(found) == plain_columns(log_id, frames)


@given(FRAMES, st.integers(0, 20))
def test_records_below_an_offset_are_left_out(batches: list[Any], skip_below: int) -> None:
    frames = built(batches)
    assert rows_of(DECODER.decode(1, frames, skip_below)) == [row for row in plain_columns(1, frames) if row["offset"] >= skip_below]


@given(FRAMES, st.integers(0, 20))
def test_the_decoder_of_texts_says_the_same_in_fewer_columns(batches: list[Any], skip_below: int) -> None:
    frames = built(batches)
    texts = TEXTS_DECODER.decode(1, frames, skip_below)
    texts.validate(full=True)
    assert texts.schema == TEXTS
    assert texts == DECODER.decode(1, frames, skip_below).select(TEXTS.names)


@pytest.mark.parametrize("decoder", [DECODER, TEXTS_DECODER])
@given(FRAMES, st.data())
def test_a_frame_that_says_another_count_is_refused(decoder: FrameDecoder, batches: list[Any], data: st.DataObject) -> None:
    frames = built(batches)
    frame = data.draw(st.sampled_from(frames))
    frame.record_count += 1
    with pytest.raises(ValueError, match="another number of records"):
        decoder.decode(1, frames)


@pytest.mark.parametrize("decoder", [DECODER, TEXTS_DECODER])
@pytest.mark.parametrize("payload", [b"\xff", b"\x1a\x05\x2a\x03\xff\xff\xff"])
def test_bytes_that_are_no_message_are_refused(decoder: FrameDecoder, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)decod|invalid|wire"):
        decoder.decode(1, [DeliveredFrame(first_offset=0, record_count=1, payload=payload)])


def test_times_are_utc_without_a_zone() -> None:
    moment = datetime(2026, 3, 12, 14, 2, tzinfo=UTC)
    nanos = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    found = DECODER.decode(1, built([([LogRecord(time_unix_nano=nanos, message="m").SerializeToString()], 5, 0)]))
    assert str(found.column("time")[0]) == "2026-03-12 14:02:00"


def test_resources_that_read_alike_are_told_apart() -> None:
    sets = [{"ab": "c"}, {"a": "bc"}, {"a": "b", "c": ""}, {"a": "", "bc": ""}, {}, {"a": "1", "b": "2"}, {"b": "2", "a": "1"}]
    found = DECODER.decode(1, built([([field(5, "m")], 5, 0, each) for each in sets]))
    assert [row["resource"] for row in rows_of(found)] == sets
    assert len(found.column("resource").dictionary) == len(sets) - 1


HELLO = field(5, "hello")
DUPLICATES = {
    "two values": ([("a", "1"), ("a", "2")], {"a": "2", "treering.duplicate.a": "1"}),
    "one value twice": ([("a", "1"), ("b", "x"), ("a", "1")], {"a": "1", "b": "x"}),
    "several values, each once": ([("a", value) for value in "12132"], {"a": "2", "treering.duplicate.a": "1\n3"}),
    "no key": ([("", "1"), ("", "2")], {"": "2", "treering.duplicate.": "1"}),
    "the name is taken": (
        [("treering.duplicate.a", "sent"), ("a", "1"), ("a", "2"), ("a", "3")],
        {"a": "3", "treering.duplicate.a": "sent\n1\n2"},
    ),
    "the name is taken twice": (
        [("a", "1"), ("treering.duplicate.a", "x"), ("a", "2"), ("treering.duplicate.a", "y")],
        {"a": "2", "treering.duplicate.a": "y\n1", "treering.duplicate.treering.duplicate.a": "x"},
    ),
}


@pytest.mark.parametrize("name", DUPLICATES)
def test_of_a_key_that_comes_again_the_last_value_counts_and_the_others_stay(name: str) -> None:
    pairs, expected = DUPLICATES[name]
    found = DECODER.decode(1, built([([HELLO, HELLO + b"".join(entry(*pair) for pair in pairs), HELLO + entry("a", "1")], 5, 0)]))
    assert [row["attributes"] for row in rows_of(found)] == [{}, expected, {"a": "1"}]
    assert plain_attributes(pairs) == expected


def test_what_a_sender_wrote_under_a_name_of_ours_stays_beside_what_we_write() -> None:
    record = LogRecord(message="m", trace_id=b"odd", attributes={"treering.trace_id": "mine"})
    (row,) = rows_of(DECODER.decode(1, built([([record.SerializeToString()], 5, 0)])))
    assert row["attributes"] == {"treering.trace_id": "6f6464", "treering.duplicate.treering.trace_id": "mine"}


def test_thousands_of_odd_records_say_what_the_plain_twin_says() -> None:
    for seed in range(20):
        random = Random(seed)
        batches = (batch(healthy_record(number), odd_record(random), healthy_record(-number)) for number in range(1, 51))
        checked = [check_batch(upload(each)) for each in batches]
        frames = [
            DeliveredFrame(first_offset=3 * place, record_count=each.record_count, arrival_time_unix_nano=9, payload=each.payload)
            for place, each in enumerate(checked)
        ]
        found = DECODER.decode(1, frames)
        found.validate(full=True)
        assert rows_of(found) == plain_columns(1, frames)
        assert TEXTS_DECODER.decode(1, frames) == found.select(TEXTS.names)


@pytest.mark.parametrize("name", GIANTS)
def test_the_largest_records_say_what_the_plain_twin_says(name: str) -> None:
    payload = check_batch(upload(batch(healthy_record(1), GIANTS[name]()))).payload
    frames = [DeliveredFrame(first_offset=0, record_count=2, arrival_time_unix_nano=9, payload=payload)]
    assert rows_of(DECODER.decode(1, frames)) == plain_columns(1, frames)


def test_what_is_no_message_is_refused_by_ingest() -> None:
    for seed in range(500):
        with pytest.raises(ServiceError, match="not a valid UploadLogsRequest"):
            check_batch(upload(batch(healthy_record(1), broken_record(Random(seed)), healthy_record(2))))


@pytest.mark.parametrize("attributes", [{"a": "1"}, {}])
def test_no_python_runs_for_each_record_that_must_be_put_right(attributes: dict[str, str]) -> None:
    odd = LogRecord(time_unix_nano=2**63, severity=99, message="m", attributes=attributes, trace_id=b"x" * 32, span_id=b"y")
    raw = odd.SerializeToString() + entry("k", "1") + entry("k", "2")
    calls = []
    for count in (10, 10, 1_000):  # the first one imports what is imported late
        frames, counted = built([([raw] * count, 5, 0)]), [0]
        sys.setprofile(lambda _, event, __, counted=counted: counted.__setitem__(0, counted[0] + (event == "call")))  # type: ignore[misc]
        try:
            DECODER.decode(1, frames)
        finally:
            sys.setprofile(None)
        calls.append(counted[0])
    assert abs(calls[2] - calls[1]) < 100
