"""What the front of a line of text says, and that nothing else is taken from the line."""

import datetime as dt

import pytest

from treering.v1.log_pb2 import LogRecord, Severity
from treering_formats.fields import Defaults
from treering_formats.text_line import read_text, text_record

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)
DEFAULTS = Defaults("s", "e", NOW)
AT = "2026-11-23T18:00:00"


def one(line: str) -> LogRecord:
    return text_record(line, DEFAULTS)


def severity_and_message(line: str) -> tuple[Severity.ValueType, str]:
    record = one(line)
    return record.severity, record.message


@pytest.mark.parametrize(
    ("line", "severity", "message"),
    [
        (f"{AT}Z ERR-4711 pump stopped", 0, "ERR-4711 pump stopped"),
        (f"{AT}Z ERROR -5 from the driver", 17, "-5 from the driver"),
        (f"{AT}Z -12.5 degrees", 0, "-12.5 degrees"),
        (f"{AT}Z ERROR ::1 refused", 17, "::1 refused"),
        (f"{AT}Z ERROR --verbose is unknown", 17, "--verbose is unknown"),
        (f"{AT}Z ERROR: : odd", 17, ": odd"),
        (f"{AT}Z WARN-UP is over", 0, "WARN-UP is over"),
        (f"{AT}Z INFORMATIONAL-DESK opened", 0, "INFORMATIONAL-DESK opened"),
        (f"{AT}Z ERROR.log is full", 0, "ERROR.log is full"),
        (f"{AT}Z ERROR/WARN counts: 3/4", 0, "ERROR/WARN counts: 3/4"),
        ("ERROR: -7 from probe", 17, "-7 from probe"),
        ("ERROR ::1 refused", 17, "::1 refused"),
        ("ERR-4711 disk", 0, "ERR-4711 disk"),
        ("WARN-UP is over", 0, "WARN-UP is over"),
        ("LEEF:2.0|Maker|Wall|x", 0, "LEEF:2.0|Maker|Wall|x"),
        ('Nov 23 18:00:00 web1 {"level":"error","text":"x: y"}', 0, '{"level":"error","text":"x: y"}'),
        ("Nov 23 18:00:00 fw1 CEF:0|Maker|Wall|1", 0, "CEF:0|Maker|Wall|1"),
        ("Nov 23 18:00:00 fw1 link:up", 0, "fw1 link:up"),
        ('Nov 23 18:00:00 web1 app: {"a": 1}', 0, '{"a": 1}'),
        ("ERROR:https://example.com/ failed", 17, "https://example.com/ failed"),
        ("fatal: [web7]: FAILED!", 21, "fatal: [web7]: FAILED!"),
        ("error opening the file", 0, "error opening the file"),
        ("ok: [web2]", 0, "ok: [web2]"),
        ("- a list item", 0, "- a list item"),
        ("[see below] ERROR handling is hard", 0, "[see below] ERROR handling is hard"),
        ("2 eggs ERROR", 0, "2 eggs ERROR"),
        (f"{AT}Z it was found that ERROR is a word", 0, "it was found that ERROR is a word"),
        (f"{AT}Z GET /?level=ERROR 200", 0, "GET /?level=ERROR 200"),
        (f"{AT}Z ERRORS: 5 found", 0, "ERRORS: 5 found"),
        (f"{AT}Z FAIL test_x", 0, "FAIL test_x"),
        (f"{AT}Z ERROR |a|b|", 17, "|a|b|"),
        (f"{AT}Z ERROR -> x", 17, "-> x"),
        ("DEBUG=1 npm start", 0, "DEBUG=1 npm start"),
        ("web-1  | text only", 0, "web-1  | text only"),
        # What stands between has no name: the level is read, and the message keeps all of it.
        (f"{AT},123 root         WARNING  slow", 13, "root         WARNING  slow"),
        (f"{AT}.123Z pid=77 tid=abc INFO: start", 9, "pid=77 tid=abc INFO: start"),
        (f"{AT}Z [a=1 b=2] ERROR x", 17, "[a=1 b=2] ERROR x"),
        (f"{AT}Z - - ERROR x", 17, "- ERROR x"),
        (f"{AT}Z I am here", 0, "I am here"),
        (f"{AT}Z", 0, f"{AT}Z"),
        (f"{AT}Z ERROR", 17, f"{AT}Z ERROR"),
    ],
)
def test_what_is_no_level_and_no_separator_stays(line: str, severity: int, message: str) -> None:
    assert severity_and_message(line) == (severity, message)


