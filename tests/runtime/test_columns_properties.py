"""`FrameDecoder` against a twin in plain Python that says the same things one record at a time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime.columns import SCHEMA, TEXTS, FrameDecoder

DECODER = FrameDecoder()
TEXTS_DECODER = FrameDecoder(TEXTS)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INT32 = st.one_of(st.integers(0, 24), st.integers(-(2**31), 2**31 - 1))
TIMES = st.one_of(st.sampled_from([0, 2**63 - 2, 2**63 - 1]), st.integers(1, 2**63 - 1), st.integers(2**63, 2**64 - 1))
RECORDS = st.builds(
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
FRAMES = st.lists(st.tuples(st.lists(RECORDS, max_size=4), st.integers(1, 2**62), st.integers(0, 5)), min_size=1, max_size=4)


def built(batches):
    """Frames with growing offsets, gaps between them allowed."""
    frames, offset = [], 0
    for records, arrival, gap in batches:
        offset += gap
        payload = UploadLogsRequest(producer_id="p", sequence=1, records=records).SerializeToString()
        frames.append(DeliveredFrame(first_offset=offset, record_count=len(records), arrival_time_unix_nano=arrival, payload=payload))
        offset += len(records)
    return frames


def twin(log_id, frames):
    """What the contract says of each record, written down plainly."""
    rows = []
    for frame in frames:
        for index, record in enumerate(UploadLogsRequest.FromString(frame.payload).records):
            kept = {}
            time = record.time_unix_nano or frame.arrival_time_unix_nano
            if record.time_unix_nano >= 2**63 - 1:
                time, kept["treering.time_unix_nano"] = frame.arrival_time_unix_nano, str(record.time_unix_nano)
            severity = record.severity
            if not 0 <= severity <= 24:
                severity, kept["treering.severity"] = 0, str(record.severity)
            ids = {}
            for name, length in (("trace_id", 16), ("span_id", 8)):
                value = getattr(record, name)
                ids[name] = value
                if len(value) not in {0, length}:
                    ids[name], kept[f"treering.{name}"] = b"", value.hex()
            rows.append(
                {
                    "log_id": log_id,
                    "offset": frame.first_offset + index,
                    "time": time,
                    "arrival_time": frame.arrival_time_unix_nano,
                    "severity": severity,
                    "service": record.service,
                    "environment": record.environment,
                    "message": record.message,
                    "attributes": dict(record.attributes) | kept,
                    **ids,
                }
            )
    return rows


def rows_of(batch):
    columns = {name: batch.column(name) for name in batch.schema.names}
    for name in ("time", "arrival_time"):
        columns[name] = columns[name].view("int64")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*(column.to_pylist() for column in columns.values()), strict=True)]
    return [row | {"attributes": dict(row["attributes"])} for row in rows]


@given(FRAMES, st.integers(0, 2**64 - 1))
def test_columns_say_what_the_plain_twin_says(batches, log_id):
    frames = built(batches)
    batch = DECODER.decode(log_id, frames)
    batch.validate(full=True)
    assert batch.schema == SCHEMA
    assert rows_of(batch) == twin(log_id, frames)


@given(FRAMES, st.integers(0, 20))
def test_records_below_an_offset_are_left_out(batches, skip_below):
    frames = built(batches)
    assert rows_of(DECODER.decode(1, frames, skip_below)) == [row for row in twin(1, frames) if row["offset"] >= skip_below]


@given(FRAMES, st.integers(0, 20))
def test_the_decoder_of_texts_says_the_same_in_fewer_columns(batches, skip_below):
    frames = built(batches)
    texts = TEXTS_DECODER.decode(1, frames, skip_below)
    texts.validate(full=True)
    assert texts.schema == TEXTS
    assert texts == DECODER.decode(1, frames, skip_below).select(TEXTS.names)


@pytest.mark.parametrize("decoder", [DECODER, TEXTS_DECODER])
@given(FRAMES, st.data())
def test_a_frame_that_says_another_count_is_refused(decoder, batches, data):
    frames = built(batches)
    frame = data.draw(st.sampled_from(frames))
    frame.record_count += 1
    with pytest.raises(ValueError, match="another number of records"):
        decoder.decode(1, frames)


@pytest.mark.parametrize("decoder", [DECODER, TEXTS_DECODER])
@pytest.mark.parametrize("payload", [b"\xff", b"\x1a\x05\x2a\x03\xff\xff\xff"])
def test_bytes_that_are_no_message_are_refused(decoder, payload):
    with pytest.raises(ValueError, match=r"(?i)decod|invalid|wire"):
        decoder.decode(1, [DeliveredFrame(first_offset=0, record_count=1, payload=payload)])


def test_times_are_utc_without_a_zone():
    moment = datetime(2026, 3, 12, 14, 2, tzinfo=UTC)
    nanos = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    batch = DECODER.decode(1, built([([LogRecord(time_unix_nano=nanos, message="m")], 5, 0)]))
    assert str(batch.column("time")[0]) == "2026-03-12 14:02:00"
