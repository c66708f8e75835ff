"""CEF, LEEF, and the Linux audit log."""

import re

from treering_formats.calendar_names import MONTHS
from treering_formats.instants import epoch, without_year
from treering_formats.known.quoting import unescaped
from treering_formats.known.reading import SYSLOG_SEVERITIES, Context, Reading, TextFormat, named
from treering_formats.times import any_time

# <134>Nov 20 10:00:00 fw1 , or a time in ISO 8601, or nothing
_HEAD = (
    r"(?:<(\d{1,3})>)?(?:1 )?(?:(?:(\w{3})\s+(\d{1,2})\s(\d\d):(\d\d):(\d\d)(?:\.(\d+))?|(\d{4}-\d\d-\d\dT\S+))\s(\S+)\s"
    r"(?:\S+:\s|\S+ \S+ \S+ - )?)?"
)
_PART = r"((?:[^|\\\n]|\\.)*)"
_CEF = re.compile(rf"{_HEAD}(CEF:\s?(\d+)\|{_PART}\|{_PART}\|{_PART}\|{_PART}\|{_PART}\|{_PART}(?:\|(.*))?)")
_LEEF = re.compile(rf"{_HEAD}(LEEF:\s?(\d(?:\.\d)?)\|{_PART}\|{_PART}\|{_PART}\|([^|]*)\|(.*))")
_EXTENSION_KEY = re.compile(r"(?:^|(?<=\s))([\w.\[\]-]+)=")
_DELIMITER = re.compile(r"(?:([^\s|=])|0?x([\da-fA-F]{2,4}))\|")
_LEVELS = {"low": 9, "medium": 13, "high": 17, "very-high": 18, "unknown": 0}
_TIMES = ("rt", "devTime", "end", "start")
_AUDIT = re.compile(r"(?:node=(\S+)\s)?type=(\S+)\smsg=audit\((\d+)\.(\d{3}):(\d+)\):\s?(.*)")
_PAIR = re.compile(r"([\w.-]+)=(\"[^\"]*\"|'[^']*'|\S*)")


def _severity(text: str) -> int:
    """The severity of 0 to 10, or of a word."""
    if text.isascii() and text.isdigit() and len(text) < 3:
        number = int(text)
        return 9 if number < 4 else 13 if number < 7 else 17 if number < 9 else 18
    return _LEVELS.get(text.strip().lower(), 0)


def _read(match: re.Match[str], found: dict[str, str], severity: str, context: Context) -> Reading:
    """The reading of a message whose fields are known: the time of its fields, or that of the head before it."""
    priority, month, day, hour, minute, second, fraction, stamp, host, message = match.groups()[:10]
    time = next((read for name in _TIMES if (read := any_time(found.get(name, "")))), 0)
    if not time and month and month.lower() in MONTHS:
        time = without_year(MONTHS[month.lower()], int(day), (hour, minute, second, fraction), context.times.now, context.times.zone) or 0
    elif not time and stamp:
        time = any_time(stamp) or 0
    if host:
        found.setdefault("host", host)
    level = _severity(severity) or (SYSLOG_SEVERITIES[int(priority) % 8] if priority else 0)
    return Reading(message, time, level, found)


def _cef(line: str, context: Context) -> Reading | None:
    match = _CEF.match(line)
    if not match:
        return None
    version, vendor, product, release, event, name, severity, extension = match.groups()[10:]
    names = ("cef.version", "device.vendor", "device.product", "device.version", "event.id", "event.name", "cef.severity")
    found = named(names, [unescaped(part) for part in (version, vendor, product, release, event, name, severity)])
    return _read(match, found | _extension(extension or ""), severity, context)


def _extension(text: str) -> dict[str, str]:
    """`src=192.0.2.1 msg=some words`: a value goes to the next name; an equals sign in it is escaped."""
    found = {}
    keys = list(_EXTENSION_KEY.finditer(text))
    for index, key in enumerate(keys):
        end = keys[index + 1].start() if index + 1 < len(keys) else len(text)
        found[key[1]] = unescaped(text[key.end() : end].strip())
    return found


def _leef(line: str, context: Context) -> Reading | None:
    match = _LEEF.match(line)
    if not match:
        return None
    version, vendor, product, release, event, rest = match.groups()[10:]
    delimiter = "\t"
    chosen = _DELIMITER.match(rest) if version.startswith("2") else None
    if chosen:
        delimiter, rest = chosen[1] or chr(int(chosen[2], 16)), rest[chosen.end() :]
    pairs = (piece.partition("=") for piece in rest.split(delimiter))
    fields = {name.strip(): value for name, equals, value in pairs if equals}
    names = ("leef.version", "device.vendor", "device.product", "device.version", "event.id")
    found = named(names, (version, vendor, product, release, event)) | fields
    return _read(match, found, fields.get("sev", ""), context)


def _audit(line: str, _context: Context) -> Reading | None:
    match = _AUDIT.match(line)
    if not match:
        return None
    node, kind, seconds, millis, serial, rest = match.groups()
    time = epoch(int(seconds + millis)) if len(seconds) < 12 else None
    found = named(("host", "audit.type", "audit.serial"), (node, kind, serial))
    found |= {name: value.strip("\"'") for name, value in _PAIR.findall(rest)}
    return Reading(line, time or 0, 0, found)


FORMATS = (
    TextFormat(
        "cef",
        "ArcSight's Common Event Format, also behind the head of syslog",
        "Nov 20 10:00:00 fw1 CEF:0|Acme|Wall|1.0|100|port scan|7|src=192.0.2.7 msg=five ports",
        "",
        "",
        _cef,
        needle="CEF:",
    ),
    TextFormat(
        "leef",
        "QRadar's Log Event Extended Format, also behind the head of syslog",
        "LEEF:2.0|Acme|Wall|1.0|102|^|src=192.0.2.7^sev=5",
        "",
        "",
        _leef,
        needle="LEEF:",
    ),
    TextFormat(
        "auditd",
        "the Linux audit log",
        'type=SYSCALL msg=audit(1795168800.123:4711): arch=c000003e syscall=59 success=yes comm="sh"',
        "nt",
        r"(?:node=\S++\s)?type=\S++\smsg=audit\(",
        _audit,
    ),
)
