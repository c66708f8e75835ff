"""Plain text: where a record begins, and the time, level and origin at its front."""

import re
from typing import Any

from treering.severity import SEVERITY_WORDS
from treering_formats.fields import Defaults
from treering_formats.times import MONTHS, date_time, instant, without_year

_LEVEL = "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRIT|CRITICAL|ALERT|EMERG|FATAL|PANIC|SEVERE"
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_CLOCK = r"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?"

# 2026-11-27T20:12:01.123Z, 2026/11/27 20:12, [2026-11-27 20:12:01,123 +01:00]. What follows must not go on with a letter or digit, so that
# an identifier which begins like a date is none.
_ISO = re.compile(
    r"\[?(\d{4})[-/](\d\d)[-/](\d\d)[T ]" + r"(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?(?=[\s\]|:,;-]|$)\]?",
    re.ASCII,
)
# <34>Oct 11 22:14:15 host su[77]: message (RFC 3164); the priority is often missing in files.
_SYSLOG = re.compile(rf"(?:<(\d{{1,3}})>)?({_MONTH})\s+(\d{{1,2}})\s{_CLOCK}\s+(\S+)\s+([^\s:\[]+)(?:\[([^\]\s]*)\])?:\s?", re.ASCII)
# <165>1 2003-10-11T22:14:15.003Z host app 77 ID47 [data] message (RFC 5424). Structured data may hold escaped brackets.
_SYSLOG_5424 = re.compile(r"<(\d{1,3})>1\s(?=\S)(\S+)\s(\S+)\s(\S+)\s(\S+)\s(\S+)\s(?:-|(?:\[(?:[^\]\\]|\\.)*\])+)\s?", re.ASCII)
# 10.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326: the common log format, and what extends it.
_ACCESS = re.compile(
    rf'(\S+)\s(\S+)\s(\S+)\s\[(\d\d)/({_MONTH})/(\d{{4}}):(\d\d):(\d\d):(\d\d)\s([+-]\d{{4}})\]\s("(\S*)\s?(\S*)[^"]*"\s(\d{{3}})\s(\d+|-).*)',
    re.ASCII,
)
# [Sun Dec 04 04:47:44 2005] [core:error] message, also with [pid 35708] behind.
_APACHE_ERROR = re.compile(rf"\[\w{{3}}\s({_MONTH})\s+(\d{{1,2}})\s{_CLOCK}\s(\d{{4}})\]\s\[(?:\w*:)?(\w+)\]\s?", re.ASCII)
# 17/06/09 20:10:40 message (log4j), 081109 203615 148 message (HDFS). Six digits alone could be anything: the thread's number must follow.
_SHORT = re.compile(rf"(\d\d)[/-](\d\d)[/-](\d\d)\s{_CLOCK}(?=\s)|(\d\d)(\d\d)(\d\d)\s(\d\d)(\d\d)(\d\d)\s(?=\d+\s)", re.ASCII)
# E1127 20:12:01.123456   12345 file.go:42] message
_KLOG = re.compile(rf"([IWEF])(\d\d)(\d\d)\s{_CLOCK}\s+\d+\s(?=\S+:\d+\])", re.ASCII)
# WARNING:my.logger:message, what Python's basicConfig writes.
_PYTHON_DEFAULT = re.compile(rf"({_LEVEL}):([\w.-]+):")
# Without brackets a level counts in capitals only: "error" as a plain word begins many messages.
_LEVEL_AFTER = re.compile(
    rf"[\s|:,-]*(?:\[\s*({_LEVEL})\s*\]|\(({_LEVEL})\)|<({_LEVEL})>)[\s:|-]*|[\s|:,-]*({_LEVEL})(?=[\s:|,\]-]|$)[\s:|-]*"
)
_BRACKETED = re.compile(rf"[\s|:,-]*\[({_LEVEL})\][\s:|-]*", re.IGNORECASE)
# my.logger - INFO - message: the origin stands before the level.
_LOGGER_LEVEL = re.compile(rf"\s*(?:-\s*|\s)([\w.$/-]+)\s*(?:-\s*|\s)\[?({_LEVEL})\]?\s*(?:[-:|]\s*|\s)")
_TRIM = re.compile(r"[\s|-]*(?=\S)|:\s+")

_CONTINUATION = re.compile(r"[ \t]|Caused by:|Traceback |During handling of |The above exception |\.\.\. \d+ more")
# The last line of a Python traceback is not indented: it is the exception's name.
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning|Interrupt|Exit|Group)?(?::\s|$)")
_IN_TRACEBACK = "Traceback (most recent call last)"

_KLOG_LEVELS = {"I": 9, "W": 13, "E": 17, "F": 21}
# By a priority's lowest three bits, from emergency to debug, as OpenTelemetry maps them.
_SYSLOG_LEVELS = (21, 19, 18, 17, 13, 10, 9, 5)


def continues(line: str, before: str, last: str) -> bool:
    """Whether a line belongs to the record before it.

    Args:
        line: The line.
        before: The record so far.
        last: The record's last line: what follows the indented lines of a traceback is its exception.
    """
    if _CONTINUATION.match(line):
        return True
    return last.startswith((" ", "\t")) and _IN_TRACEBACK in before and _RAISED.match(line) is not None


