"""Times as logs write them, in nanoseconds since 1970; None where there is none. Nothing raises.

`stamp_at` finds a time in a text, `any_time` reads the value of a field. docs/formats.md has the rules.
"""

import datetime as dt
import re
from decimal import Decimal
from typing import NamedTuple

from treering.times import time_nanos
from treering_formats.calendar_names import DAY_NAMES, DAYS
from treering_formats.dates import Date, date_at
from treering_formats.instants import Clock, epoch, instant, iso_time, of_today, without_year
from treering_formats.zones import BEHIND, ZONE, is_ambiguous, offset_of, zone_named

__all__ = ["Stamp", "TimeReading", "any_time", "epoch", "instant", "stamp_at", "without_year"]

_NANOS = 1_000_000_000
_DAY_S = 86_400
# Bounded: more digits are no time, and reading a million of them would take seconds.
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,40})?([eE]\+?\d{1,2})?", re.ASCII)
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


class TimeReading(NamedTuple):
    """What is taken where a time does not say it.

    Attributes:
        now: For a year or a date.
        zone: For times without a zone.
    """

    now: dt.datetime
    zone: dt.tzinfo = dt.UTC


_NO_READING = TimeReading(dt.datetime(1, 1, 1, tzinfo=dt.UTC))
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


def any_time(value: object, reading: TimeReading = _NO_READING) -> int | None:
    """The time that a JSON value means: a date with a clock in any form, or an epoch number of any unit."""
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text) and (number := epoch(Decimal(text))):
            return number
        # Bounded, as the text of a field may be long. A clock without a date may as well be a duration.
        stamp = stamp_at(text, 0, reading, numbers=False) if len(text) < _LONGEST else None
        return stamp.nanos if stamp and stamp.end == len(text) and stamp.is_dated else None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return epoch(value)
    return None


def stamp_at(text: str, start: int, reading: TimeReading, *, numbers: bool = True) -> Stamp | None:
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


def _on_day(named: re.Match[str], reading: TimeReading) -> Stamp | None:
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


def _without_date(text: str, start: int, reading: TimeReading, *, numbers: bool) -> Stamp | None:
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


def _stamp(text: str, start: int, date: Date | None, clock: re.Match[str], *, half: str | None, reading: TimeReading) -> Stamp | None:
    """Puts date, clock, zone and a year behind them together."""
    end, zone, sure = _zone_at(text, clock.end(), reading.zone)
    if date and date.year is None:
        behind = _YEAR_BEHIND.match(text, end)
        if behind:
            date, end = date._replace(year=int(behind[1])), behind.end()
    # behind a zone also a colon and a digit may stand: `UTC:10.0.0.1` of PostgreSQL
    if not _END.match(text, end) and not (text[end] == ":" and text[end - 1].isalpha()):
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


def _nanos(date: Date | None, clock: Clock, zone: dt.tzinfo | int, reading: TimeReading) -> int | None:
    if date is None:
        return of_today(clock, zone, reading.now)
    if date.year is None:
        return without_year(date.month, date.day, clock, reading.now, zone)
    return instant((date.year, date.month, date.day), clock, zone)
