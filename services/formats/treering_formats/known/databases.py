"""Logs of databases: PostgreSQL's csvlog, the slow log of MySQL, Redis."""

import csv
import re

from treering_formats.calendar_names import MONTHS
from treering_formats.instants import epoch, instant
from treering_formats.known.reading import DIGITS, Context, Reading, TextFormat, named
from treering_formats.times import any_time

_CSVLOG_COLUMNS = (
    "log_time user database pid connection_from session_id session_line_num command_tag session_start_time virtual_transaction_id "
    "transaction_id level sql_state_code message detail hint internal_query internal_query_pos context query query_pos location "
    "application_name backend_type leader_pid query_id"
)
_CSVLOG_NAMES = tuple(_CSVLOG_COLUMNS.split())
_FEWEST_COLUMNS, _MESSAGE = 14, 13
_POSTGRES_LEVELS = {"LOG": 9, "INFO": 9, "NOTICE": 10, "WARNING": 13, "ERROR": 17, "FATAL": 21, "PANIC": 21}
_SLOW_TIME = re.compile(r"# Time: (?:(\d\d)(\d\d)(\d\d)\s+(\d{1,2}):(\d\d):(\d\d)(?:\.(\d+))?|(\S+))")
_SLOW_STAMP = re.compile(r"^SET timestamp=(\d{9,11})(?:\.\d+)?;", re.MULTILINE)
_SLOW_USER = re.compile(r"^# User@Host: (\S*?)(?:\[(\S*?)\])?\s+@\s+(\S*)\s*\[([^\]\n]*)\](?:\s+Id:\s+(\d+))?", re.MULTILINE)
_SLOW_VALUE = re.compile(r"(\w+): +(\S+)")
_REDIS = re.compile(r"(\d+):([A-Z]) (\d\d?) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? ([.\-*#]) (.*)")
_REDIS_LEVELS = {".": 5, "-": 9, "*": 10, "#": 13}
_REDIS_ROLES = {"M": "master", "S": "replica", "C": "child", "X": "sentinel"}


def _csvlog(text: str, context: Context) -> Reading | None:
    lines = text.split("\n")
    rows = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        values = next(rows)
    except (csv.Error, StopIteration):
        return None
    if len(values) < _FEWEST_COLUMNS or not values[_MESSAGE]:
        return None
    found = named(_CSVLOG_NAMES, values)
    found |= {f"column_{index}": value for index, value in enumerate(values[len(_CSVLOG_NAMES) :], len(_CSVLOG_NAMES) + 1) if value}
    time = any_time(found.get("log_time", ""), context.times)
    if time:
        del found["log_time"]
    level = found.pop("level", "")
    severity = 5 if level.startswith("DEBUG") else _POSTGRES_LEVELS.get(level, 0)
    if level and (level == "LOG" or not severity):
        found["level"] = level
    message = "\n".join([found.pop("message", values[_MESSAGE]), *lines[rows.line_num :]])
    return Reading(message, time or 0, severity, found)


def _slow_log(text: str, context: Context) -> Reading | None:
    """An entry of the slow log. The message is all of it."""
    found: dict[str, str] = {}
    user = _SLOW_USER.search(text)
    if user:
        found |= named(("user", "host", "client", "connection"), (user[2] or user[1], user[3], user[4], user[5]))
    for line in text.splitlines():
        if line.startswith("# ") and not line.startswith(("# Time: ", "# User@Host: ", "# administrator")):
            found |= dict(_SLOW_VALUE.findall(line))
    return Reading(text, _slow_time(text, context), 0, found)


def _slow_time(text: str, context: Context) -> int:
    match = _SLOW_TIME.match(text)
    if match and match[8]:
        found = any_time(match[8], context.times)
    elif match:
        found = instant((2000 + int(match[1]), int(match[2]), int(match[3])), (match[4], match[5], match[6], match[7]), context.times.zone)
    else:  # several statements of one second have one line with the time
        found = None
    stamp = _SLOW_STAMP.search(text)
    return found or (epoch(int(stamp[1])) if stamp else None) or 0


def _redis(line: str, context: Context) -> Reading | None:
    match = _REDIS.match(line)
    if not match or match[4].lower() not in MONTHS:
        return None
    pid, role, day, month, year, hour, minute, second, fraction, mark, message = match.groups()
    time = instant((int(year), MONTHS[month.lower()], int(day)), (hour, minute, second, fraction), context.times.zone)
    found = {"pid": pid, "redis.role": _REDIS_ROLES.get(role, role)}
    return Reading(message or line, time, _REDIS_LEVELS[mark], found) if time else None


FORMATS = (
    TextFormat(
        "postgresql csvlog",
        "PostgreSQL with log_destination = csvlog, rows over several lines included",
        '2026-11-20 10:00:00.123 UTC,"shop","shop",71,"[local]",65f.47,1,"SELECT",2026-11-20 09:59:00 UTC,3/7,0,ERROR,42P01,"no table",,,',
        DIGITS,
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d++)? [A-Za-z+\-\d/_]++,(?:\"[^\"\n]*+\")?,(?:\"[^\"\n]*+\")?,\d*,",
        _csvlog,
        whole=True,
    ),
    TextFormat(
        "mysql slow log",
        "slow query log of MySQL and MariaDB, a record for each statement",
        "# Time: 2026-11-20T10:00:00.123456Z",
        "#",
        r"# (?:Time|User@Host): ",
        _slow_log,
        whole=True,
    ),
    TextFormat(
        "redis",
        "log of Redis and Valkey",
        "71:M 20 Nov 2026 10:00:00.123 * Ready to accept connections",
        DIGITS,
        r"\d+:[A-Z] \d\d? \w{3} \d{4} ",
        _redis,
    ),
)
