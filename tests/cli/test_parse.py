import datetime as dt
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from treering_cli.text_streams import NotTextError, check_text
from treering_formats.records import RecordReader
from treering_formats.times import any_time

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)


def reader(text: str | bytes, fmt: str = "auto", service: str = "stem", environment: str = "here") -> RecordReader:
    raw = text if isinstance(text, bytes) else text.encode()
    return RecordReader(io.BytesIO(raw), service=service, environment=environment, fmt=fmt, now=NOW)


def parse(text: str | bytes, fmt: str = "auto") -> list[Any]:
    return [record for _, record in reader(text, fmt)]


def one(text: str, fmt: str = "auto") -> Any:
    (record,) = parse(text, fmt)
    return record


def seconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def obj(**fields: str | float | list[int] | dict[Any, Any]) -> Any:
    return one(json.dumps({"message": "m"} | fields))


# JSON lines


@pytest.mark.parametrize("name", ["message", "msg", "body", "event", "_msg"])
def test_message_spellings(name: str) -> None:
    assert one(json.dumps({name: "hello"})).message == "hello"


@pytest.mark.parametrize("name", ["time", "timestamp", "ts", "@timestamp", "_time"])
@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T19:00:00.5Z",
        "2026-11-23 20:00:00,500 +01:00",
        1795460400.5,
        1795460400500,
        1795460400500000,
        1795460400500000000,
        "1795460400500",
    ],
)
def test_times_in_every_unit(name: str, value: str | float) -> None:
    record = obj(**{name: value})
    assert record.time_unix_nano == 1_795_460_400_500_000_000
    assert not record.attributes


def test_nanoseconds_survive_as_text_and_as_number() -> None:
    assert any_time("2026-11-23T19:00:00.123456789Z") == 1_795_460_400_123_456_789
    assert one('{"message": "m", "ts": 1795460400.123456789}').time_unix_nano == 1_795_460_400_123_456_789


@pytest.mark.parametrize(
    "value", ["yesterday", "9999-01-01T00:00:00Z", "1969-12-31T00:00:00Z", True, -5, [1], "2026-13-01T00:00:00Z", 10**30]
)
def test_what_is_no_time_is_kept_as_an_attribute(value: str | list[int] | int) -> None:
    record = obj(time=value)
    assert record.time_unix_nano == 0
    assert record.attributes["time"] == (value if isinstance(value, str) else json.dumps(value))


def test_monstrous_numbers_are_no_times() -> None:
    assert any_time(Decimal("1e999999999")) is None
    assert obj(time=1).attributes == {"time": "1"}
    assert one('{"message":"m","time":1e999999}').attributes["time"] == "1e999999"


@pytest.mark.parametrize("name", ["severity", "level", "levelname", "log.level"])
@pytest.mark.parametrize(("value", "number"), [("Warning", 13), ("error", 17), ("CRITICAL", 18), (17, 17), ("9", 9), (40, 17), (30, 13)])
def test_severities(name: str, value: str | int, number: int) -> None:
    assert obj(**{name: value}).severity == number


def test_numbers_of_other_scales() -> None:
    assert obj(level=20).severity == 9
    assert obj(severity=20).severity == 20
    assert obj(level=30, pid=1, hostname="h").severity == 9
    assert obj(severity=99).severity == 99  # the sinks keep it as treering.severity


def test_status_is_a_severity_only_as_a_level_word_and_only_alone() -> None:
    assert obj(status="WARN").severity == 13
    assert obj(status="200").attributes == {"status": "200"}
    both = obj(status="error", level="info")
    assert (both.severity, both.attributes["status"]) == (9, "error")


@pytest.mark.parametrize("fields", [{"service": "a"}, {"service.name": "a"}, {"logger": "a"}, {"service": {"name": "a"}}])
def test_services(fields: dict[str, str] | dict[str, dict[str, str]]) -> None:
    assert obj(**fields).service == "a"
    assert obj().service == "stem"


