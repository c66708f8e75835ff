"""logfmt: `level=info msg="it is up" took=7ms`, as Go's loggers, Grafana, Docker and Heroku write it."""

import re
from typing import Any

from treering_formats.known.quoting import unescaped
from treering_formats.known.reading import LETTERS, Context, TextFormat

_FRONT = r"[A-Za-z_@][\w.@/:-]*+=(?:\"(?:[^\"\\\n]|\\.)*+\"|[^\s\"]*+)(?:\s++[A-Za-z_@]|\s*$)"
_PAIR = re.compile(r"([^\s=\"]+)(?:=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\"]*)))?(?:\s+|$)")
_ALIASES = {"t": "time", "lvl": "level"}
_TOLD = frozenset({"msg", "message", "level", "lvl", "time", "ts", "t", "severity", "err", "error", "event", "at"})
_MESSAGES = frozenset({"msg", "message", "err", "error"})
_LEAST_PAIRS = 3


def logfmt_fields(line: str) -> dict[str, Any] | None:
    """The fields of a line that is pairs from its front to its end; None when it is not.

    A key that is there several times has its last value; earlier ones are kept as `treering.duplicate.KEY`, as those of JSON are.
    """
    fields: dict[str, Any] = {}
    end = pairs = 0
    sentence = ""
    for match in _PAIR.finditer(line):
        if match.start() != end:
            return None
        end = match.end()
        name, quoted, bare = match.groups()
        if quoted is None and bare is None:
            _add_word(fields, name, sentence)
            continue
        pairs += 1
        sentence = name if bare and name in _MESSAGES else ""
        _put(fields, name, bare or "" if quoted is None else unescaped(quoted))
    if end != len(line) or pairs * 2 < len(fields) or (pairs < _LEAST_PAIRS and _TOLD.isdisjoint(fields)):
        return None
    for alias, name in _ALIASES.items():
        if alias in fields and name not in fields:
            fields[name] = fields.pop(alias)
    return fields


def _add_word(fields: dict[str, Any], word: str, sentence: str) -> None:
    """Takes a word without a value: part of a message that is not quoted, else a flag."""
    if sentence:
        fields[sentence] += f" {word}"
    else:
        _put(fields, word, "true")


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    if name in fields and fields[name] != value:
        earlier = f"treering.duplicate.{name}"
        fields[earlier] = f"{fields[earlier]}\n{fields[name]}" if earlier in fields else fields[name]
    fields[name] = value


def _read(line: str, _context: Context) -> dict[str, Any] | None:
    return logfmt_fields(line)


FORMATS = (
    TextFormat(
        "logfmt",
        "pairs of Go's loggers, Grafana, Docker, Prometheus, Heroku",
        'time=2026-11-20T10:00:00Z level=error msg="nightly report failed" took=92.5',
        LETTERS + "_@",
        _FRONT,
        _read,
    ),
)
