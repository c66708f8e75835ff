"""Times as logs write them, in nanoseconds since 1970; None where there is none. Nothing raises.

`stamp_at` finds a time in a text, `any_time` reads the value of a field. docs/formats.md has the rules.
"""

import datetime as dt
import functools
import re
from decimal import Decimal
from typing import NamedTuple

from treering.times import MAX_TIME_NANOS, time_nanos
from treering_formats.calendar_names import DAY_NAMES, DAYS, MONTHS
from treering_formats.dates import Date, date_at
from treering_formats.zones import BEHIND, ZONE, is_ambiguous, offset_of, zone_named

__all__ = ["MONTHS", "Clock", "Reading", "Stamp", "any_time", "epoch", "instant", "stamp_at", "without_year"]

_NANOS = 1_000_000_000
_FIRST_YEAR = 1971
_DAY_S = 86_400
# Bounded: more digits are no time, and reading a million of them would take seconds.
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,40})?([eE]\+?\d{1,2})?", re.ASCII)
# Each limit is a time around the year 5138 in its own unit, and one in 1973 in the next finer one: no time of a log is misread.
_EPOCH_UNITS = ((10**11, _NANOS), (10**14, 10**6), (10**17, 10**3))
_EARLIEST_EPOCH_NANOS = 946_684_800 * _NANOS
"""2000-01-01. A smaller number of seconds, milliseconds or microseconds is a duration, a count or an id that only is called a time."""

_CLOCK = re.compile(
    r"(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+)|:(\d{3})(?!\d))?)?(?:\s?([AaPp])\.?[Mm](?:\.|\b)(?!\w))?"  # 10:00:00,123 PM
    r"|(?<=[\dT])(\d\d)(\d\d)(\d\d)(?:[.,](\d+))?",  # T100000
    re.ASCII,
)
_BETWEEN = re.compile(r"[Tt]|,?\s{1,3}(?:at\s|um\s|a las\s|à\s|(?P<half>[AP]M|上午|午前|오전|下午|午後|오후)\s?)?|[:_-]|(?=\d)")
_AFTERNOON = frozenset({"P", "p", "PM", "下午", "午後", "오후"})
_YEAR_BEHIND = re.compile(r"\s(\d{4})(?![\w:.-])", re.ASCII)
# What may follow a time: an identifier that begins like one goes on otherwise.
_END = re.compile(r"(?=[\s\])|,;>\"'}\[]|:(?!\d)|-(?!\d)|\.(?:\s|$)|$)")
_EPOCH_AT = re.compile(r"(\d{10}(?:\.\d{1,9})?|\d{13}(?:\.\d{1,6})?|\d{16}|\d{19})(?=[\s\]|,]|:\s|$)", re.ASCII)
_LONGEST = 80
"""Characters; no time is longer."""
_OLDEST_BARE = dt.timedelta(days=3_653)
_DAY_NAME = re.compile(r"(\w{2,12})\.?,?\s+")

Clock = tuple[str, str, str, str | None]
"""Hour, minute, second, and digits of the fraction, as text."""


class Reading(NamedTuple):
    """What is taken where a time does not say it.

    Attributes:
        now: For a year or a date.
        zone: For times without a zone.
    """

    now: dt.datetime
    zone: dt.tzinfo = dt.UTC


_NO_READING = Reading(dt.datetime(1, 1, 1, tzinfo=dt.UTC))
"""Without a present there is no year for a time that has none."""


class Stamp(NamedTuple):
    """A time that stands in a text.

    Attributes:
        end: Where it ends.
        nanos: The time; None when it looks like one and is none that a record can have, or could be several.
        text: As it is written, when the reading is one of several, leaves something out or is None; else empty.
        is_dated: Whether it has a date.
    """

    end: int
    nanos: int | None
    text: str = ""
    is_dated: bool = True


_ISO_AT = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:(Z|[+-]\d\d:\d\d)(?=\]|$|\s[^(])|(?=\]|$|\s[^A-Za-z+(-]))", re.ASCII
)
"""The form of most logs, where nothing behind it can belong to it: it is read without looking for others."""


