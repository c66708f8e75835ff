import datetime as dt
import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from treering.v1.log_pb2 import LogRecord
from treering_formats.records import RecordReader
from treering_formats.times import any_time

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)
PIECES = st.sampled_from(
    [
        "2026-11-23T18:00:00Z",
        "Nov 31 25:00:00 h p: ",
        "ERROR",
        "[",
        "{",
        '{"a":',
        "<34>",
        " - ",
        "message = ",
        " | a = ",
        "Traceback ",
        "\t",
        "\u2028",
    ]
)
LINES = st.lists(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=6).map("".join), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | PIECES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["message", "msg", "time", "ts", "level", "severity", "status", "service", "env", "trace_id", "span_id", "log", "other"]
)


def parse(raw: bytes, fmt: str) -> tuple[list[tuple[int, LogRecord]], RecordReader]:
    lines = RecordReader(io.BytesIO(raw), service="s", environment="e", fmt=fmt, now=NOW)
    return list(lines), lines


def encodable(record: LogRecord) -> LogRecord:
    assert record.SerializeToString()
    assert 0 <= record.time_unix_nano < 2**63
    return record


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["auto", "jsonl", "text"]))
def test_any_bytes_give_records_and_never_fail(raw: bytes, fmt: Any) -> None:
    found, lines = parse(raw, fmt)
    assert all(encodable(record) for _, record in found)
    assert lines.bytes_read == len(raw)
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))


@settings(max_examples=300, deadline=None)
@given(LINES, st.sampled_from(["auto", "text"]))
def test_no_word_of_a_text_is_lost(lines: list[str], fmt: Any) -> None:
    """What is left out of the messages is only what became a time, a level or an attribute."""
    words = [f"w{index}w" for index in range(len(lines))]
    raw = "\n".join(line.replace("\n", " ").replace("\r", " ") + " " + word for line, word in zip(lines, words, strict=True))
    found, _ = parse(raw.encode(errors="replace"), fmt)
    kept = " ".join(" ".join([record.message, *record.attributes.values(), record.environment, record.service]) for _, record in found)
    assert all(word in kept for word in words)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=4))
def test_any_object_gives_one_record_a_line(objects: list[Any]) -> None:
    raw = "\n".join(json.dumps(each) for each in objects).encode()
    found, lines = parse(raw, "jsonl")
    assert [number for number, _ in found] == list(range(1, len(objects) + 1))
    assert all(encodable(record) for _, record in found)
    assert lines.unparsed == 0


@given(st.integers(1, 2**63 - 2))
def test_times_agree_with_datetime(nanos: int) -> None:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=nanos // 10**9)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos % 10**9:09d}Z"
    assert any_time(text.zfill(30)) == nanos


@given(st.text(max_size=40) | st.integers() | st.floats() | st.none() | st.decimals())
def test_no_value_breaks_the_reading_of_times(value: str | float | Any | None) -> None:
    found = any_time(value)
    assert found is None or 0 < found < 2**63