@pytest.mark.parametrize(
    "fields", [{"environment": "a"}, {"env": "a"}, {"deployment.environment": "a"}, {"deployment": {"environment": "a"}}]
)
def test_environments(fields: dict[str, str] | dict[str, dict[str, str]]) -> None:
    assert obj(**fields).environment == "a"
    assert obj().environment == "here"


@pytest.mark.parametrize(("trace", "span"), [("trace_id", "span_id"), ("traceId", "spanId"), ("trace.id", "span.id")])
def test_trace_ids(trace: str, span: str) -> None:
    record = obj(**{trace: "ab" * 16, span: "cd" * 8})
    assert (record.trace_id, record.span_id) == (b"\xab" * 16, b"\xcd" * 8)
    assert obj(**{trace: "short"}).attributes == {trace: "short"}


def test_everything_else_becomes_attributes() -> None:
    record = obj(user={"id": 7, "tags": ["a", 1.5], "none": None, "empty": {}}, ok=True, amount=1.10)
    user = {"user.id": "7", "user.tags": '["a", 1.5]', "user.none": "null", "user.empty": "{}"}
    assert dict(record.attributes) == user | {"ok": "true", "amount": "1.1"}


def test_attributes_of_an_object_of_that_name_have_their_own_names() -> None:
    record = obj(service="a", host="top", attributes={"ms": "7", "host": "below", "service": "b", "level": "x", "http": {"status": 5}})
    assert record.service == "a"
    expected = {"host": "top", "attributes.host": "below", "ms": "7", "service": "b", "level": "x", "http.status": "5"}
    assert dict(record.attributes) == expected
    assert dict(obj(attributes={}).attributes) == {}
    assert dict(obj(attributes="text", **{"attributes.": 1}).attributes) == {"attributes": "text", "attributes.": "1"}


def test_object_without_a_message_keeps_the_whole_line() -> None:
    line = '{"service": "a", "n": 1}'
    record = one(line)
    assert (record.message, record.service, record.attributes["n"]) == (line, "a", "1")


def test_other_spellings_beside_the_message_stay() -> None:
    record = one('{"message": "m", "event": "login"}')
    assert (record.message, record.attributes["event"]) == ("m", "login")


def test_lines_that_are_no_object_are_kept_and_counted() -> None:
    lines = reader('{"message": "a"}\n{broken\n[1]\n\n{"message": "b"}\n')
    assert [(number, record.message) for number, record in lines] == [(1, "a"), (2, "{broken"), (3, "[1]"), (5, "b")]
    assert (lines.unparsed, lines.blank, lines.lines) == (2, 1, 5)


def test_deep_nesting_and_half_surrogates_do_not_fail() -> None:
    assert len(parse('{"a":' * 100_000)) == 1
    assert one(r'{"message": "x \ud800 y"}').message == "x \ufffd y"
    assert one(r'{"message": "\ud83d\ude00"}').message == "\N{GRINNING FACE}"


# Text


