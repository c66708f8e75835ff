"""Message and fields give back every letter of a line, and nothing fails."""

import datetime as dt
import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from treering_formats.fields import Defaults, to_record
from treering_formats.front import read_front
from treering_formats.json_line import json_fields
from treering_formats.levels import field_level
from treering_formats.text_line import read_text, text_record
from treering_formats.times import TimeReading, any_time, stamp_at

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)
READING = TimeReading(NOW)
DEFAULTS = Defaults("", "", NOW)

_TIMES = (
    "2026-11-23T18:00:00Z|2026-11-23 18:00:00,123|[2026-11-23 18:00:00]|Nov 23 18:00:00|23/Nov/2026:18:00:00 +0100|6:00:00 PM|18:00:00.5|"
    "Mon, 23 Nov 2026 18:00:00 +0100|1795460400.5|1795460400|20/11/26 18:00:00|2026-13-23 18:00:00|2026-11-23 18:00:00 IST|<34>|"
    "9999-12-31T00:00:00Z|11-23 18:00:00.123|20261123T180000Z|2026-W48-1T18:00:00Z|E1123 18:00:00.123456|"
    "<165>1 2026-11-23T18:00:00Z h p 1 - -"
)
_LEVELS = (
    "ERROR|WARN|[INFO]|[error   ]|<debug>|E|E/Tag|INFO+2|ERROR2|NOTICE|SEVERE|LOG:|error:|FEHLER|[core:trace3]|a.ERROR:|(W)|ERROR/Main]|E,"
)
_WORDS = "main|[main]|(x)|77|#77|a.b.C|user@db|shop::cart|web1|app[7]:|text|-12.5|::1|ERR-7|CEF:0|[0.1s]|[a b]"
MARKS = [
    " ",
    "  ",
    " - ",
    "-",
    ": ",
    ":",
    ", ",
    ",",
    "]",
    "[",
    "(",
    ")",
    "|",
    " | ",
    "\t",
    "-- ",
    "--",
    "#",
    "::",
    "\x1b[31m",
    "\x1b[0m",
    "\n",
]
PIECES = st.sampled_from([*_TIMES.split("|"), *_LEVELS.split("|"), *_WORDS.split("|"), *MARKS, '{"a": 1}', '"'])
LINES = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=9).map("".join)


def letters(text):
    return Counter(each for each in text if each.isalnum())


def cut(text, front):
    """What was taken off the front of a text, and is not said by an attribute."""
    taken = letters(text) - letters(text[front.end :])
    for name, value in front.attributes.items():
        if name not in {"severity_text", "treering.time", "syslog.facility"}:
            taken -= letters(value)
    return "".join(taken.elements())


@settings(max_examples=400, deadline=None)
@given(LINES)
def test_what_is_taken_off_a_line_is_a_time_a_level_or_an_attribute(line):
    front = read_text(line, READING)
    assert 0 <= front.end <= len(line)
    taken = cut(line, front)
    if not front.time and not front.severity:
        assert taken == ""
    # The longest time has 40 letters and digits, a level and a priority 17, and nothing else may go.
    assert sum(each.isalpha() for each in taken) <= 30
    if not front.time:
        assert sum(each.isdigit() for each in taken) <= 4


@settings(max_examples=300, deadline=None)
@given(LINES, st.text(max_size=20))
def test_the_message_is_the_end_of_the_line_as_written(line, rest):
    text = f"{line} {rest}"
    message = text_record(text.encode(errors="replace").decode(), DEFAULTS).message
    assert text.encode(errors="replace").decode().endswith(message)


@settings(max_examples=300, deadline=None)
@given(st.one_of(LINES, st.text(max_size=60)))
def test_no_text_breaks_the_reading(text):
    assert any_time(text, READING) is None or 0 < any_time(text, READING) < 2**63
    for start in range(min(3, len(text) + 1)):
        stamp = stamp_at(text, start, READING)
        assert stamp is None or (start < stamp.end <= len(text) and (stamp.nanos is None or 0 < stamp.nanos < 2**63))
    front = read_front(text, READING)
    assert front is None or 0 <= front.severity <= 24
    level = field_level("level", text, {})
    assert level is None or 0 <= level < 2**31


NAMES = st.sampled_from(
    ["msg", "message", "level", "severity", "time", "ts", "a", "a.b", "b", "attributes", "trace_id", "status", "service"]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PAIRS = st.lists(st.tuples(NAMES | st.text(max_size=4), VALUES), max_size=6)


def scalars(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    elif isinstance(value, str):
        yield value
    elif value is not None:
        yield json.dumps(value)


def said(record):
    return "\0".join([record.message, record.service, record.environment, *record.attributes.values()])


@settings(max_examples=400, deadline=None)
@given(PAIRS)
def test_every_value_of_an_object_can_be_read_in_its_record(pairs):
    """Also of keys that are there twice, and of dotted ones that meet nested ones."""
    line = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"
    fields = json_fields(line)
    assert fields is not None
    record = to_record(fields, line, DEFAULTS)
    assert record.message
    text = said(record)
    for key, value in pairs:
        for each in scalars(value):
            is_read = key in {"level", "severity", "status", "time", "ts", "trace_id"} and (record.severity or record.time_unix_nano)
            assert is_read or each in text or json.dumps(each, ensure_ascii=False)[1:-1] in text


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6))
def test_the_fast_decoder_agrees_with_the_standard_one(value):
    line = json.dumps(value)
    fields = json_fields(line)
    assert fields is not None
    for key, item in value.items():
        if isinstance(item, str | int) and not isinstance(item, bool) and f"treering.duplicate.{key}" not in fields:
            assert fields[key] == item
        elif isinstance(item, float):
            assert float(fields[key]) == item or f"treering.duplicate.{key}" in fields