def any_time(value: object, reading: Reading = _NO_READING) -> int | None:
    """The time that a JSON value means: a date with a clock in any form, or an epoch number of any unit."""
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return epoch(Decimal(text))
        # Bounded, as the text of a field may be long. A clock without a date may as well be a duration.
        stamp = stamp_at(text, 0, reading, numbers=False) if len(text) < _LONGEST else None
        return stamp.nanos if stamp and stamp.end == len(text) and stamp.is_dated else None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return epoch(value)
    return None


def utc_time(text: str) -> int | None:
    """The time of `2026-11-20T10:00:00.123Z`, the form of most fields; None for every other."""
    scale = _SCALES.get(len(text))
    digits = text[17:19] + text[20:-1]
    if not scale or text[-1] != "Z" or text[19] not in _BEHIND_SECONDS or not digits.isdecimal():
        return None
    start = _utc_minute(text[:17])
    behind = int(digits) * scale
    return start + behind if start and behind < _MOST_BEHIND_MINUTE else None


_SCALES = {20: _NANOS, **{21 + digits: 10 ** (9 - digits) for digits in range(1, 10)}}
"""By the length of the text, what one of its last digit is in nanoseconds."""
_BEHIND_SECONDS = frozenset(".Z")


@functools.lru_cache(maxsize=1_024)
def _utc_minute(text: str) -> int | None:
    """Nanoseconds since 1970 at `2026-11-20T10:00:`; None where it is none, or not in the range of records."""
    start = _minute(text[:-1], "Z") if text[-1] == ":" else None
    return start if start and 0 < start < MAX_TIME_NANOS - _MOST_BEHIND_MINUTE else None


_MOST_BEHIND_MINUTE = 61 * _NANOS
"""A minute with a leap second has 61."""


def iso_time(minute: str, second: str, fraction: str | None, zone: str) -> int | None:
    """The time of `2026-11-20T10:00`, its seconds, up to nine digits of their fraction, and `Z` or `+01:00`."""
    start = _minute(minute, zone)
    behind = int(f"{second}{fraction or '':0<9}")
    if start is None or behind >= _MOST_BEHIND_MINUTE:
        return None
    nanos = start + behind
    return nanos if 0 < nanos <= MAX_TIME_NANOS else None


_MINUTE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)


@functools.lru_cache(maxsize=1_024)
def _minute(minute: str, zone: str) -> int | None:
    """Nanoseconds since 1970 at the beginning of a minute: the lines of a log share it, so that it is found once for many."""
    if not _MINUTE.fullmatch(minute):
        return None
    offset = offset_of(zone)
    date = (int(minute[:4]), int(minute[5:7]), int(minute[8:10]))
    hours, minutes = int(minute[11:13]), int(minute[14:16])
    day = _day(*date)
    if day is None or offset is None or hours > 23 or minutes > 59:
        return None
    return (day + hours * 3_600 + minutes * 60 - offset) * _NANOS


def epoch(number: int | Decimal) -> int | None:
    """The time of an epoch number, its unit by its size; None before the year 2000."""
    if (isinstance(number, Decimal) and not number.is_finite()) or not 0 < number < 10**19:
        return None
    factor = next((factor for limit, factor in _EPOCH_UNITS if number < limit), 1)
    nanos = int(number * factor)
    earliest = _EARLIEST_EPOCH_NANOS if factor > 1 else 0
    return nanos if earliest <= nanos <= MAX_TIME_NANOS else None


def stamp_at(text: str, start: int, reading: Reading, *, numbers: bool = True) -> Stamp | None:
    """The time that begins at `start`; None when nothing there looks like one.

    Args:
        text: Any text.
        start: Where the time begins.
        reading: For what it does not say.
        numbers: Whether epoch numbers are looked for.
    """
    usual = _ISO_AT.match(text, start)
    if usual and (usual[4] or reading.zone is dt.UTC):
        time = iso_time(usual[1], usual[2], usual[3], usual[4] or "Z")
        return Stamp(usual.end(), time, "" if time else usual[0])
    date = date_at(text, start, reading.now.date())
    if date is None:
        named = _DAY_NAME.match(text, start)
        if named and named[1].lower() in DAY_NAMES:
            return _on_day(named, reading)
        return _without_date(text, start, reading, numbers=numbers)
    between = _BETWEEN.match(text, date.end)
    clock = _CLOCK.match(text, between.end()) if between else None
    if not between or not clock:
        return None
    return _stamp(text, start, date, clock, half=between["half"], reading=reading)


