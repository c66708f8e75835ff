"""Dates at the front of a time, in the orders and words in which logs write them."""

import datetime as dt
import re
from collections.abc import Callable
from typing import NamedTuple

from treering_formats.calendar_names import MONTHS


class Date(NamedTuple):
    """A date as it stands in a text; whether the month has that day is not checked.

    Attributes:
        end: Where it ends.
        year: None where it has none.
        month: The month.
        day: The day of the month.
        is_sure: Whether this reading is the only one.
        is_unclear: Whether no reading is better than another, so that it is not read.
    """

    end: int
    year: int | None
    month: int
    day: int
    is_sure: bool = True
    is_unclear: bool = False


def date_at(text: str, start: int, today: dt.date) -> Date | None:
    """The date that begins at `start`; None when there is none. Of several readings of a short year the one nearest to today is taken."""
    if not text[start : start + 1].isdigit():
        found = _NAME_FIRST.match(text, start)
        return _named(found, found[3], found[1], found[2]) if found else None
    for form, read in _FORMS:
        found = form.match(text, start)
        if found:
            return read(found)
    found = _SHORT_YEAR.match(text, start)
    return _short_year(found, today) if found else None


def _plain(found: re.Match[str]) -> Date | None:
    year, month, day = found.group(1, 2, 3)
    return Date(found.end(), int(year), int(month), int(day))


def _week(found: re.Match[str]) -> Date | None:
    try:
        day = dt.date.fromisocalendar(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None
    return Date(found.end(), day.year, day.month, day.day)


def _ordinal(found: re.Match[str]) -> Date | None:
    try:
        day = dt.date(int(found[1]), 1, 1) + dt.timedelta(days=int(found[2]) - 1)
    except (ValueError, OverflowError):
        return None
    return Date(found.end(), day.year, day.month, day.day) if day.year == int(found[1]) else None


def _named(found: re.Match[str], year: str | None, month: str, day: str) -> Date | None:
    number = MONTHS.get(month.lower())
    if number is None:
        return None
    century = 2000 if year and len(year) == 2 else 0
    return Date(found.end(), century + int(year) if year else None, number, int(day))


def _day_month_year(found: re.Match[str]) -> Date | None:
    """20.11.2026 has the day first. With slashes and dashes the month may be first: where both could be, neither is taken."""
    first, mark, second, year = int(found[1]), found[2], int(found[3]), int(found[4])
    if mark == "." or first == second or second <= 12 < first:
        return Date(found.end(), year, second, first)
    return Date(found.end(), year, first, second, is_unclear=first <= 12 and second <= 12)


def _short_year(found: re.Match[str], today: dt.date) -> Date | None:
    """26/11/20 of log4j, 20/11/26, 11/20/26, 20.11.26: the reading nearest to today, the first of these where there is no present."""
    first, second, third = int(found[1]), int(found[3]), int(found[4])
    valid = list(filter(None, map(_valid, ((first, second, third), (third, second, first), (third, first, second)))))
    if not valid:
        return None
    chosen = min(valid, key=lambda day: abs(today - day)) if today.year > 1 else valid[0]
    return Date(found.end(), chosen.year, chosen.month, chosen.day, is_sure=len(set(valid)) == 1)


def _valid(parts: tuple[int, int, int]) -> dt.date | None:
    try:
        return dt.date(2000 + parts[0], parts[1], parts[2])
    except ValueError:
        return None


def _compact_short(found: re.Match[str]) -> Date | None:
    return Date(found.end(), 2000 + int(found[1]), int(found[2]), int(found[3]))


def _month_day(found: re.Match[str]) -> Date | None:
    return Date(found.end(), None, int(found[1]), int(found[2]))


def _name_second(found: re.Match[str]) -> Date | None:
    return _named(found, found[3], found[2], found[1])


def _name_between(found: re.Match[str]) -> Date | None:
    return _named(found, found[1], found[2], found[3])


_MONTH = r"([^\W\d_]{3,14})\.?"
# Nov 20, Nov 20 2026, Nov 20, 2026
_NAME_FIRST = re.compile(_MONTH + r"[ -]\s?(\d\d?)(?!\d)(?:(?:,\s?|\s|-)(\d{4})(?![\d:]))?(?=[\s:,T-])")
_SHORT_YEAR = re.compile(r"(\d\d)([-/.])(\d\d)\2(\d\d)(?=[\s,]\s?\d)")
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Date | None]], ...] = tuple(
    (re.compile(form), read)
    for form, read in (
        (r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)(?!\d)", _plain),  # 2026-11-20
        (r"(\d{4})(\d\d)(\d\d)(?=T\d|[\s_-]\d\d:|\d{6}(?!\d))", _plain),  # 20261120T
        (r"(\d\d?)(?:\.?\s|[-/])(?:de\s)?" + _MONTH + r"(?:(?:[-/]|,?\s|\sde\s)(\d{4}|\d\d(?=\s))(?!\d))?(?=[\s:,T-])", _name_second),
        (r"(\d\d?)([-/.])(\d\d?)\2(\d{4})(?!\d)", _day_month_year),
        (r"(\d\d)(\d\d)(\d\d)(?=\s{1,2}\d?\d:)", _compact_short),  # 261120
        (r"(\d\d)-(\d\d)(?=\s\d\d:\d\d:\d\d\.\d)", _month_day),  # 11-20 of Android
        (r"(\d{4})-?W(\d\d)-?([1-7])(?!\d)", _week),  # 2026-W47-5
        (r"(\d{4})-(\d{3})(?=T)", _ordinal),  # 2026-324
        (r"(\d{4})[-/\s]" + _MONTH + r"[-/\s]\s?(\d\d?)(?!\d)", _name_between),  # 2026-Nov-20
        (r"(\d{4})[年년]\s?(\d\d?)[月월]\s?(\d\d?)[日일](?:\(\w\))?", _plain),
    )
)