@pytest.mark.parametrize(
    ("line", "severity", "attributes", "message"),
    [
        (f"{AT},123 [main] ERROR c.s.Pump - stopped", 17, {"thread": "main"}, "c.s.Pump - stopped"),
        (f"[{AT} GMT] - [main] WARN c.s.Pump: hot", 13, {"thread": "main"}, "c.s.Pump: hot"),
        (f"{AT}.123 UTC [77] app@shop ERROR:  no such table", 17, {"pid": "77", "origin": "app@shop"}, "no such table"),
        (f"{AT}.123 UTC [77] LOG:  ready", 9, {"pid": "77", "severity_text": "LOG"}, "ready"),
        (f"[{AT}Z ERROR shop::cart] declined", 17, {"origin": "shop::cart"}, "declined"),
        (f"{AT} [error    ] declined   order=7", 17, {}, "declined   order=7"),
        (f"ERROR {AT},029 [main] Start failed", 17, {}, "[main] Start failed"),
        (f"[main] {AT},029 ERROR failed", 17, {"thread": "main"}, "failed"),
        ("[2026-11-23 18:00:00 +0000] [77] [INFO] Booting", 9, {"pid": "77"}, "Booting"),
        ("[2026-11-23 18:00:00] production.ERROR: declined", 17, {"origin": "production"}, "declined"),
        (f"E, [{AT}.123456 #77] ERROR -- app: lost", 17, {"pid": "77"}, "app: lost"),
        (f"{AT}.123456Z 77 [ERROR] [MY-1] [Server] lost", 17, {"pid": "77"}, "[MY-1] [Server] lost"),
        (f"{AT}.123456Z 0 [Note] up", 10, {"pid": "0", "severity_text": "Note"}, "up"),
        ("[2026-11-23 18:00:00,123: ERROR/MainProcess] Task", 17, {"origin": "MainProcess"}, "Task"),
        ("[E 261123 18:00:00 web:1] gone", 17, {"origin": "web:1"}, "gone"),
        (f"[{AT},123][WARN ][o.e.c] [node] slow", 13, {}, "[o.e.c] [node] slow"),
        ("11-23 18:00:00.123  1234  1235 E Activity: lost", 17, {"pid": "1234", "tid": "1235"}, "Activity: lost"),
        ("E/Activity(77): lost", 17, {}, "Activity(77): lost"),
        (f"{AT}.123+0000 W NETWORK  [conn1] slow", 13, {}, "NETWORK  [conn1] slow"),
        (f"{AT} 25746 INFO nova.api up", 9, {"pid": "25746"}, "nova.api up"),
        (f"{AT} - shop - WARNING - slow", 13, {"origin": "shop"}, "slow"),
        (f"{AT}.123 | SUCCESS  | app:7 - done", 9, {"severity_text": "SUCCESS"}, "app:7 - done"),
        (f"{AT}.123Z - error: failed", 17, {}, "failed"),
        (f"{AT} INFO+2 hello", 11, {"severity_text": "INFO+2"}, "hello"),
        (f"{AT} DEBUG-4 hello", 1, {"severity_text": "DEBUG-4"}, "hello"),
        ("INFO[0012] a walrus", 9, {}, "[0012] a walrus"),
        ("[Mon Nov 23 18:00:00.5 2026] [core:notice] [pid 1] up", 10, {"origin": "core", "severity_text": "notice"}, "[pid 1] up"),
        (f"{AT}|INFO|main|up", 9, {}, "main|up"),
        (f"INFO  [{AT},123] org.x: up", 9, {}, "org.x: up"),
        (f"INFO:{AT}:module: up", 9, {}, "module: up"),
        ("ERROR:-1 from the driver", 17, {}, "-1 from the driver"),
        (f"{AT} UTC:192.0.2.1(5432):app@shop:[77]:ERROR:  lost", 17, {"origin": "192.0.2.1(5432):app@shop:[77]"}, "lost"),
        (f"web-1  | {AT}.123Z ERROR lost", 17, {"origin": "web-1"}, "lost"),
        (f"{AT}.123456 E | etcdserver: lost", 17, {}, "etcdserver: lost"),
        (f"ERROR [main] {AT},123 File.java:12 - lost", 17, {"thread": "main"}, "File.java:12 - lost"),
        ("<38>Anna came in", 9, {"syslog.facility": "4"}, "Anna came in"),
        ("Nov 23 18:00:00 web1 app[7]: ERROR lost", 17, {"host": "web1", "program": "app", "pid": "7"}, "lost"),
        (f"{AT} [a] [b] ERROR lost", 17, {}, "[a] [b] ERROR lost"),
        (f"[{AT}+0100][0.012s][info][gc] Pause", 9, {}, "[0.012s][info][gc] Pause"),
        ("I1123 18:00:00.123456      77 main.go:1] up", 9, {"pid": "77"}, "main.go:1] up"),
        ("081109 203615 148 INFO dfs.Node: up", 9, {"thread": "148"}, "dfs.Node: up"),
        ("20 novembre 2026 10:00:00 ERREUR un essai", 17, {"severity_text": "ERREUR"}, "un essai"),
    ],
)
def test_levels_wherever_they_stand(line: str, severity: int, attributes: dict[str, str], message: str) -> None:
    record = one(line)
    assert (record.severity, dict(record.attributes), record.message) == (severity, attributes, message)


