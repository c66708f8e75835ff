"""Severities as people and loggers write them, and as OpenTelemetry numbers them."""

import re
from collections.abc import Mapping

SeverityLike = str | int
"""A severity as a word of any common logger ("error", "WARNING", "notice") or as OpenTelemetry's number, 0 to 24."""

SEVERITY_WORDS: Mapping[str, int] = {
    "trace": 1,
    "trac": 1,
    "trce": 1,
    "trc": 1,
    "finest": 1,
    "silly": 1,
    "verbose": 1,
    "vrb": 1,
    "finer": 2,
    "debug": 5,
    "debu": 5,
    "dbug": 5,
    "dbg": 5,
    "fine": 5,
    "config": 6,
    "info": 9,
    "information": 9,
    "informational": 9,
    "inf": 9,
    "success": 9,
    "ok": 9,
    "log": 9,
    "notice": 10,
    "note": 10,
    "warn": 13,
    "warning": 13,
    "wrn": 13,
    "error": 17,
    "err": 17,
    "erro": 17,
    "eror": 17,
    "fail": 17,
    "failure": 17,
    "severe": 17,
    "crit": 18,
    "critical": 18,
    "alert": 19,
    "emerg": 21,
    "emergency": 21,
    "fatal": 21,
    "fata": 21,
    "ftl": 21,
    "panic": 21,
    "pani": 21,
    "pnc": 21,
    "dpanic": 21,
}
"""What level words of common loggers mean, lower case, as OpenTelemetry's numbers (its appendix on syslog, log4j and others)."""

_NUMBERED = re.compile(r"(trace|debug|info|warn|error|fatal)([2-4])")
_MAX_SEVERITY = 24
_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


def severity_number(value: SeverityLike) -> int:
    """OpenTelemetry's number of a severity, 0 to 24.

    Raises:
        ValueError: No such severity.
    """
    if isinstance(value, int):
        if 0 <= value <= _MAX_SEVERITY:
            return value
        raise ValueError(f"severity {value} is outside 0 to {_MAX_SEVERITY}")
    word = value.strip().lower().removeprefix("severity_")
    if word in SEVERITY_WORDS:
        return SEVERITY_WORDS[word]
    if word.isascii() and word.isdigit():
        return severity_number(int(word))
    if match := _NUMBERED.fullmatch(word):
        return SEVERITY_WORDS[match[1]] + int(match[2]) - 1
    raise ValueError(f"{value!r} is no severity; use trace, debug, info, warn, error, fatal or a number from 1 to {_MAX_SEVERITY}")


def severity_name(number: int) -> str:
    """The word of a severity number: 17 is ERROR, 18 is ERROR2; 0 is UNSPECIFIED; others as their number."""
    if number == 0:
        return "UNSPECIFIED"
    if not 0 < number <= _MAX_SEVERITY:
        return str(number)
    step = (number - 1) % 4
    return _NAMES[(number - 1) // 4] + (str(step + 1) if step else "")