def _on_day(named: re.Match[str], reading: Reading) -> Stamp | None:
    """A time behind the name of its day. A name that does not fit is said, not dropped."""
    stamp = stamp_at(named.string, named.end(), reading, numbers=False)
    if stamp is None or not stamp.is_dated:
        return None
    fits = stamp.nanos is not None and any((named[1].lower(), day) in DAYS for day in _local_days(stamp.nanos))
    return stamp._replace(text="" if fits and not stamp.text else named.string[named.start() : stamp.end])


def _local_days(nanos: int) -> tuple[int, int, int]:
    """The days of the week that a time is in, whatever the zone. 1970 began on a Thursday."""
    day = nanos // _NANOS // _DAY_S + 3
    return (day - 1) % 7, day % 7, (day + 1) % 7


def _without_date(text: str, start: int, reading: Reading, *, numbers: bool) -> Stamp | None:
    found = _EPOCH_AT.match(text, start) if numbers else None
    if found:
        return _epoch_stamp(found, reading.now)
    clock = _CLOCK.match(text, start)
    if not clock or clock[1] is None or not (clock[6] or (clock[3] and len(clock[1]) == 2)):
        return None
    return _stamp(text, start, None, clock, half=None, reading=reading)


def _epoch_stamp(found: re.Match[str], now: dt.datetime) -> Stamp | None:
    """An epoch number in a text. One without a fraction could be any number: it must be of the last ten years, and is kept as text."""
    nanos = epoch(Decimal(found[1]))
    if nanos is None:
        return None
    if "." in found[1]:
        return Stamp(found.end(), nanos)
    is_recent = time_nanos(now - _OLDEST_BARE) < nanos < time_nanos(now + dt.timedelta(days=1))
    return Stamp(found.end(), nanos, found[1]) if is_recent else None


def _stamp(text: str, start: int, date: Date | None, clock: re.Match[str], *, half: str | None, reading: Reading) -> Stamp | None:
    """Puts date, clock, zone and a year behind them together."""
    end, zone, sure = _zone_at(text, clock.end(), reading.zone)
    if date and date.year is None:
        behind = _YEAR_BEHIND.match(text, end)
        if behind:
            date, end = date._replace(year=int(behind[1])), behind.end()
    if not _END.match(text, end):
        return None
    hour, minute, second, fraction = _parts(clock)
    hour = _hour(hour, half or clock[6])
    nanos = (
        _nanos(date, (hour, minute, second, fraction), zone, reading)
        if zone is not None and (date is None or not date.is_unclear)
        else None
    )
    sure = sure and nanos is not None and len(fraction or "") <= 9 and date is not None and date.is_sure
    return Stamp(end, nanos, "" if sure else text[start:end], is_dated=date is not None)


def _parts(clock: re.Match[str]) -> Clock:
    if clock[1] is None:
        return clock[7], clock[8], clock[9], clock[10]
    return clock[1], clock[2], clock[3] or "0", clock[4] or clock[5]


def _hour(hour: str, half: str | None) -> str:
    """The hour on a clock of 24: 12 AM is midnight, 12 PM noon. 14 AM is none."""
    if not half:
        return hour
    number = int(hour)
    if half in _AFTERNOON:
        return str(number + 12) if number < 12 else hour
    return "0" if number == 12 else hour if number < 12 else "99"


def _zone_at(text: str, end: int, default: dt.tzinfo) -> tuple[int, dt.tzinfo | int | None, bool]:
    """Where a zone behind a clock ends, the zone (None: it looks like one and is none), and whether its reading is the only one."""
    found = ZONE.match(text, end)
    if not found:
        return end, default, True
    if found["offset"]:
        offset = offset_of(found["offset"])
        if offset is None:  # behind a space it may be a number of the message
            return (end, default, True) if text[end].isspace() else (found.end(), None, False)
        behind = BEHIND.match(text, found.end())
        return (behind or found).end(), offset, True
    name = found["name"]
    zone = zone_named(name) if "/" in name else offset_of(name)
    return (end, default, True) if zone is None else (found.end(), zone, not is_ambiguous(name))


