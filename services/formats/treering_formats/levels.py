"""Levels as OpenTelemetry's severity numbers: what words mean, and numbers by the scale that the keys beside them tell."""
# ruff: noqa: RUF001 - other alphabets have letters that look like Latin ones

import re
from collections.abc import Mapping
from typing import Any

from treering.severity import SEVERITY_WORDS, severity_number

FOREIGN_WORDS: Mapping[str, int] = {
    # PostgreSQL, java.util.logging and others write levels in the language of their locale
    "erreur": 17, "fehler": 17, "fehlermeldung": 17, "errore": 17, "erro": 17, "fout": 17, "virhe": 17, "fel": 17, "ошибка": 17,
    "hata": 17, "schwerwiegend": 17, "grave": 17, "错误": 17, "錯誤": 17, "エラー": 17, "오류": 17,
    "avertissement": 13, "attention": 13, "warnung": 13, "advertencia": 13, "avviso": 13, "aviso": 13, "waarschuwing": 13,
    "varning": 13, "varoitus": 13, "предупреждение": 13, "uyarı": 13, "警告": 13, "경고": 13, "avvertenza": 13,
    "fatale": 21, "важно": 21, "hinweis": 10, "infos": 9, "información": 9, "informação": 9, "informazioni": 9, "信息": 9, "情報": 9,
    "protokoll": 9, "journal": 9, "сообщение": 9, "panik": 21,
}  # fmt: skip
"""Words of locales, lower case; only text is read by them, as they are words of messages, too."""

LETTERS: Mapping[str, int] = {"T": 1, "V": 1, "D": 5, "I": 9, "N": 10, "W": 13, "E": 17, "C": 18, "A": 19, "F": 21}
"""Levels of one letter, as klog, Android, Ruby and MongoDB write them."""

SYSLOG = (21, 19, 18, 17, 13, 10, 9, 5)
"""By a priority's lowest three bits, from emergency to debug, as OpenTelemetry maps them."""

_PLAIN_WORDS = (
    "trace trc debug dbg dbug info inf information informational warn wrn warning error err eror fatal ftl t d i w e f unspecified"
)
PLAIN_WORDS = frozenset(_PLAIN_WORDS.split())
"""Words that say no more than the severity number does. Every other is kept beside it."""

USUAL = {spelled: SEVERITY_WORDS[word] for word in PLAIN_WORDS & SEVERITY_WORDS.keys() for spelled in (word, word.upper(), word.title())}
_PYTHON = {10: 5, 20: 9, 30: 13, 40: 17, 50: 21}
_PINO = {10: 1, 20: 5, 30: 9, 40: 13, 50: 17, 60: 21}
_MONOLOG = {100: 5, 200: 9, 250: 10, 300: 13, 400: 17, 500: 18, 550: 19, 600: 21}
_LEVEL_KEYS = frozenset({"level", "levelno", "log.level", "lvl", "Level", "LEVEL"})
_SYSLOG_KEYS = frozenset(
    {"PRIORITY", "syslog.severity", "syslog.severity.code", "log.syslog.severity.code", "syslog_severity_code", "syslog_severity"}
)
_OTEL_KEYS = frozenset({"severity_number", "severityNumber", "SeverityNumber"})
_MONGODB = "s"
"""The level's name in MongoDB's objects, which have the component as `c`: alone it may be seconds, a size, a text."""
_PINO_FIELDS = frozenset({"msg", "hostname", "v"})
_PYTHON_FIELDS = frozenset({"levelname", "levelno", "lineno", "funcName", "asctime", "module"})
_SYSLOG_FIELDS = frozenset({"facility", "syslog_facility", "syslogtag", "SYSLOG_IDENTIFIER", "short_message"})
_SYSLOG_HIGHEST = 7
_OTEL_HIGHEST = 24
_INT32_MAX = 2**31 - 1

