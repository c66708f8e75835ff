"""What stands at the front of a line of text: a time, a level, and between them a process, a thread, a logger.

The front is read token by token. Time and level may stand in either order; what stands between or before them is skipped only if one of
them follows, and becomes an attribute. What is behind the second of the two is the message, as it is written.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from treering.severity import SEVERITY_WORDS
from treering_formats.calendar_names import DAY_NAMES, MONTHS
from treering_formats.levels import FOREIGN_WORDS, LETTERS, says_more, stepped, word_level
from treering_formats.times import Reading, Stamp, stamp_at

TIME_TEXT = "treering.time"
"""The attribute that holds a time as it is written, when it is not understood or its reading is one of several."""

LEVEL_TEXT = "severity_text"
"""The attribute that holds a level's word, when it says more than the severity number."""

LONGEST_FRONT = 2_000
"""Characters of a line that are looked at: reading a front takes no longer for a line of megabytes."""


class Front(NamedTuple):
    """The front of a line.

    Attributes:
        time: Nanoseconds since 1970; 0 when there is none.
        severity: OpenTelemetry's number; 0 when there is none.
        attributes: What else stood there, and what is uncertain.
        end: Where the message begins.
    """

    time: int
    severity: int
    attributes: dict[str, str]
    end: int


_MOST_TOKENS = 10
_BARE = (
    "TRACE DEBUG INFO NOTICE WARN WARNING ERROR ERR CRIT CRITICAL ALERT EMERG EMERGENCY FATAL PANIC DPANIC SEVERE ERRO FATA DEBU PANI TRAC"
)
_BARE_WORDS = frozenset(_BARE.split())
"""Words in capitals that are levels at the front of any line. A word in small letters begins many messages."""
_BARE_BEHIND_TIME = (
    _BARE_WORDS
    | {"FINER", "FINEST", "VERBOSE", "DBG", "INF", "WRN", "FTL", "TRC", "VRB", "PNC", "INFORMATION"}
    | (frozenset(word.upper() for word in FOREIGN_WORDS) - {"ATTENTION", "GRAVE", "JOURNAL", "PROTOKOLL", "INFORMATION"})
)

_SURE_LETTERS = frozenset("DIWEF")
_STEPPED = frozenset({"trace", "debug", "info", "warn", "warning", "error", "fatal"})