def test_colours_are_looked_through_and_stay_in_the_message() -> None:
    line = f"\x1b[2m{AT}Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[1mshop\x1b[0m: lost"
    record = one(line)
    assert (record.severity, record.time_unix_nano > 0) == (17, True)
    assert record.message in line
    assert record.message.replace("\x1b[1m", "") == "shop\x1b[0m: lost"
    assert one("\x1b[32mfine\x1b[0m").message == "\x1b[32mfine\x1b[0m"


def test_a_time_that_is_not_understood_stays_in_the_message_and_is_named() -> None:
    for text in ("2026-13-23 18:00:00", "9999-12-31T23:59:59Z", "2026-11-23 14:00:00 AM", "03/04/2026 10:00:00"):
        record = one(f"{text} ERROR lost")
        assert (record.time_unix_nano, record.severity, record.message) == (0, 17, f"{text} ERROR lost")
        assert dict(record.attributes) == {"treering.time": text}


def test_a_reading_that_is_one_of_several_keeps_the_text() -> None:
    for text in ("2026-11-23 18:00:00 IST", "20/11/26 18:00:00", "18:00:00.5", "2026-11-23T18:00:00.1234567891Z"):
        record = one(f"{text} ERROR lost")
        assert record.time_unix_nano
        assert (record.message, dict(record.attributes)) == ("lost", {"treering.time": text})


def test_a_duration_at_the_front_of_a_line_is_no_time() -> None:
    assert one("00:01:30 elapsed").time_unix_nano == 0
    assert one("00:01:30 elapsed").message == "00:01:30 elapsed"


def test_structured_data_and_facility_of_syslog_stay() -> None:
    record = one('<165>1 2026-11-23T18:00:00.003Z web1 app 12 ID47 [a@1 k="v \\] w"] words')
    assert record.message == "words"
    assert record.attributes["syslog.structured_data"] == '[a@1 k="v \\] w"]'
    assert record.attributes["syslog.facility"] == "20"
    assert one("<192>text").message == "<192>text"


def test_the_level_of_the_second_line_counts_where_the_first_has_none() -> None:
    record = one("Nov 23, 2026 6:00:00 PM com.shop.Pump run\nSEVERE: it stopped")
    assert (record.severity, record.attributes["severity_text"]) == (17, "SEVERE")
    assert record.message == "com.shop.Pump run\nSEVERE: it stopped"


def test_the_fast_reading_agrees_with_the_full_one() -> None:
    lines = [
        f"{opening}{AT}{fraction}{zone}{closing} {thread}{level} text behind"
        for opening, closing in (("", ""), ("[", "]"))
        for fraction in ("", ".5", ",123456789")
        for zone in ("", "Z", "+05:30")
        for thread in ("", "[main] ")
        for level in ("INFO", "[WARNING]", "[ ERROR ]", "FATAL ")
    ]
    for line in lines:
        fast, full = one(line), read_text(line, DEFAULTS.reading)
        assert (fast.time_unix_nano, fast.severity, dict(fast.attributes), fast.message) == (*full[:3], line[full.end :])