@pytest.mark.parametrize(
    ("line", "time", "severity", "message"),
    [
        ("2026-11-23T18:00:00Z ERROR it broke", "2026-11-23T18:00:00Z", 17, "it broke"),
        ("2026-11-23 18:00:00,123 - app.db - WARNING - slow", "2026-11-23T18:00:00Z", 13, "slow"),
        ("[2026-11-23 18:00:00 +0100] [INFO] started", "2026-11-23T17:00:00Z", 9, "started"),
        ("2026-11-23 18:00:00 status installed libc6:amd64 2.36", "2026-11-23T18:00:00Z", 0, "status installed libc6:amd64 2.36"),
        ("2026/11/23 18:00:00 [error] 12#0: upstream timed out", "2026-11-23T18:00:00Z", 17, "12#0: upstream timed out"),
        ("Nov 23 18:00:00 host sshd[77]: Failed password", "2026-11-23T18:00:00Z", 0, "Failed password"),
        ("Dec  1 18:00:00 host cron: job", "2025-12-01T18:00:00Z", 0, "job"),
        ("<34>Nov 23 18:00:00 host su: denied", "2026-11-23T18:00:00Z", 18, "denied"),
        ("<165>1 2026-11-23T18:00:00.003Z host app 12 ID47 - words", "2026-11-23T18:00:00Z", 10, "words"),
        ("[Sun Dec 04 04:47:44 2005] [error] mod_jk child", "2005-12-04T04:47:44Z", 17, "mod_jk child"),
        ("[Sun Dec 04 04:47:44.123456 2005] [core:notice] [pid 1] up", "2005-12-04T04:47:44Z", 10, "[pid 1] up"),
        ('1.2.3.4 - - [10/Oct/2025:13:55:36 -0700] "GET /a HTTP/1.0" 500 2326', "2025-10-10T20:55:36Z", 17, '"GET /a HTTP/1.0" 500 2326'),
        ("17/06/09 20:10:40 INFO spark.SecurityManager: Changing", "2017-06-09T20:10:40Z", 9, "spark.SecurityManager: Changing"),
        ("081109 203615 148 INFO dfs.DataNode: terminating", "2008-11-09T20:36:15Z", 9, "dfs.DataNode: terminating"),
        ("2015-07-29 17:41:44,747 - INFO  [main:Foo@12] - time out", "2015-07-29T17:41:44Z", 9, "[main:Foo@12] - time out"),
        ("E1123 18:00:00.123456    1234 file.go:12] lost", "2026-11-23T18:00:00Z", 17, "file.go:12] lost"),
    ],
)
def test_formats(line: str, time: str, severity: int, message: str) -> None:
    record = one(line)
    assert record.time_unix_nano // 1_000_000_000 * 1_000_000_000 == seconds(time)
    assert (record.severity, record.message) == (severity, message)


def test_text_without_a_time() -> None:
    assert (one("WARNING:app.db:slow").severity, one("WARNING:app.db:slow").message) == (13, "slow")
    assert (one("ERROR something").severity, one("ERROR something").message) == (17, "something")
    plain = one("error opening the file")
    assert (plain.severity, plain.message, plain.time_unix_nano) == (0, "error opening the file", 0)


def test_origins_become_attributes() -> None:
    record = one("Nov 23 18:00:00 web1 sshd[77]: Failed")
    assert dict(record.attributes) == {"host": "web1", "program": "sshd", "pid": "77"}
    access = one('1.2.3.4 - bob [10/Oct/2025:13:55:36 -0700] "GET /a HTTP/1.0" 404 -')
    assert dict(access.attributes) == {
        "client": "1.2.3.4",
        "user": "bob",
        "method": "GET",
        "path": "/a",
        "protocol": "HTTP/1.0",
        "status": "404",
    }


def test_continuation_lines_join_the_record_before() -> None:
    text = (
        "2026-11-23T18:00:00Z ERROR it broke\n"
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n'
        "    x()\n"
        "ValueError: no\n"
        "2026-11-23T18:00:01Z INFO next\n"
        "java.lang.Error: x\n"
        "\tat a.b.C(D.java:1)\n"
        "Caused by: java.io.IOException\n"
        "\t... 3 more\n"
    )
    broke, java = parse(text)
    assert broke.message.splitlines()[0] == "it broke"
    assert broke.message.endswith("ValueError: no")
    # a logger prints the exception below its line, at the left margin
    assert java.message.startswith("next\njava.lang.Error: x\n")
    assert java.message.count("\n") == 4


def test_an_exported_line_comes_back_without_its_place_in_the_store() -> None:
    place = {"log_id": "7", "offset": 3, "arrival_time": "2026-11-20T10:00:01Z", "pattern_id": "9", "severity_text": "ERROR"}
    said = {"time": "2026-11-20T10:00:00.000000001Z", "severity": 17, "service": "s", "environment": "", "message": "m", "trace_id": ""}
    record = one(json.dumps(place | said | {"attributes": {"k": "v"}, "span_id": None}))
    assert (record.message, record.severity, record.service, dict(record.attributes)) == ("m", 17, "s", {"k": "v"})
    assert dict(one(json.dumps({"message": "m", "offset": 3})).attributes) == {"offset": "3"}


def test_line_numbers_are_those_where_records_begin() -> None:
    assert [number for number, _ in reader("first\n  more\n\nsecond\n")] == [1, 4]