# A separator belongs to the layout only where it stands free: what is written in front of the next word is the message's.
_SEPARATOR = re.compile(r"\|(?!\|)\s*|\s*(?:[:,](?=\s|$)|\|(?=\s|$)|-{1,2}(?=\s|$))?\s*")
_CLOSING = re.compile(r"\s*[\])>]")
_OPENING = frozenset("[(<")
_BRACKETED = re.compile(r"[\[(<{]\s*(?:(\w{1,32}):)?([^\W\d_]{1,14})([1-8]|[+-]\d{1,2})?\s*[\])>}]")  # also [core:trace3] of Apache
_WORD = re.compile(
    r"([^\W\d_]{3,14})([2-4]|[+-]\d{1,2})?"
    r"(?:(?=(\s*(?:[:|](?=\s|$)|\|(?!\|)|-{1,2}\s)))|(?=[\s\])|,\[]|$|:[^\W\d_]|:\d{4}-))"
)
_ATTACHED = re.compile(r":(?=[^\W\d_])")  # ERROR:text
_CHANNEL = re.compile(r"([\w-]{1,64})\.([A-Z]{3,9}):(?=\s|$)")  # production.ERROR: of Laravel
_LETTER = re.compile(r"([VDIWEFT])(?:/(?=[^\s/])|(?=\s+(?:[A-Z][\w.]*[:\s]|-\s)))")  # E/Tag, E NETWORK
_TAGGED = re.compile(r"([VDIWEF])/(?=[\w.:-]{1,64}\s?(?:\(\s*\d+\))?:\s)")  # E/Tag(77): at the front of a line
_LETTER_FIRST = re.compile(r"([DIWEFA]),\s(?=\[\d{4}-)")  # E, [2026-...: of Ruby
_LETTER_IN_BRACKET = re.compile(r"\[([DIWECF])\s(?=\d)")  # [E 261120 ...] of Tornado
_NEUTRAL = re.compile(
    r"\[([^\[\]]{1,64})\]|\(([^()]{1,64})\)|#?(\d{1,10})(?=[\s\]|:,])"
    r"|((?:[\w$/@~+-]|\.(?=\w)|::){0,64}(?:[.@/\d$-]|::)(?:[\w$/@~+-]|\.(?=\w)|::){0,64})(?=[\s|:\]])|(?<=[-|]\s)(\w{1,64})(?=\s+[-|]\s)"
)
_WORD_IN_BRACKET = re.compile(r"([A-Z]{3,9})(?=/[^\s\]]{1,128}\])")  # [..: ERROR/MainProcess] of Celery
_REST_OF_BRACKET = re.compile(r"[/:]?\s*([^\s\]\[]{0,128})\]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_LEVEL_OF_NEXT_LINE = re.compile(r"([A-Z]{3,13}):\s")  # java.util.logging's second line


# Two looks that end the reading of most lines early: a word that no time, level or name of a logger begins with.
_PLAIN_START = re.compile(r"([^\W\d_]{2,})[ .,']")
_STARTS = frozenset(MONTHS) | DAY_NAMES | frozenset(word.lower() for word in _BARE_WORDS)
_PLAIN_WORD = re.compile(r"(?=[^\W\d_]*[a-z])[^\W\d_]{2,} +[^\s:|-]")


class _Level(NamedTuple):
    end: int
    number: int
    word: str
    origin: str = ""
    is_cut: bool = True


def read_front(text: str, reading: Reading) -> Front | None:
    """The front of a line; None when there is neither a time nor a level.

    Args:
        text: One line without its end.
        reading: For what a time does not say.
    """
    plain = _PLAIN_START.match(text)
    if plain and plain[1].lower() not in _STARTS:
        return None
    if "\x1b" in text:
        return _coloured(text, reading)
    walk = _Walk(text, reading)
    walk.run()
    return walk.front() if walk.stamp or walk.level else None


def level_of_next_line(text: str, start: int) -> tuple[int, str] | None:
    """The level with which the line at `start` begins, and its word."""
    found = _LEVEL_OF_NEXT_LINE.match(text, start)
    number = word_level(found[1]) if found and found[1] in _BARE_BEHIND_TIME | {"CONFIG", "FINE"} else None
    return (number, found[1]) if found and number is not None else None


def _coloured(text: str, reading: Reading) -> Front | None:
    """Colours are looked through at the front, and stay in the message."""
    codes = list(_COLOUR.finditer(text))
    front = read_front(_COLOUR.sub("", text).replace("\x1b", "\0"), reading)
    if front is None or not front.end:
        return front
    end = front.end
    for code in codes:
        if code.start() > end:
            break
        end += len(code[0])
    return front._replace(end=end)


@dataclass(slots=True)
class _Walk:
    """Goes over the tokens of a line's front."""

    text: str
    reading: Reading
    stamp: Stamp | None = None
    level: _Level | None = None
    at: int = 0
    end: int = 0
    is_open: bool = False
    whole_from: int | None = None
    pending: list[tuple[str, str, int]] = field(default_factory=list)
    between: list[tuple[str, str, int]] = field(default_factory=list)

    def run(self) -> None:
        """Walks until time and level are found, or something else stands there."""
        self._first_letter()
        for _ in range(_MOST_TOKENS):
            if self.stamp and self.level:
                break
            self._skip()
            if self.stamp and _PLAIN_WORD.match(self.text, self.at):
                break
            if not (self._closing() or self._time() or self._level() or self._neutral()):
                break
        self._close()

    def front(self) -> Front:
        """What was found."""
        attributes = self._between()
        time, severity = 0, 0
        if self.stamp:
            time = self.stamp.nanos or 0
            if self.stamp.text:
                attributes[TIME_TEXT] = self.stamp.text
            if not time:
                self._keep(0)
        if self.level:
            severity = self.level.number
            if self.level.origin and attributes.setdefault("origin", self.level.origin) != self.level.origin:
                self._keep(self.between[0][2])
            if says_more(self.level.word) and self.whole_from is None:
                attributes[LEVEL_TEXT] = self.level.word
        return Front(time, severity, attributes, self.whole_from if self.whole_from is not None else self._separator(self.end))

    def _between(self) -> dict[str, str]:
        """Attributes of what stood between; two of one kind stay in the message with all that follows them."""
        named: dict[str, str] = {}
        for name, value, _ in self.between:
            free = "tid" if name == "pid" and "pid" in named else name
            if not name or free in named:
                self._keep(self.between[0][2])
                return {}
            named[free] = value
        return named

    def _keep(self, start: int) -> None:
        self.whole_from = start if self.whole_from is None else min(start, self.whole_from)

    def _separator(self, at: int) -> int:
        found = _SEPARATOR.match(self.text, at)
        return found.end() if found else at

    def _skip(self) -> None:
        self.at = self._separator(self.at) if self.at else len(self.text) - len(self.text.lstrip())

    def _first_letter(self) -> None:
        """Forms whose first letter is a level: it is said again by the word behind the time, or is all there is."""
        found = _LETTER_IN_BRACKET.match(self.text)
        if found:
            self._take(_Level(found.end(), LETTERS[found[1]], found[1]))
            self.is_open = True
        found = _LETTER_FIRST.match(self.text)
        if found:
            self.at = found.end()

    def _closing(self) -> bool:
        if not self.is_open or self.text[self.at : self.at + 1] != "]":
            return False
        self.is_open = False
        self.at += 1
        if not self.pending:
            self.end = self.at
        return True

    def _accept(self, end: int) -> None:
        self.between += self.pending
        self.pending = []
        self.at = self.end = end

    def _take(self, level: _Level) -> None:
        self.level = level
        if not level.is_cut:
            self._keep(self.at)
        self._accept(level.end)

    def _time(self) -> bool:
        if self.stamp:
            return False
        opening = self.text[self.at : self.at + 1] in _OPENING
        stamp = stamp_at(self.text, self.at + opening, self.reading, numbers=opening or not self.at)
        if not stamp or not (stamp.is_dated or opening or self._is_clock(stamp)):
            return False
        closing = _CLOSING.match(self.text, stamp.end) if opening else None
        self.is_open = self.is_open or (opening and not closing)
        self.stamp = stamp
        self._accept(closing.end() if closing else stamp.end)
        return True

    def _is_clock(self, stamp: Stamp) -> bool:
        """Whether a clock without a date is a time and no duration: it has a fraction of a second, or a level stands beside it."""
        return (
            bool(self.level)
            or "." in stamp.text
            or "," in stamp.text
            or _level_at(self.text, self._separator(stamp.end), behind_time=True) is not None
        )

    def _level(self) -> bool:
        if self.level:
            return False
        level = _level_at(self.text, self.at, behind_time=self.stamp is not None, is_open=self.is_open)
        if level:
            self._take(level)
        return level is not None

    def _neutral(self) -> bool:
        found = _NEUTRAL.match(self.text, self.at)
        group = found.lastindex or 1 if found else 0
        # in front of a time only brackets without spaces: `[worker-1] ERROR`, not `[see below] ERROR`
        if not found or not (self.stamp or (group < 3 and " " not in found[group])):
            return False
        value = found[group]
        self.pending.append((_kind(group, value), value, self.at))
        self.at = found.end()
        return True

    def _close(self) -> None:
        """`[time LEVEL module] text`: what is left in the bracket is where the record comes from."""
        if not self.is_open or self.pending:
            if self.is_open:
                self._keep(0)
            return
        found = _REST_OF_BRACKET.match(self.text, self._separator(self.end))
        if not found:
            self._keep(0)
            return
        if found[1]:
            self.between.append(("origin", found[1], self.end))
        self.end = found.end()


def _kind(group: int, value: str) -> str:
    """The attribute that a token in between is; none for one that says nothing by itself, as `[0.012s]`."""
    if group == 3 or value.isdigit():
        return "pid"
    if group > 3:
        return "origin"
    return "thread" if value[0].isalpha() else ""


def _level_at(text: str, at: int, *, behind_time: bool, is_open: bool = False) -> _Level | None:
    """The level that begins here."""
    found = _BRACKETED.match(text, at)
    if found:
        return _bracketed(found, behind_time=behind_time)
    found = _WORD.match(text, at)
    if found:
        return _word(found, behind_time=behind_time)
    found = _WORD_IN_BRACKET.match(text, at) if is_open else None
    if found and found[1] in _BARE_WORDS:
        return _Level(found.end(), SEVERITY_WORDS[found[1].lower()], found[1])
    found = _CHANNEL.match(text, at) if behind_time else None
    if found and found[2] in _BARE_WORDS:
        return _Level(found.end(), SEVERITY_WORDS[found[2].lower()], found[2], origin=found[1])
    found = _LETTER.match(text, at) if behind_time else _TAGGED.match(text, at) if not at else None
    return _Level(found.end(), LETTERS[found[1]], found[1]) if found else None


def _bracketed(found: re.Match[str], *, behind_time: bool) -> _Level | None:
    """`[error    ]`: any level word, but at the front of a line without a time only those that are no words of a message."""
    module, word, steps = found.groups()
    is_letter = len(word) == 1
    if is_letter and not word.isupper():
        return None
    if not behind_time and word.upper() not in (_SURE_LETTERS if is_letter else _BARE_WORDS):
        return None
    number = _number(word, steps)
    return None if number is None else _Level(found.end(), number, word + (steps or ""), origin=module or "")


def _word(found: re.Match[str], *, behind_time: bool) -> _Level | None:
    """A word without brackets: in capitals, or set off by a mark behind it."""
    word, steps, mark = found.group(1, 2, 3)
    bare = _BARE_BEHIND_TIME if behind_time else _BARE_WORDS
    is_bare = word in bare
    if not is_bare and not mark:
        return None
    if not is_bare and not behind_time and (word.upper() not in _BARE_WORDS or not mark.startswith(":")):
        return None
    number = _number(word, steps)
    if number is None:
        return None
    # `error: no such file` without a time is a sentence of many programs: its level is read, and the sentence stays whole
    end = found.end() + bool(_ATTACHED.match(found.string, found.end()))
    return _Level(end, number, word + (steps or ""), is_cut=is_bare or behind_time)


def _number(word: str, steps: str | None) -> int | None:
    number = word_level(word)
    if not steps or number is None:
        return number
    if steps[0] in "+-":
        return stepped(word, steps) if word.lower() in _STEPPED else None
    return number if word.lower() == "trace" else word_level(word + steps)
