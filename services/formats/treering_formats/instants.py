"""Nanoseconds since 1970 of the parts of a time; None where they make none that a record can have. Nothing raises."""

import datetime as dt
import functools
import re
from decimal import Decimal

from treering.times import MAX_TIME_NANOS, time_nanos
from treering_formats.zones import offset_of

_NANOS = 1_000_000_000
_FIRST_YEAR = 1971
_DAY_S = 86_400
# Each limit is a time around the year 5138 in its own unit, and one in 1973 in the next finer one: no time of a log is misread.
_EPOCH_UNITS = ((10**11, _NANOS), (10**14, 10**6), (10**17, 10**3))
_EARLIEST_EPOCH_NANOS = 946_684_800 * _NANOS
"""2000-01-01. A smaller number of seconds, milliseconds or microseconds is a duration, a count or an id that only is called a time."""


Clock = tuple[str, str, str, str | None]
"""Hour, minute, second, and digits of the fraction, as text."""


def epoch(number: int | Decimal) -> int | None:
    """The time of an epoch number, its unit by its size; None before the year 2000."""
    if (isinstance(number, Decimal) and not number.is_finite()) or not 0 < number < 10**19:
        return None
    factor = next((factor for limit, factor in _EPOCH_UNITS if number < limit), 1)
    nanos = int(number * factor)
    earliest = _EARLIEST_EPOCH_NANOS if factor > 1 else 0
    return nanos if earliest <= nanos <= MAX_TIME_NANOS else None


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
_FRACTIONS = tuple(10 ** (9 - digits) for digits in range(10))
"""By the number of digits of a fraction, what one of the last is in nanoseconds."""
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
    behind = int(second + fraction) * _FRACTIONS[len(fraction)] if fraction else int(second) * _NANOS
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


def of_today(clock: Clock, zone: dt.tzinfo | int, now: dt.datetime) -> int | None:
    """The latest time with this clock that is not more than a minute ahead of `now`."""
    if now.year < _FIRST_YEAR:
        return None
    latest = time_nanos(now + dt.timedelta(minutes=1))
    days = ((now + dt.timedelta(days=days)).timetuple()[:3] for days in (1, 0, -1))
    found = (instant((day[0], day[1], day[2]), clock, zone) for day in days)
    return next((nanos for nanos in found if nanos is not None and nanos <= latest), None)
