"""Whatever the text: no error, and every letter of every line is in a record."""

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.cli.reading_lines import reader
from treering_formats.catalog import CATALOG
from treering_formats.records import RecordReader
from treering_formats.redaction.settings import redactor

FRONTS = st.sampled_from(
    [
        "", "  ", "\t", "2026-11-23 18:00:00,123 ERROR ", "2026-11-23 18:00:00.123 UTC [77] LOG:  ",
        "2026-11-23 18:00:00.1 UTC [77] STATEMENT:  ",
        "2026-11-23T18:00:00.1Z stdout F ", "2026-11-23T18:00:00.1Z stderr P ", "web-1  | ", "[pod/a/b] ", "Nov 23 18:00:00 web1 till[7]: ",
        "Caused by: ", "Traceback (most recent call last):", "goroutine 1 [running]:", "panic: ", "\tat ", "#0 ", "java.io.IOException: ",
        "thread 'main' panicked at x:", "stack backtrace:", "# Time: ", "# User@Host: ", "#Fields: ", "{", "[", "}", "]",
        '{"log":"', '{"msg":"',
        "CEF:0|a|b|1|2|x|3|", "LEEF:2.0|a|b|1|2|^|", "type=AVC msg=audit(1.000:1): ", "level=info ", "<Event ", "[   12.345678] ", "71:M ",
        '192.0.2.7 - - [23/Nov/2026:18:00:00 +0000] "GET ', "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
        "message = ", "__CURSOR=s",
    ]
)  # fmt: skip
PIECES = st.one_of(FRONTS, st.sampled_from([" a=", '="', '"', "\\", "|", " | b = ", "=", ",", ":", "[", "]"]), st.text(max_size=6))
LINES = st.lists(st.tuples(FRONTS, st.lists(PIECES, max_size=5).map("".join)).map("".join), max_size=12)
EXAMPLES = st.sampled_from([each.example for each in CATALOG])


def kept(lines: RecordReader) -> str:
    """Every text of every record, as one."""
    found = []
    for _, record in lines:
        assert record.SerializeToString()
        assert record.message
        found.append(" ".join([record.message, record.service, record.environment, *record.attributes, *record.attributes.values()]))
    return "\n".join(found)


@settings(max_examples=400, deadline=None)
@given(LINES, st.sampled_from(["auto", "text", "jsonl"]))
@example(["web-1  | a", "[", "web-1  | b"], "auto")
def test_no_word_of_any_line_is_lost(lines: list[str], fmt: Any) -> None:
    """A word behind each line, of letters and digits as ids have them: wherever the line goes, the word is in a record."""
    words = [f"w{index}w" for index in range(len(lines))]
    raw = "\n".join(re.sub(r"[\r\n\0]", " ", line) + " " + word for line, word in zip(lines, words, strict=True))
    found = reader(raw.encode(errors="replace"), fmt)
    text = kept(found)
    assert [word for word in words if word not in text] == []
    assert found.held_from == 0


@settings(max_examples=400, deadline=None)
@given(EXAMPLES, st.integers(0, 200), st.text(alphabet=' ="|[]\\{}<>:,.-ab1\t\n', max_size=6))
def test_formats_with_something_wrong_in_them_lose_nothing(line: str, place: int, noise: str) -> None:
    spoilt = line[:place] + noise + line[place:] + " w7w"
    for fmt in ("auto", "text"):
        assert "w7w" in kept(reader(spoilt, fmt))


@settings(max_examples=200, deadline=None)
@given(st.lists(EXAMPLES | LINES.map("\n".join), max_size=6).map("\n".join), st.booleans())
def test_records_are_in_order_and_lines_are_accounted_for(text: Any, has_rules: bool) -> None:
    lines = reader(text.encode(errors="replace"), redactor=redactor({}, built_in=True) if has_rules else None)
    numbers = [number for number, _ in lines]
    assert numbers == sorted(numbers)
    assert lines.records == len(numbers)
    assert len(set(numbers)) + lines.joined + lines.blank >= lines.lines or "__CURSOR=" in text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), FRONTS, st.sampled_from("FP")), max_size=12))
def test_interleaved_streams_are_what_each_is_alone(lines: list[Any]) -> None:
    """Two streams in one file give the same records as the lines of each without the other."""

    def wrapped(line: str) -> str:
        stream, front, tag = line  # type: ignore[str-unpack]
        return f"2026-11-23T18:00:00.1Z {stream} {tag} {front}x"

    def found(chosen: list[Any]) -> list[Any]:
        return [(r.attributes["stream"], r.message) for _, r in reader("\n".join(map(wrapped, chosen)))]

    together = found(lines)
    for stream in ("stdout", "stderr"):
        assert [each for each in together if each[0] == stream] == found([line for line in lines if line[0] == stream])


NAMES = (
    "resourceLogs scopeLogs logRecords body attributes key value stringValue kvlistValue values Records records logEvents message streams "
    "stream log hits _index _source MESSAGE __REALTIME_TIMESTAMP short_message _a t $date s c msg textPayload logName eventSource"
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
    max_leaves=14,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_object_with_the_names_of_wrappers_is_read(value: Any) -> None:
    assert kept(reader(json.dumps({"word": "w7w", **value} if isinstance(value, dict) else [value, "w7w"])))
