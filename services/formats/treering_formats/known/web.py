"""Access and error logs of web servers and proxies: Apache, nginx, HAProxy, and what writes like them."""

import datetime as dt
import re

from treering_formats.calendar_names import MONTHS
from treering_formats.instants import instant
from treering_formats.known.reading import DIGITS, LETTERS, Context, Reading, TextFormat, named
from treering_formats.times import any_time

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_MOMENT = r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
_ACCESS = re.compile(
    # the virtual host of Apache's vhost_combined, then a client, or several where a proxy names those before it
    rf"(?:(\S+:\d+)\s(?=\S+\s\S+\s))?([^\s,]+(?:,\s?[^\s,]+)*)\s(\S+)\s(.{{1,200}}?)\s\[{_MOMENT}\s([+-]\d\d:?\d\d)\]\s"
    rf"({_QUOTED}\s(\d{{3}})\s(\d+|-)(?:\s{_QUOTED}\s{_QUOTED})?.*)"
)
_REQUEST = re.compile(r"(\S+)\s(\S.*?)(?:\s(HTTP/[\d.]+))?")
_NGINX_ERROR = re.compile(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(\w+)\] ((\d+)#(\d+): (?:\*(\d+) )?.*)")
_NGINX_NAMED = re.compile(r", (client|server|request|upstream|host|referrer): (?:\"((?:[^\"\\]|\\.)*)\"|([^,]+))")
_APACHE_ERROR = re.compile(
    r"\[\w{3}\s(\w{3})\s+(\d{1,2})\s(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\s(\d{4})\]\s\[(?:(\w*):)?(\w+)\]\s?"
    r"((?:\[pid (\d+)(?::tid (\d+))?\]\s)?(?:\(\d+\)[^\[]{1,80}:\s)?(?:\[(?:remote|client) ([^\]\s]+)\])?.*)"
)
_HAPROXY = re.compile(
    rf"(\S+):(\d+)\s\[{_MOMENT}\]\s((\S+)\s([^\s/]+)/(\S+)\s([-+\d/]+)\s(?:(-?\d{{1,3}})\s)?\+?(\d+)\s"
    rf"(?:(\S+)\s(\S+)\s)?(\S{{2,4}})\s(\d+/\d+/\d+/\d+/\+?\d+)\s(\d+/\d+)(?:\s\{{.*?\}})*(?:\s{_QUOTED})?.*)"
)
# The words of Apache and nginx that are no level's of anybody else.
_LEVELS = {"emerg": 21, "alert": 19, "crit": 18, "error": 17, "warn": 13, "notice": 10, "info": 9, "debug": 5}


def status_severity(status: str) -> int:
    """ERROR for a failure of the server, WARN for a request that was refused, else INFO."""
    return 17 if status >= "500" else 13 if status >= "400" else 9


def moment(parts: tuple[str, ...], zone: dt.tzinfo | str) -> int | None:
    """The time of day, month, year, hour, minute, second and fraction as access logs have them."""
    day, month, year, hour, minute, second, fraction = parts
    number = MONTHS.get(month.lower())
    return instant((int(year), number, int(day)), (hour, minute, second, fraction), zone) if number else None


def request_fields(request: str) -> dict[str, str]:
    """Method, path and protocol of a request's first line; nothing for what is none."""
    match = _REQUEST.fullmatch(request)
    return named(("method", "path", "protocol"), match.groups()) if match else {}


def _access(line: str, _context: Context) -> Reading | None:
    match = _ACCESS.match(line)
    if not match:
        return None
    vhost, client, ident, user, *parts, zone, rest, request, status, size, referer, agent = match.groups()
    time = moment(tuple(parts), zone)
    if time is None:
        return None
    found = named(
        ("vhost", "client", "ident", "user", "status", "size", "referer", "user_agent"),
        (vhost, client, ident, user, status, size, referer, agent),
    )
    return Reading(rest, time, status_severity(status), found | request_fields(request))


def _nginx_error(line: str, context: Context) -> Reading | None:
    match = _NGINX_ERROR.match(line)
    if not match:
        return None
    stamp, level, message, pid, tid, connection = match.groups()
    fields = {name: quoted or bare for name, quoted, bare in _NGINX_NAMED.findall(message)}
    found = named(("pid", "tid", "connection"), (pid, tid, connection)) | fields | request_fields(fields.get("request", ""))
    time = any_time(stamp, context.times)
    return None if time is None else _levelled(Reading(message, time, 0, found), level)


def _levelled(reading: Reading, level: str) -> Reading:
    """With the severity of a level's word; a word that is none stays as an attribute."""
    word = "debug" if level.startswith("trace") else level
    reading.severity = 1 if level.startswith("trace") else _LEVELS.get(word, 0)
    if not reading.severity:
        reading.attributes["level"] = level
    return reading


def _apache_error(line: str, context: Context) -> Reading | None:
    match = _APACHE_ERROR.match(line)
    if not match:
        return None
    month, day, hour, minute, second, fraction, year, module, level, message, pid, tid, client = match.groups()
    time = moment((day, month, year, hour, minute, second, fraction), context.times.zone)
    found = named(("module", "pid", "tid", "client"), (module, pid, tid, client))
    return None if time is None else _levelled(Reading(message or line, time, 0, found), level)


def _haproxy(line: str, context: Context) -> Reading | None:
    match = _HAPROXY.match(line)
    if not match:
        return None
    client, port, *parts = match.groups()[:9]
    rest, frontend, backend, server, timers, status, size, _, _, state, connections, queues, request = match.groups()[9:]
    time = moment(tuple(parts), context.times.zone)
    if time is None:
        return None
    names = (
        "client",
        "client_port",
        "frontend",
        "backend",
        "server",
        "timers",
        "status",
        "size",
        "termination_state",
        "connections",
        "queues",
    )
    found = named(names, (client, port, frontend, backend, server, timers, status, size, state, connections, queues))
    severity = status_severity(status) if status and status != "-1" else 9
    return Reading(rest, time, severity, found | request_fields(request or ""))


FORMATS = (
    TextFormat(
        "access",
        "access log of Apache, nginx and others: common, combined, with a virtual host",
        '192.0.2.7 - ann [20/Nov/2026:10:00:00 +0000] "GET /cart HTTP/1.1" 503 12 "-" "curl/8.5"',
        DIGITS + LETTERS + ":-",
        r"(?!\d{4}[-/])\S++(?:(?<=,)\s\S++)*+\s\S++\s[^\[\n]++\[\d\d/\w{3}/\d{4}:\d\d:",
        _access,
    ),
    TextFormat(
        "nginx error",
        "error log of nginx",
        '2026/11/20 10:00:00 [error] 71#71: *9 connect() failed, client: 192.0.2.7, request: "GET / HTTP/1.1"',
        DIGITS,
        r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: ",
        _nginx_error,
    ),
    TextFormat(
        "apache error",
        "error log of Apache 2.2 and 2.4",
        "[Fri Nov 20 10:00:00.123456 2026] [proxy:error] [pid 71:tid 99] [client 192.0.2.7:5060] AH00957: no connection",
        "[",
        r"\[\w{3}\s\w{3}\s+\d{1,2}\s\d\d:\d\d:\d\d(?:\.\d+)?\s\d{4}\]\s\[(?:\w*:)?\w+\]",
        _apache_error,
    ),
    TextFormat(
        "haproxy",
        "HAProxy's HTTP and TCP logs, also behind the head of syslog",
        '192.0.2.7:5060 [20/Nov/2026:10:00:00.123] www~ app/web1 0/0/1/7/8 200 512 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"',
        DIGITS + LETTERS + ":",
        r"(?!\d{4}[-/])\S++\s\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d++\]\s\S++\s[^\s/]++/\S++\s[-+\d]+/",
        _haproxy,
    ),
)