# Under `status` other words are the state of a job, a build, an order.
_STATUS = "trace debug info information informational notice warn warning error err severe crit critical alert emerg emergency fatal panic"
_STATUS_WORDS = frozenset(_STATUS.split())
_STEPS = re.compile(r"(trace|debug|info|warn|warning|error|fatal)([+-]\d{1,3})", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_UNSPECIFIED = "unspecified"
"""What exports of this system say where there is no severity."""
_LONGEST = 80
"""Characters; no level with its colours is longer."""
_MARKS = " \t[]()<>:|"


def word_level(text: str) -> int | None:
    """The severity of a level's text: a word, one letter, `ERROR2`, or `INFO+2` of Go's slog; None when it is none."""
    # The whole word as it stands is by far the most frequent: one look-up for most records.
    known = SEVERITY_WORDS.get(text.lower())
    return known if known is not None or not 0 < len(text) <= _LONGEST else _bare_level(_COLOURS.sub("", text).strip(_MARKS))


def _bare_level(word: str) -> int | None:
    """The severity of a level's text without colours, brackets and spaces."""
    if len(word) == 1:
        return LETTERS.get(word.upper())
    if steps := _STEPS.fullmatch(word):
        return stepped(steps[1], steps[2])
    if word.lower() == _UNSPECIFIED:
        return 0
    try:
        return None if word.isdigit() else severity_number(word)
    except ValueError:
        return FOREIGN_WORDS.get(word.lower())


def stepped(word: str, steps: str) -> int:
    """The severity of `INFO+2`: slog's steps between its levels are OpenTelemetry's."""
    return max(1, min(_OTEL_HIGHEST, SEVERITY_WORDS[word.lower()] + int(steps)))


def says_more(value: object) -> bool:
    """Whether a level as it is written says more than its severity number: `NOTICE`, or 25 between two of Python's numbers."""
    if not isinstance(value, str):
        return isinstance(value, int) and value > _OTEL_HIGHEST and value % 10 > 0
    return (
        value not in USUAL
        and value.lower() not in PLAIN_WORDS
        and _COLOURS.sub("", value[:_LONGEST]).strip(_MARKS).lower() not in PLAIN_WORDS
    )


def status_level(value: object) -> int | None:
    """The severity that a `status` means: a level word does, a number never, as it is that of an answer."""
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    return SEVERITY_WORDS[word] if word in _STATUS_WORDS else None


def field_level(name: str, value: object, fields: Mapping[str, Any]) -> int | None:
    """The severity that a value means under a name.

    Args:
        name: The field's name.
        value: The field's value.
        fields: All fields: they tell whose scale a number is of.

    Returns:
        The severity; None when the value means none, or nothing tells whose number it is.
    """
    if name == _MONGODB and ("c" not in fields or not isinstance(value, str)):
        return None
    if isinstance(value, str):
        level = USUAL.get(value) or word_level(value)
        text = value.strip()
        if level is not None or not (text.isascii() and text.isdigit() and len(text) < 10):
            return level
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT32_MAX:
        return None
    return _number_level(name, value, fields)


def _number_level(name: str, number: int, fields: Mapping[str, Any]) -> int | None:
    if name in _OTEL_KEYS:
        return number
    if number <= _SYSLOG_HIGHEST:
        if name in _SYSLOG_KEYS or not _SYSLOG_FIELDS.isdisjoint(fields):
            return SYSLOG[number]
        # without such a key 3 may be syslog's error, .NET's warning or a trace: only `severity` is OpenTelemetry's name
        return number if name == "severity" else None
    return None if name in _SYSLOG_KEYS or name == "priority" else _scaled(name, number, fields)


def _scaled(name: str, number: int, fields: Mapping[str, Any]) -> int:
    """Numbers of scales that go by tens or hundreds; another one is OpenTelemetry's, or none, which the sinks say."""
    ten = number // 10 * 10
    if ten in _PINO and name in _LEVEL_KEYS and name != "levelno" and _is_pino(fields):
        return _PINO[ten]
    if ten in _PYTHON and (number > _OTEL_HIGHEST or (number == ten and name in _LEVEL_KEYS)):
        return _PYTHON[ten]
    is_monolog = number in _MONOLOG and ("level_name" in fields or "channel" in fields)
    return _MONOLOG[number] if is_monolog else number


def _is_pino(fields: Mapping[str, Any]) -> bool:
    """Whether pino or bunyan wrote the object: their message is called `msg`, Python's loggers have other names beside it."""
    return not _PINO_FIELDS.isdisjoint(fields) and _PYTHON_FIELDS.isdisjoint(fields)
