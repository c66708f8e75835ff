"""Levels as words of any logger, and as numbers whose scale the keys beside them tell."""

import datetime as dt
import json
from typing import Any

import pytest

from treering.severity import SEVERITY_WORDS
from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, to_record
from treering_formats.json_line import json_fields

DEFAULTS = Defaults("s", "e", dt.datetime(2026, 11, 28, tzinfo=dt.UTC))


def obj(**fields: str | int) -> LogRecord:
    line = json.dumps({"message": "m"} | fields)
    return to_record(json_fields(line), line, DEFAULTS)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        *[
            ("Warning", 13),
            ("WARN", 13),
            ("Error", 17),
            ("eror", 17),
            ("dbug", 5),
            ("FAIL", 17),
            ("fatal ", 21),
            (" err", 17),
            ("[ERROR]", 17),
        ],
        *[("E", 17), ("w", 13), ("I", 9), ("D", 5), ("F", 21), ("Information", 9), ("INFO+2", 11), ("DEBUG-4", 1), ("ERROR+40", 24)],
        *[("ERROR2", 18), ("\x1b[31merror\x1b[39m", 17), ("info\x1b[0m", 9), ("UNSPECIFIED", 0)],
    ],
)
def test_words(word: str, number: int) -> None:
    assert obj(level=word).severity == number


@pytest.mark.parametrize("word", ["NOTICE", "critical", "Alert", "panic", "INFO+2", "success", "SEVERE"])
def test_a_word_that_says_more_than_the_number_stays(word: str) -> None:
    record = obj(level=word)
    assert record.severity
    assert dict(record.attributes) == {"level": word}


@pytest.mark.parametrize("word", ["error", "WARN", "Warning", "info", "Information", "dbug", "E", "UNSPECIFIED"])
def test_a_plain_word_is_said_by_the_number(word: str) -> None:
    assert dict(obj(level=word).attributes) == {}


@pytest.mark.parametrize(
    "name",
    ["lvl", "Level", "LEVEL", "log_level", "loglevel", "logLevel", "LogLevel", "severity_text", "SeverityText", "@l", "level_name"],
)
def test_names_of_a_level(name: str) -> None:
    assert obj(**{name: "error"}).severity == 17


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"level": 30, "time": 1_795_460_400_123, "pid": 1, "hostname": "h", "msg": "x"}, 9),
        ({"level": 30, "time": 1_795_460_400_123, "msg": "x"}, 9),
        ({"level": 60, "hostname": "h", "v": 0}, 21),
        ({"level": 35, "msg": "x"}, 9),
        ({"level": 30}, 13),
        ({"level": 30, "msg": "x", "lineno": 7}, 13),
        ({"levelno": 40, "msg": "x"}, 17),
        ({"levelno": 25}, 9),
        ({"level": 3, "short_message": "x", "host": "h", "version": "1.1"}, 17),
        ({"PRIORITY": "3"}, 17),
        ({"severity": 3, "facility": "daemon"}, 17),
        ({"log": {"syslog": {"severity": {"code": 4}}}}, 13),
        ({"severity_number": 3}, 3),
        ({"severity": 17}, 17),
        ({"level": 300, "channel": "app"}, 13),
        ({"level": "6", "short_message": "x"}, 9),
        ({"s": "W", "c": "NETWORK", "t": {"$date": "2026-11-20T10:00:00Z"}}, 13),
    ],
)
def test_scales(fields: Any, number: int) -> None:
    assert obj(**fields).severity == number


@pytest.mark.parametrize(
    "fields", [{"level": 3}, {"level": "0"}, {"level": -4}, {"level": True}, {"level": [17]}, {"priority": 9}, {"level": "high"}]
)
def test_what_nothing_tells_is_no_level_and_stays(fields: dict[str, int] | dict[str, str] | dict[str, bool] | dict[str, list[int]]) -> None:
    record = obj(**fields)
    assert record.severity == 0
    ((name, value),) = fields.items()
    assert record.attributes[name] == (value if isinstance(value, str) else json.dumps(value))


def test_a_status_of_an_answer_is_no_level() -> None:
    for status in (200, 500, "404", "failed", "ok", "success"):
        assert obj(status=status).severity == 0
        assert "status" in obj(status=status).attributes


def test_the_own_level_wins_over_what_the_text_seems_to_say() -> None:
    record = obj(level="info", message="ERROR: only a word", status="error")
    assert (record.severity, record.message, record.attributes["status"]) == (9, "ERROR: only a word", "error")


def test_every_word_of_the_sdk_is_read() -> None:
    for word, number in SEVERITY_WORDS.items():
        assert obj(level=word.upper()).severity == number
