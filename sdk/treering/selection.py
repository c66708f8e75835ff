"""Selecting records: filters, severities and times as people write them."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping

from treering.v1.log_pb2 import AttributeFilter, LogFilter, Position, Severity

SeverityLike = str | int
"""A severity as a word of any common logger ("error", "WARNING", "notice") or as OpenTelemetry's number, 0 to 24."""

TimeLike = dt.datetime | int | float
"""A time as an aware datetime, as whole nanoseconds since 1970 (int), or as seconds since 1970 (float)."""

SEVERITY_WORDS: Mapping[str, int] = {
    "trace": 1,
    "finest": 1,
    "silly": 1,
    "verbose": 1,
    "finer": 2,
    "debug": 5,
    "dbg": 5,
    "fine": 5,
    "config": 6,
    "info": 9,
    "information": 9,
    "informational": 9,
    "inf": 9,
    "success": 9,
    "ok": 9,
    "notice": 10,
    "warn": 13,
    "warning": 13,
    "wrn": 13,
    "error": 17,
    "err": 17,
    "failure": 17,
    "severe": 17,
    "crit": 18,
    "critical": 18,
    "alert": 19,
    "emerg": 21,
    "emergency": 21,
    "fatal": 21,
    "ftl": 21,
    "panic": 21,
    "dpanic": 21,
}
"""What level words of common loggers mean, lower case, as OpenTelemetry's numbers (its appendix on syslog, log4j and others)."""

_NUMBERED = re.compile(r"(trace|debug|info|warn|error|fatal)([2-4])")
_MAX_SEVERITY = 24
_MAX_TIME_NANOS = 2**63 - 2
"""The latest time that a record can have."""
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
    # Words before digits: no word is a number, and "17" must become one.
    if word in SEVERITY_WORDS:
        return SEVERITY_WORDS[word]
    if word.isascii() and word.isdigit():
        return severity_number(int(word))
    # OpenTelemetry's four steps of each severity: INFO2 is one above INFO.
    if match := _NUMBERED.fullmatch(word):
        return SEVERITY_WORDS[match[1]] + int(match[2]) - 1
    raise ValueError(f"{value!r} is no severity; use trace, debug, info, warn, error, fatal or a number from 1 to {_MAX_SEVERITY}")


def severity_name(number: int) -> str:
    """The word of a severity number: 17 is ERROR, 18 is ERROR2; 0 is UNSPECIFIED; others as their number."""
    if number == 0:
        return "UNSPECIFIED"
    if not 0 < number <= _MAX_SEVERITY:
        return str(number)
    # The four numbers of a severity share its word; the first has no digit.
    step = (number - 1) % 4
    return _NAMES[(number - 1) // 4] + (str(step + 1) if step else "")


def time_nanos(value: TimeLike, name: str = "time") -> int:
    """Nanoseconds since 1970 of a time; exact for datetimes and integers. Errors call it `name`.

    Raises:
        ValueError: The time is before 1970, after 2262-04-11, or a datetime without a zone.
    """
    if isinstance(value, dt.datetime):
        # A zone is not guessed: the machine of the caller may be in another one than the logs.
        if value.tzinfo is None:
            raise ValueError(f"{name} {value!r} has no time zone; give it one, for example datetime.UTC")
        since = value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        # In integers: seconds as a float have no room for nanoseconds.
        nanos = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    else:
        nanos = value if isinstance(value, int) else int(value * 1e9)
    if not 0 <= nanos <= _MAX_TIME_NANOS:
        raise ValueError(f"{name} {value!r} is outside 1970-01-01 to 2262-04-11; give a time that a record can have")
    return nanos


def log_filter(
    *,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    min_severity: SeverityLike = 0,
    max_severity: SeverityLike = 0,
    services: Iterable[str] = (),
    environments: Iterable[str] = (),
    where: Mapping[str, str | Iterable[str]] | None = None,
    contains: str = "",
    trace_id: str | bytes = b"",
    positions: Iterable[Position] = (),
    pattern_ids: Iterable[int] = (),
    about: str = "",
) -> LogFilter:
    """Selects records. Every argument narrows; none selects everything.

    Args:
        since: Only records whose time is at or after this.
        until: Only records whose time is before this.
        min_severity: Only records at least this serious, for example "error".
        max_severity: Only records at most this serious.
        services: Only these services, compared exactly.
        environments: Only these environments, compared exactly.
        where: Attributes and the value, or one of the values, that each must have.
        contains: Only records whose message contains this, upper and lower case alike.
        trace_id: Only records of this trace: 16 bytes, or 32 hex digits.
        positions: Only these records.
        pattern_ids: Only records of these patterns.
        about: Only records whose pattern is about this, in any words: as `about(pattern_id, ...)` in SQL.

    Raises:
        ValueError: A severity, time or trace id is none.
    """
    # A string is a value itself, not a list of its characters.
    attributes = [
        AttributeFilter(key=key, values=[values] if isinstance(values, str) else list(values)) for key, values in (where or {}).items()
    ]
    return LogFilter(
        start_time_unix_nano=0 if since is None else time_nanos(since, "since"),
        end_time_unix_nano=0 if until is None else time_nanos(until, "until"),
        min_severity=Severity.ValueType(severity_number(min_severity)),
        max_severity=Severity.ValueType(severity_number(max_severity)),
        services=list(services),
        environments=list(environments),
        attributes=attributes,
        message_contains=contains,
        trace_id=_trace_id(trace_id),
        positions=list(positions),
        pattern_ids=list(pattern_ids),
        about=about,
    )


def _trace_id(value: str | bytes) -> bytes:
    try:
        # Dashes are left out: a trace id is often written like a UUID.
        raw = bytes.fromhex(value.replace("-", "")) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"trace id {value!r} is not hexadecimal; give 32 hex digits") from None
    # Empty is no filter; anything else must be a whole id, as a part of one would match nothing.
    if len(raw) not in {0, 16}:
        raise ValueError(f"trace id {value!r} has {len(raw)} bytes; give 16 (32 hex digits)")
    return raw