def text_fields(line: str, defaults: Defaults) -> tuple[dict[str, Any], str]:
    """What the front of a text record says, as fields for `to_record`, and the message behind it (never empty unless the line is)."""
    # The strict forms first: each later one takes lines that an earlier one would understand better.
    for read in (_iso, _syslog, _syslog_5424, _klog, _short, _apache_error, _access, _python_default):
        found = read(line, defaults)
        if found is not None:
            fields, rest = found
            return fields, rest or line
    level, rest = _level(line)
    return ({"severity": level}, rest or line) if level else ({}, line)


_Found = tuple[dict[str, Any], str] | None


def _with_time(time: int | None, fields: dict[str, Any], rest: str) -> _Found:
    """None when the parts make no time: then the line is no such format."""
    return None if time is None else ({"time": time} | fields, rest)


def _level(text: str) -> tuple[int, str]:
    """The level at the front of what follows a time, and the rest; 0 and the text when there is none."""
    match = _LEVEL_AFTER.match(text) or _BRACKETED.match(text)
    if not match:
        return 0, text
    word = next(group for group in match.groups() if group)
    return SEVERITY_WORDS[word.lower()], text[match.end() :]


def _iso(line: str, _defaults: Defaults) -> _Found:
    match = _ISO.match(line)
    if not match:
        return None
    time, rest = date_time(match), line[match.end() :]
    level, after = _level(rest)
    if level:
        return _with_time(time, {"severity": level}, after)
    named = _LOGGER_LEVEL.match(rest)
    if named:
        return _with_time(time, {"severity": named[2], "origin": named[1]}, rest[named.end() :])
    return _with_time(time, {}, rest[_end(_TRIM, rest) :])


def _end(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


def _syslog(line: str, defaults: Defaults) -> _Found:
    match = _SYSLOG.match(line)
    if not match:
        return None
    priority, month, day, hour, minute, second, fraction, host, program, pid = match.groups()
    time = without_year(MONTHS[month.lower()], int(day), (hour, minute, second, fraction), defaults.now)
    fields = {"host": host, "program": program} | ({"pid": pid} if pid else {}) | _priority(priority)
    return _with_time(time, fields, line[match.end() :])


def _priority(priority: str | None) -> dict[str, Any]:
    return {"severity": _SYSLOG_LEVELS[int(priority) % 8]} if priority else {}


def _syslog_5424(line: str, _defaults: Defaults) -> _Found:
    match = _SYSLOG_5424.match(line)
    stamp = _ISO.match(match[2]) if match else None
    if not match or not stamp:
        return None
    named = {"host": match[3], "program": match[4], "pid": match[5], "msgid": match[6]}
    fields = {name: value for name, value in named.items() if value != "-"} | _priority(match[1])
    return _with_time(date_time(stamp), fields, line[match.end() :].removeprefix("\ufeff"))


def _klog(line: str, defaults: Defaults) -> _Found:
    match = _KLOG.match(line)
    if not match:
        return None
    level, month, day, hour, minute, second, fraction = match.groups()
    time = without_year(int(month), int(day), (hour, minute, second, fraction), defaults.now)
    return _with_time(time, {"severity": _KLOG_LEVELS[level]}, line[match.end() :])


def _short(line: str, _defaults: Defaults) -> _Found:
    """Log4j's `17/06/09 20:10:40` and `081109 203615`: two-digit years of this century first."""
    match = _SHORT.match(line)
    if not match:
        return None
    parts: list[str] = [part for part in match.groups() if part is not None]
    year, month, day, hour, minute, second = parts[:6]
    rest = line[match.end() :]
    time = instant((2000 + int(year), int(month), int(day)), (hour, minute, second, parts[6] if parts[6:] else None))
    level, after = _level(rest)
    if not level:
        thread = re.match(rf"\s*\d+\s+({_LEVEL})\s+", rest)
        level, after = (SEVERITY_WORDS[thread[1].lower()], rest[thread.end() :]) if thread else (0, rest.lstrip())
    return _with_time(time, {"severity": level} if level else {}, after)


def _apache_error(line: str, _defaults: Defaults) -> _Found:
    match = _APACHE_ERROR.match(line)
    if not match:
        return None
    month, day, hour, minute, second, fraction, year, word = match.groups()
    time = instant((int(year), MONTHS[month.lower()], int(day)), (hour, minute, second, fraction))
    level = SEVERITY_WORDS.get("trace" if word.startswith("trace") else word.lower())
    return _with_time(time, {"severity": level} if level else {"level": word}, line[match.end() :])


def _access(line: str, _defaults: Defaults) -> _Found:
    match = _ACCESS.match(line)
    if not match:
        return None
    client, _, user, day, month, year, hour, minute, second, zone, rest, method, path, status, size = match.groups()
    time = instant((int(year), MONTHS[month.lower()], int(day)), (hour, minute, second, None), zone)
    # A failed answer is what somebody looks for; who asked wrongly is worth a warning.
    severity = 17 if status >= "500" else 13 if status >= "400" else 9
    named = {"client": client, "user": user, "method": method, "path": path, "status": status, "size": size}
    return _with_time(time, {name: value for name, value in named.items() if value not in {"", "-"}} | {"severity": severity}, rest)


def _python_default(line: str, _defaults: Defaults) -> _Found:
    match = _PYTHON_DEFAULT.match(line)
    return ({"severity": match[1], "origin": match[2]}, line[match.end() :]) if match else None
