"""Forms of lines whose front has parts of its own: syslog, klog, access logs. Each is strict, so that it takes no other's lines."""

import re
from collections.abc import Callable

from treering.severity import SEVERITY_WORDS
from treering_formats.calendar_names import MONTHS
from treering_formats.front import LONGEST_FRONT, Front, read_front
from treering_formats.instants import instant, without_year
from treering_formats.levels import LETTERS, SYSLOG
from treering_formats.times import TimeReading, stamp_at

_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_CLOCK = r"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})(?!\d))?"
_HIGHEST_PRIORITY = 191

# <34>Oct 11 22:14:15 host su[77]: message (RFC 3164); the priority is often missing in files. A program's name ends with a colon and a
# space, or has its number in brackets: what else stands before a colon, as in {"a":1} or CEF:0|, is the message's. Devices send CEF, LEEF
# and JSON without a program.
_SYSLOG = re.compile(
    rf"(?:<(\d{{1,3}})>)?({_MONTH})\s+(\d{{1,2}})\s{_CLOCK}\s+([^\s\"{{}}\[\]<>|=]+)\s+"
    r"(?:([^\s:\[\]\"{}<>|=,]+)(?:\[([^\]\s]*)\]:(?:\s|$|(?=[^\s:]))|:(?:\s|$))|(?=CEF:\d|LEEF:\d|@cee:|\{))",
    re.ASCII,
)
# <165>1 2003-10-11T22:14:15.003Z host app 77 ID47 [data] message (RFC 5424). Structured data may hold escaped brackets.
_SYSLOG_5424 = re.compile(
    r"<(\d{1,3})>1\s(?=\S)(\S+)\s(\S+)\s(\S+)\s(\S+)\s(\S+)\s(-|(?:\[(?:[^\]\\]++|\\.)*+\])++)(?:\s|$)\ufeff?", re.ASCII
)
_PRIORITY = re.compile(r"<(\d|[1-9]\d|1\d\d)>(?=\S)", re.ASCII)
# 081109 203615 148 INFO message (HDFS). Six digits alone could be anything: the thread's number must follow.
_HADOOP = re.compile(r"(\d\d)(\d\d)(\d\d)\s(\d\d)(\d\d)(\d\d)\s(\d+)\s([A-Z]{3,8})\s+", re.ASCII)
# E1127 20:12:01.123456   12345 file.go:42] message; glog writes the year, too
_KLOG = re.compile(rf"([IWEF])(\d{{4}})?(\d\d)(\d\d)\s{_CLOCK}\s+(\d+)\s(?=\S+:\d+\])", re.ASCII)
# WARNING:my.logger:message, what Python's basicConfig writes.
_PYTHON_DEFAULT = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL):([A-Za-z_][\w.-]+):(?!/)")


def form_at(line: str, reading: TimeReading) -> Front | None:
    """The front of a line of one of these forms; None when it is of none."""
    for read in _BY_FIRST.get(line[:1], _OTHERS):
        front = read(line, reading)
        if front is not None:
            return front
    return None


def _syslog(line: str, reading: TimeReading) -> Front | None:
    match = _SYSLOG.match(line)
    if not match:
        return None
    priority, month, day, hour, minute, second, fraction, host, program, pid = match.groups()
    time = without_year(MONTHS[month.lower()], int(day), (hour, minute, second, fraction), reading.now, reading.zone)
    said = _priority(priority)
    if time is None or said is None:
        return None
    attributes = {name: value for name, value in (("host", host), ("program", program), ("pid", pid)) if value} | said[1]
    return _level_behind(line, Front(time, said[0], attributes, match.end()), reading)


def _priority(text: str | None) -> tuple[int, dict[str, str]] | None:
    """The severity of a priority, and its facility; None when it is too high to be one."""
    if not text:
        return 0, {}
    number = int(text)
    return (SYSLOG[number % 8], {"syslog.facility": str(number // 8)}) if number <= _HIGHEST_PRIORITY else None


def _level_behind(line: str, front: Front, reading: TimeReading) -> Front:
    """A line of syslog without a priority may have its level in the message."""
    inner = None if front.severity else read_front(_first_line(line, front.end), reading)
    if not inner or not inner.severity:
        return front
    if inner.time or not inner.end:  # a second time: the message keeps it
        return front._replace(severity=inner.severity)
    return Front(front.time, inner.severity, inner.attributes | front.attributes, front.end + inner.end)


def _first_line(text: str, start: int) -> str:
    return text[start : start + LONGEST_FRONT].partition("\n")[0]


def _syslog_5424(line: str, reading: TimeReading) -> Front | None:
    match = _SYSLOG_5424.match(line)
    said = _priority(match[1]) if match else None
    if not match or said is None:
        return None
    stamp = stamp_at(match[2], 0, reading, numbers=False)
    if match[2] != "-" and (not stamp or stamp.end < len(match[2]) or not stamp.nanos):
        return None
    named = {"host": match[3], "program": match[4], "pid": match[5], "msgid": match[6], "syslog.structured_data": match[7]}
    if stamp and stamp.text:
        named["treering.time"] = stamp.text
    attributes = {name: value for name, value in named.items() if value != "-"} | said[1]
    return Front(stamp.nanos or 0 if stamp else 0, said[0], attributes, match.end())


def _priority_alone(line: str, reading: TimeReading) -> Front | None:
    """`<38>text` of appliances: time and host are missing or in a form of their own."""
    match = _PRIORITY.match(line)
    said = _priority(match[1]) if match else None
    if not match or said is None:
        return None
    inner = read_front(_first_line(line, match.end()), reading)
    if not inner or not inner.time or inner.severity or not inner.end:
        return Front(0 if not inner or inner.end else inner.time, said[0], said[1], match.end())
    return Front(inner.time, said[0], inner.attributes | said[1], match.end() + inner.end)


def _klog(line: str, reading: TimeReading) -> Front | None:
    match = _KLOG.match(line)
    if not match:
        return None
    level, year, month, day, hour, minute, second, fraction, pid = match.groups()
    clock = (hour, minute, second, fraction)
    if year:
        time = instant((int(year), int(month), int(day)), clock, reading.zone)
    else:
        time = without_year(int(month), int(day), clock, reading.now, reading.zone)
    return None if time is None else Front(time, LETTERS[level], {"pid": pid}, match.end())


def _hadoop(line: str, reading: TimeReading) -> Front | None:
    match = _HADOOP.match(line)
    if not match:
        return None
    year, month, day, hour, minute, second, thread, word = match.groups()
    time = instant((2000 + int(year), int(month), int(day)), (hour, minute, second, None), reading.zone)
    level = SEVERITY_WORDS.get(word.lower())
    return None if time is None or level is None else Front(time, level, {"thread": thread}, match.end())


def _python_default(line: str, _reading: TimeReading) -> Front | None:
    match = _PYTHON_DEFAULT.match(line)
    return Front(0, SEVERITY_WORDS[match[1].lower()], {"origin": match[2]}, match.end()) if match else None


_Form = Callable[[str, TimeReading], Front | None]
_OTHERS: tuple[_Form, ...] = ()
_BY_FIRST: dict[str, tuple[_Form, ...]] = {
    "<": (_syslog, _syslog_5424, _priority_alone),
    **dict.fromkeys("0123456789", (_hadoop,)),
    **dict.fromkeys("JFMASOND", (_syslog, _python_default, _klog)),
    **dict.fromkeys("IWEC", (_klog, _python_default)),
    "[": (),
}
"""The forms of a line by its first character."""
