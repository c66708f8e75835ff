"""Times as logs write them, in nanoseconds since 1970; None where there is none. Nothing raises."""

import datetime as dt
import functools
import re
from decimal import Decimal

from treering.times import MAX_TIME_NANOS, time_nanos

_NANOS = 1_000_000_000
_DATE_TIME = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[Tt ]\s?(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?\s?(Z|z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?", re.ASCII
)
# Bounded: more digits are no time, and reading a million of them would take seconds.
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,40})?", re.ASCII)
# Each limit is a time around the year 5138 in its own unit, and one in 1973 in the next finer one: no time of a log is misread.
_EPOCH_UNITS = ((10**11, _NANOS), (10**14, 10**6), (10**17, 10**3))
_ABBREVIATIONS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(_ABBREVIATIONS, 1)}
"""Numbers of months by their English abbreviation, lower case."""


Clock = tuple[str, str, str, str | None]
"""Hour, minute, second, and digits of the fraction, as text."""


def any_time(value: object) -> int | None:
    """The time that a JSON value means: RFC 3339, or an epoch number of seconds, milliseconds, microseconds or nanoseconds."""
    if isinstance(value, str):
        text = value.strip()
        match = _DATE_TIME.fullmatch(text)
        if match:
            return date_time(match)
        return epoch(Decimal(text)) if _NUMBER.fullmatch(text) else None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return epoch(value)
    return None


def epoch(number: int | Decimal) -> int | None:
    """The time of an epoch number, its unit by its size."""
    if (isinstance(number, Decimal) and not number.is_finite()) or not 0 < number < 10**19:
        return None
    factor = next((factor for limit, factor in _EPOCH_UNITS if number < limit), 1)
    return _in_range(int(number * factor))


def date_time(match: re.Match[str]) -> int | None:
    """The time of a match of year, month, day, hour, minute, second, fraction, zone."""
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    return instant((int(year), int(month), int(day)), (hour, minute, second or "0", fraction), zone)


def instant(date: tuple[int, int, int], clock: Clock, zone: str | None = None) -> int | None:
    """The time of year, month, day and clock; a second 60 (a leap second) is the first of the next minute."""
    hour, minute, second, fraction = clock
    start = _day(*date)
    hours, minutes, seconds = int(hour), int(minute), int(second)
    if start is None or hours > 23 or minutes > 59 or seconds > 60:
        return None
    total = start + hours * 3_600 + minutes * 60 + seconds - (_offset(zone) if zone else 0)
    nanos = int(fraction.ljust(9, "0")) if fraction else 0
    return _in_range(total * _NANOS + nanos)


@functools.lru_cache(maxsize=512)
def _day(year: int, month: int, day: int) -> int | None:
    try:
        return (dt.date(year, month, day) - dt.date(1970, 1, 1)).days * 86_400
    except ValueError:
        return None


@functools.lru_cache(maxsize=64)
def _offset(zone: str) -> int:
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3_600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def _in_range(nanos: int) -> int | None:
    return nanos if 0 < nanos <= MAX_TIME_NANOS else None


def without_year(month: int, day: int, clock: Clock, now: dt.datetime) -> int | None:
    """The latest time of these parts that is not more than a day ahead of `now`."""
    latest = time_nanos(now + dt.timedelta(days=1))
    # Next year's for a clock that is ahead at New Year; four years back for the 29th of February.
    candidates = (instant((year, month, day), clock) for year in (now.year + 1, now.year, now.year - 1, now.year - 4))
    return next((found for found in candidates if found is not None and found <= latest), None)