@pytest.mark.parametrize("fmt", ["auto", "text"])
def test_old_form(fmt: str) -> None:
    record = one("message = disk | full | environment = dev | status = WARN", fmt)
    assert (record.message, record.environment, record.severity) == ("disk | full", "dev", 13)
    other = one("message = paid | environment = prod | status = DONE | user = 7", fmt)
    assert dict(other.attributes) == {"status": "DONE", "user": "7"}


def test_json_lines_inside_text_are_recognised() -> None:
    first, second = parse('starting\n{"message": "up", "level": "info"}\n')
    assert (first.message, second.message, second.severity) == ("starting", "up", 9)


def test_format_text_takes_json_as_text() -> None:
    assert one('{"message": "up"}', "text").message == '{"message": "up"}'


# Bytes


def test_bytes_that_are_no_utf8_are_read_as_windows_1252_and_counted() -> None:
    lines = reader(b"K\xfchlung \x80 gr\xc3\xbcn\nfine\n\xc3\n\x81\n")
    assert [record.message for _, record in lines] == ["Kühlung € grün", "fine", "Ã", "\x81"]
    assert lines.replaced == 3


def test_nul_bytes_are_left_out_and_counted() -> None:
    lines = reader(b"\0" * 4096 + b"first\nsec\0ond\n\0\0\n")
    assert list(lines) == [(1, one("first")), (2, one("second"))]
    assert (lines.nul_bytes, lines.lines, lines.blank) == (4099, 3, 1)


class Arriving:
    """A stream that has its parts one after the other; None between them."""

    def __init__(self, *parts: bytes | None) -> None:
        self._parts = list(parts)

    def readline(self, size: int) -> bytes | None:
        return self._parts.pop(0) if self._parts else b""


def test_a_stream_that_has_nothing_yet_says_so_and_gives_what_it_holds_when_asked() -> None:
    stream = Arriving(b"one\n", None, b"\tat x\n", None, b'{"msg": "two"}\n', b"three\n", None)
    lines = RecordReader(stream, service="", environment="", fmt="text", now=NOW)
    records = iter(lines)
    assert next(records)[0] == 0
    assert lines.held_from == 1
    assert next(records)[0] == 0
    assert [(number, record.message) for number, record in lines.flush()] == [(1, "one\n\tat x")]
    assert (lines.held_from, lines.flush()) == (0, [])
    assert next(records)[1].message == '{"msg": "two"}'
    assert lines.held_from == 4  # the line that ended the record before it
    assert next(records)[0] == 0
    assert [(number, record.message) for number, record in records] == [(4, "three")]


def test_a_line_that_is_read_and_not_given_counts_as_held() -> None:
    lines = reader("text\nmessage = up | environment = dev | status = INFO\nlast\n", "text")
    records = iter(lines)
    assert next(records)[1].message == "text"
    assert lines.held_from == 2
    assert next(records)[1].message == "up"
    assert lines.held_from == 3


def test_byte_order_mark_and_crlf_vanish() -> None:
    assert [record.message for record in parse(b"\xef\xbb\xbfa\r\nb\r\n")] == ["a", "b"]


def test_last_line_without_an_end_counts() -> None:
    assert [record.message for record in parse("a\nb")] == ["a", "b"]
    assert parse("") == []
    assert parse("\n\n") == []


def test_ten_megabyte_line_is_one_record() -> None:
    assert len(one("x" * 10_000_000 + "\n").message) == 10_000_000


@pytest.mark.parametrize(
    "start", [b"\x7fELF\x00\x01", b"PK\x03\x04", b"a\x00b\x00" * 9, b"PAR1", bytes(range(1, 9)) * 10, b"\x00\xff\xee\xdd" * 4 + b"a" * 30]
)
def test_what_is_no_text_is_refused(start: bytes) -> None:
    with pytest.raises(NotTextError, match="file"):
        check_text("file", start)


def test_colours_and_other_languages_are_text() -> None:
    check_text("file", "\x1b[31mgrün\x1b[0m 赤\n".encode())
