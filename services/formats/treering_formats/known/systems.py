"""What operating systems write: the kernel's ring buffer, events of Windows."""

import html
import re
import string

from treering_formats.known.reading import SYSLOG_SEVERITIES, Context, Reading, TextFormat, named
from treering_formats.times import any_time

_WORDS = {"emerg": 21, "alert": 19, "crit": 18, "err": 17, "warn": 13, "notice": 10, "info": 9, "debug": 5}
_DMESG = re.compile(r"(?:<(\d{1,3})>|(\w+)\s*:(\w+)\s*:\s)?\[\s*(\d+\.\d{6})\](?:\s?\[\s*([TC]\d+)\])?\s(.*)")
_WINDOWS_TEXTS = {
    "event.id": re.compile(r"<EventID[^>]*>\s*(\d+)"),
    "event.record_id": re.compile(r"<EventRecordID>\s*(\d+)"),
    "provider": re.compile(r"<Provider\b[^>]*?\bName=['\"]([^'\"]*)"),
    "channel": re.compile(r"<Channel>([^<]*)"),
    "host": re.compile(r"<Computer>([^<]*)"),
    "task": re.compile(r"<Task>([^<]*)"),
    "keywords": re.compile(r"<Keywords>([^<]*)"),
    "user.sid": re.compile(r"<Security\b[^>]*?\bUserID=['\"]([^'\"]*)"),
    "pid": re.compile(r"<Execution\b[^>]*?\bProcessID=['\"](\d+)"),
    "event.message": re.compile(r"<Message>([^<]*)"),
}
_WINDOWS_DATA = re.compile(r"<Data Name=['\"]([^'\"]+)['\"]>([^<]*)<")
_WINDOWS_TIME = re.compile(r"<TimeCreated\b[^>]*?\bSystemTime=['\"]([^'\"]+)")
_WINDOWS_LEVEL = re.compile(r"<Level>\s*(\d)")
_WINDOWS_LEVELS = {"1": 18, "2": 17, "3": 13, "4": 9, "5": 5}


def _dmesg(line: str, _context: Context) -> Reading | None:
    match = _DMESG.match(line)
    if not match:
        return None
    priority, facility, level, uptime, task, message = match.groups()
    severity = SYSLOG_SEVERITIES[int(priority) % 8] if priority else _WORDS.get(level or "", 0)
    found = named(("syslog.facility", "kernel.uptime_s", "kernel.task"), (facility, uptime, task))
    if level and not severity:
        found["level"] = level
    return Reading(message or line, 0, severity, found)


def _windows(text: str, _context: Context) -> Reading | None:
    """An event as XML. The message is the XML as it is; what is asked for most often is in the attributes, too."""
    found = {name: html.unescape(match[1]) for name, pattern in _WINDOWS_TEXTS.items() if (match := pattern.search(text)) and match[1]}
    found |= {name: html.unescape(value) for name, value in _WINDOWS_DATA.findall(text) if value}
    stamp, level = _WINDOWS_TIME.search(text), _WINDOWS_LEVEL.search(text)
    time = any_time(stamp[1]) if stamp else None
    if stamp and time is None:
        found["treering.time"] = stamp[1]
    return Reading(text, time or 0, _WINDOWS_LEVELS.get(level[1], 0) if level else 0, found)


FORMATS = (
    TextFormat(
        "dmesg",
        "the kernel's messages, with seconds since its start; also with priorities, or decoded by dmesg -x",
        "<6>[   12.345678] usb 1-1: new high-speed USB device",
        "<[" + string.ascii_lowercase,
        r"(?:<\d{1,3}>|[a-z]++\s*+:[a-z]++\s*+:\s)?\[\s*+\d++\.\d{6}\](?:\s?\[\s*[TC]\d+\])?\s",
        _dmesg,
    ),
    TextFormat(
        "windows event",
        "events of Windows as XML",
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID>4625</EventID><Level>2</Level></System></Event>",
        "<",
        r"<Event[\s>]",
        _windows,
        whole=True,
    ),
)
