"""Zones behind times: offsets, names of the zone database, abbreviations. What is unknown is None."""

import datetime as dt
import functools
import re
import zoneinfo

_HOUR = 3_600
# Offsets in hours. An abbreviation that is in use in several places has the reading that is commonest in logs.
_HOURS = {
    "z": 0, "ut": 0, "utc": 0, "gmt": 0, "wet": 0, "west": 1, "cet": 1, "cest": 2, "mest": 2, "mez": 1, "mesz": 2,
    "eet": 2, "eest": 3, "msk": 3, "msd": 4, "trt": 3, "sast": 2, "wat": 1, "irst": 3.5, "pkt": 5, "npt": 5.75,
    "uzt": 5, "almt": 6, "mmt": 6.5, "ict": 7, "wib": 7, "wita": 8, "hkt": 8, "sgt": 8, "pht": 8, "myt": 8, "kst": 9, "jst": 9,
    "awst": 8, "acst": 9.5, "acdt": 10.5, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13, "nst": -3.5, "ndt": -2.5, "adt": -3,
    "est": -5, "edt": -4, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8, "hst": -10,
    "brt": -3, "brst": -2, "clt": -4, "clst": -3, "uyt": -3,
}  # fmt: skip
# Several zones, or also a word.
_AMBIGUOUS_HOURS = {
    "ist": 5.5, "cst": -6, "bst": 1, "ast": -4, "gst": 4, "sst": -11, "amt": -4, "art": -3,
    "cat": 2, "eat": 3, "met": 1, "wit": 9, "cot": -5, "pet": -5, "vet": -4,
}  # fmt: skip
_OFFSETS = {name: int(hours * _HOUR) for name, hours in (_HOURS | _AMBIGUOUS_HOURS).items()}
_MOST_HOURS = 14
_QUARTERS = frozenset({0, 15, 30, 45})

ZONE = re.compile(
    # +01:00, +0100, UTC+01:00; attached +01; UTC+1. What goes on like a number is no offset.
    r"(?P<offset>\s?(?:UTC|GMT)?[+-]\d\d:?[0-5]\d(?![\d.,:]\d|\d)|[+-]\d\d(?![\d:.,\w])|\s?(?:UTC|GMT)[+-]\d{1,2}(?![\d:.,]))"
    # Z, CET, Europe/Berlin
    r"|\s?(?P<name>(?:[A-Z]{1,4}|z|utc|gmt)(?![\w/])|[A-Z][A-Za-z_]{1,30}/[A-Za-z_]{1,30}(?:/[A-Za-z_]{1,30})?(?![\w/]))"
)
"""A zone where a clock ends; whether it is one, `offset_of` and `zone_named` know."""

BEHIND = re.compile(r"\[[A-Z][A-Za-z_]+(?:/[A-Za-z_]+)*\]|\s\([A-Z]{2,5}\)")
"""What repeats an offset as a name behind it: `+01:00[Europe/Berlin]`, `+0100 (CET)`."""


@functools.lru_cache(maxsize=512)
def offset_of(text: str) -> int | None:
    """Seconds east of UTC of `Z`, `+01:00`, `+0100`, `+01`, `UTC+1` or an abbreviation; None where it is none of them."""
    text = text.strip().lower()
    known = _OFFSETS.get(text)
    if known is not None:
        return known
    sign = max(text.find("+"), text.find("-"))
    if sign < 0:
        return None
    digits = text[sign + 1 :].replace(":", "")
    digits = digits.zfill(2).ljust(4, "0") if len(digits) < 3 else digits
    hours, minutes = int(digits[:2]), int(digits[2:])
    # No zone of today is elsewhere: a number that only looks like an offset stays text.
    if hours > _MOST_HOURS or minutes not in _QUARTERS:
        return None
    seconds = hours * _HOUR + minutes * 60
    return -seconds if text[sign] == "-" else seconds


def is_ambiguous(name: str) -> bool:
    """Whether an abbreviation means several zones, so that the reading of it is a choice."""
    return name.strip().lower() in _AMBIGUOUS_HOURS


@functools.lru_cache(maxsize=64)
def zone_named(name: str) -> dt.tzinfo | None:
    """The zone of the system's database by its name, for example `Europe/Berlin`; None when it has none of that name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name of a zone, a directory of the database
        return None