def _nanos(date: Date | None, clock: Clock, zone: dt.tzinfo | int, reading: Reading) -> int | None:
    if date is None:
        return _of_today(clock, zone, reading.now)
    if date.year is None:
        return without_year(date.month, date.day, clock, reading.now, zone)
    return instant((date.year, date.month, date.day), clock, zone)


def _of_today(clock: Clock, zone: dt.tzinfo | int, now: dt.datetime) -> int | None:
    """The latest time with this clock that is not more than a minute ahead of `now`."""
    if now.year < _FIRST_YEAR:
        return None
    latest = time_nanos(now + dt.timedelta(minutes=1))
    days = ((now + dt.timedelta(days=days)).timetuple()[:3] for days in (1, 0, -1))
    found = (instant((day[0], day[1], day[2]), clock, zone) for day in days)
    return next((nanos for nanos in found if nanos is not None and nanos <= latest), None)


def instant(date: tuple[int, int, int], clock: Clock, zone: dt.tzinfo | int | str | None = None) -> int | None:
    """The time of year, month, day and clock; a second 60 (a leap second) is the first of the next minute.

    Args:
        date: Year, month, day.
        clock: Of 24 hours; digits of the fraction beyond nine are cut.
        zone: A zone, seconds east of UTC, or an offset as text; None is UTC.
    """
    hour, minute, second, fraction = clock
    start = _day(*date)
    hours, minutes, seconds = int(hour), int(minute), int(second)
    if start is None or hours > 23 or minutes > 59 or seconds > 60:
        return None
    offset = zone if isinstance(zone, int) else _offset(zone, *date, hours, minutes)
    if offset is None:
        return None
    total = start + hours * 3_600 + minutes * 60 + seconds - offset
    nanos = total * _NANOS + (int(fraction[:9].ljust(9, "0")) if fraction else 0)
    return nanos if 0 < nanos <= MAX_TIME_NANOS else None


@functools.lru_cache(maxsize=512)
def _day(year: int, month: int, day: int) -> int | None:
    """Seconds from 1970 to the beginning of a day."""
    try:
        return (dt.date(year, month, day) - dt.date(1970, 1, 1)).days * _DAY_S
    except ValueError:
        return None


@functools.lru_cache(maxsize=2_048)
def _offset(zone: dt.tzinfo | str | None, *moment: int) -> int | None:
    """Seconds east of UTC at a moment of that zone's clocks: the first of two where they are set back, as before where they are set on."""
    if zone is None:
        return 0
    if isinstance(zone, str):
        return offset_of(zone)
    try:
        offset = dt.datetime(*moment[:5], tzinfo=zone).utcoffset()  # type: ignore[arg-type, misc]
    except (ValueError, OverflowError):
        return None
    return int(offset.total_seconds()) if offset is not None else 0


def without_year(month: int, day: int, clock: Clock, now: dt.datetime, zone: dt.tzinfo | int | str | None = None) -> int | None:
    """The latest time of these parts that is not more than a day ahead of `now`."""
    year, latest = _tomorrow(now)
    if not latest:
        return None
    # Next year's for a clock that is ahead at New Year; eight years back for the 29th of February, as 2100 has none.
    for before in range(9):
        found = instant((year - before, month, day), clock, zone)
        if found is not None and found <= latest:
            return found
    return None


@functools.lru_cache(maxsize=16)
def _tomorrow(now: dt.datetime) -> tuple[int, int]:
    """The year and the time a day after `now`; zeros where there is no present. The year is that of the zone that is farthest ahead."""
    if now.year < _FIRST_YEAR:
        return 0, 0
    later = now + dt.timedelta(days=1)
    return (later.astimezone(dt.UTC) + dt.timedelta(hours=14)).year, time_nanos(later)
