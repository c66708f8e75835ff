"""A level where it stands in a text: in brackets, in capitals, before a mark, as one letter."""

import re
from typing import NamedTuple

from treering.severity import SEVERITY_WORDS
from treering_formats.levels import FOREIGN_WORDS, LETTERS, stepped, word_level

_BARE = (
    "TRACE DEBUG INFO NOTICE WARN WARNING ERROR ERR CRIT CRITICAL ALERT EMERG EMERGENCY FATAL PANIC DPANIC SEVERE ERRO FATA DEBU PANI TRAC"
)
BARE_WORDS = frozenset(_BARE.split())
"""Words in capitals that are levels at the front of any line. A word in small letters begins many messages."""
_BARE_BEHIND_TIME = (
    BARE_WORDS
    | {"FINER", "FINEST", "VERBOSE", "DBG", "INF", "WRN", "FTL", "TRC", "VRB", "PNC", "INFORMATION"}
    | (frozenset(word.upper() for word in FOREIGN_WORDS) - {"ATTENTION", "GRAVE", "JOURNAL", "PROTOKOLL", "INFORMATION"})
)

_SURE_LETTERS = frozenset("DIWEF")
_STEPPED = frozenset({"trace", "debug", "info", "warn", "warning", "error", "fatal"})

_BRACKETED = re.compile(r"[\[(<{]\s*(?:(\w{1,32}):)?([^\W\d_]{1,14})([1-8]|[+-]\d{1,2})?\s*[\])>}]")  # also [core:trace3] of Apache
_WORD = re.compile(
    r"([^\W\d_]{3,14})([2-4]|[+-]\d{1,2})?"
    r"(?:(?=(\s*(?:[:|](?=\s|$)|\|(?!\|)|-{1,2}\s)))|(?=[\s\])|,\[]|$|:(?![:/\s])))"
)
_ATTACHED = re.compile(r":(?![:/\s])")  # ERROR:text
_CHANNEL = re.compile(r"([\w-]{1,64})\.([A-Z]{3,9}):(?=\s|$)")  # production.ERROR: of Laravel
_CHAIN = re.compile(r":(\S{1,200}):([A-Z]{3,11}):(?=\s|$)")  # :host(port):user@db:[pid]:ERROR: of PostgreSQL
_LETTER = re.compile(r"([VDIWEFT])(?:/(?=[^\s/])|(?=\s+(?:[A-Z][\w.]*[:\s]|[|-]\s)))")  # E/Tag, E NETWORK, E | place
_TAGGED = re.compile(r"([VDIWEF])/(?=[\w.:-]{1,64}\s?(?:\(\s*\d+\))?:\s)")  # E/Tag(77): at the front of a line
_WORD_IN_BRACKET = re.compile(r"([A-Z]{3,9})(?=/[^\s\]]{1,128}\])")  # [..: ERROR/MainProcess] of Celery
_LEVEL_OF_NEXT_LINE = re.compile(r"([A-Z]{3,13}):\s")  # java.util.logging's second line


class Level(NamedTuple):
    """A level in a text.

    Attributes:
        end: Where it ends.
        number: The severity.
        word: As it is written.
        origin: What is written together with it, as the module in `[core:error]`.
        is_cut: Whether the message begins behind it.
    """

    end: int
    number: int
    word: str
    origin: str = ""
    is_cut: bool = True


def level_at(text: str, at: int, *, behind_time: bool, is_open: bool = False) -> Level | None:
    """The level that begins here."""
    found = _BRACKETED.match(text, at)
    if found:
        return _bracketed(found, behind_time=behind_time)
    found = _WORD.match(text, at)
    if found:
        return _word(found, behind_time=behind_time)
    found = _WORD_IN_BRACKET.match(text, at) if is_open else None
    if found and found[1] in BARE_WORDS:
        return Level(found.end(), SEVERITY_WORDS[found[1].lower()], found[1])
    found = (_CHANNEL.match(text, at) or _CHAIN.match(text, at)) if behind_time else None
    number = word_level(found[2]) if found else None
    if found and number is not None:
        return Level(found.end(), number, found[2], origin=found[1])
    found = _LETTER.match(text, at) if behind_time else _TAGGED.match(text, at) if not at else None
    return Level(found.end(), LETTERS[found[1]], found[1]) if found else None


def _bracketed(found: re.Match[str], *, behind_time: bool) -> Level | None:
    """`[error    ]`: any level word, but at the front of a line without a time only those that are no words of a message."""
    module, word, steps = found.groups()
    is_letter = len(word) == 1
    if is_letter and not word.isupper():
        return None
    if not behind_time and word.upper() not in (_SURE_LETTERS if is_letter else BARE_WORDS):
        return None
    number = _number(word, steps)
    return None if number is None else Level(found.end(), number, word + (steps or ""), origin=module or "")


def _word(found: re.Match[str], *, behind_time: bool) -> Level | None:
    """A word without brackets: in capitals, or set off by a mark behind it."""
    word, steps, mark = found.group(1, 2, 3)
    bare = _BARE_BEHIND_TIME if behind_time else BARE_WORDS
    is_bare = word in bare
    if not is_bare and not mark:
        return None
    if not is_bare and not behind_time and (word.upper() not in BARE_WORDS or not mark.startswith(":")):
        return None
    number = _number(word, steps)
    if number is None:
        return None
    # `error: no such file` without a time is a sentence of many programs: its level is read, and the sentence stays whole
    end = found.end() + bool(is_bare and _ATTACHED.match(found.string, found.end()))
    return Level(end, number, word + (steps or ""), is_cut=is_bare or behind_time)


def _number(word: str, steps: str | None) -> int | None:
    number = word_level(word)
    if not steps or number is None:
        return number
    if steps[0] in "+-":
        return stepped(word, steps) if word.lower() in _STEPPED else None
    return number if word.lower() == "trace" else word_level(word + steps)


def level_of_next_line(text: str, start: int) -> tuple[int, str] | None:
    """The level with which the line at `start` begins, and its word."""
    found = _LEVEL_OF_NEXT_LINE.match(text, start)
    number = word_level(found[1]) if found and found[1] in _BARE_BEHIND_TIME | {"CONFIG", "FINE"} else None
    return (number, found[1]) if found and number is not None else None
