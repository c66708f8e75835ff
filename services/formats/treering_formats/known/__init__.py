"""Formats of one program or system each, tried before the general reading of texts and objects.

`FORMATS` is the one list: a name, a description, an example, how a text of the format begins or which field an object of it has, and its
reader. For each first character one expression of all fronts decides which reader is asked, so that the list may be long.
"""

import re
from collections.abc import Mapping
from typing import Any

from treering_formats.known import columns, databases, logfmt, objects, security, systems, web
from treering_formats.known.reading import Context, ObjectFormat, Reading, TextFormat

FORMATS: tuple[TextFormat | ObjectFormat, ...] = (
    *web.FORMATS,
    *columns.FORMATS,
    *databases.FORMATS,
    *security.FORMATS,
    *systems.FORMATS,
    *objects.FORMATS,
    *logfmt.FORMATS,
)
"""Every format that has a reader of its own. The first one whose front fits reads a text."""

_TEXTS = tuple(each for each in FORMATS if isinstance(each, TextFormat))
_OBJECTS = tuple(each for each in FORMATS if isinstance(each, ObjectFormat))
_FIRST: Mapping[str, tuple[TextFormat, ...]] = {
    first: tuple(each for each in _TEXTS if first in each.first) for first in {first for each in _TEXTS for first in each.first}
}
_FRONTS = {first: re.compile("|".join(f"({each.front})" for each in formats)) for first, formats in _FIRST.items()}
_NEEDLES = tuple(each for each in _TEXTS if each.needle)
_MARKS = frozenset().union(*(each.marks for each in _OBJECTS))


def read_known(text: str, context: Context) -> tuple[Reading | dict[str, Any], str] | None:
    """What a text in one of the formats says, as a reading or as flat fields, and the format's name; None when it is in none.

    Formats of one line read the first line of an event; the lines below it stay in the message.
    """
    if context.columns:
        first, newline, rest = text.partition("\n")
        found = columns.row(first, context)
        if found:
            found.message += newline + rest
            return found, "w3c" if context.columns[0] in {"date", "time"} else "columns"
    known = _candidate(text, context)
    if known is None:
        return None
    if known.whole or "\n" not in text:
        read = known.read(text, context)
    else:
        first, newline, rest = text.partition("\n")
        read = known.read(first, context)
        if isinstance(read, Reading):
            read.message += newline + rest
        elif read and isinstance(read.get("msg", read.get("message")), str):
            name = "msg" if "msg" in read else "message"
            read[name] += newline + rest
    return (read, known.name) if read is not None else None


def _candidate(text: str, context: Context) -> TextFormat | None:
    """The format that a text may be in."""
    for each in _NEEDLES:
        if each.needle in text and each.read(text.partition("\n")[0], context) is not None:
            return each
    fronts = _FRONTS.get(text[:1])
    match = fronts.match(text) if fronts else None
    return _FIRST[text[0]][match.lastindex - 1] if match and match.lastindex else None


def known_object(fields: dict[str, Any]) -> str:
    """The name of the format that an object with flat fields is in, with its fields put under the usual names; empty for none."""
    if _MARKS.isdisjoint(fields):
        return ""
    return next((each.name for each in _OBJECTS if not each.marks.isdisjoint(fields) and each.read(fields)), "")
