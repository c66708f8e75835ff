"""What stands at the front of a line of text: a time, a level, and between them a process, a thread, a logger.

The front is read token by token. Time and level may stand in either order; what stands between or before them is skipped only if one of
them follows, and becomes an attribute. What is behind the second of the two is the message, as it is written.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from treering_formats.calendar_names import DAY_NAMES, MONTHS
from treering_formats.levels import LETTERS, says_more
from treering_formats.standing_levels import BARE_WORDS, Level, level_at
from treering_formats.times import Stamp, TimeReading, stamp_at

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
# A separator belongs to the layout only where it stands free: what is written in front of the next word is the message's.
_SEPARATOR = re.compile(r"\|(?!\|)\s*|\s*(?:[:,](?=\s|$)|\|(?=\s|$)|-{1,2}(?=\s|$))?\s*")
_CLOSING = re.compile(r"\s*[\])>]")
_OPENING = frozenset("[(<")
_LETTER_FIRST = re.compile(r"([DIWEFA]),\s(?=\[\d{4}-)")  # E, [2026-...: of Ruby
_LETTER_IN_BRACKET = re.compile(r"\[([DIWECF])\s(?=\d)")  # [E 261120 ...] of Tornado
_NEUTRAL = re.compile(
    r"\[([^\[\]]{1,64})\]|\(([^()]{1,64})\)|#?(\d{1,10})(?=[\s\]|:,])"
    r"|((?:[\w$/@~+-]|\.(?=\w)|::){0,64}(?:[.@/\d$-]|::)(?:[\w$/@~+-]|\.(?=\w)|::){0,64})(?=[\s|:\]])|(?<=[-|]\s)(\w{1,64})(?=\s+[-|]\s)"
)
_SOURCE = re.compile(r"([\w.-]{1,64})\s*\|\s")  # web-1  | text of Docker Compose
# What may stand before a level and stays in the message: one word, as the name of a Python logger, or pairs, as Sidekiq writes them.
_UNNAMED = re.compile(r"(?:[A-Za-z_]\w{0,63}\s{1,32}|(?:[\w.-]{1,64}=\S{1,128}\s+){1,6})(?=[A-Z]{3,9}[\s:])")
_ATTACHED = re.compile(r":(?=[^\W\d_])")  # 10:00:00:text
_THREAD = re.compile(r"[^\W\d_][\w .:#@/$-]*")
_REST_OF_BRACKET = re.compile(r"[/:]?\s*([^\s\]\[]{0,128})\]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")

# Two looks that end the reading of most lines early: a word that no time, level or name of a logger begins with.
_PLAIN_START = re.compile(r"([^\W\d_]{2,})[ .,'](?!\s*\|)")
_STARTS = frozenset(MONTHS) | DAY_NAMES | frozenset(word.lower() for word in BARE_WORDS)
_PLAIN_WORD = re.compile(r"(?=[^\W\d_]*[a-z])[^\W\d_]{2,} +[^\sA-Z:|-]")


def read_front(text: str, reading: TimeReading) -> Front | None:
    """The front of a line; None when there is neither a time nor a level.

    Args:
        text: One line without its end.
        reading: For what a time does not say.
    """
    plain = _PLAIN_START.match(text)
    if plain and plain[1].lower() not in _STARTS:
        return None
    return _coloured(text, reading) if "\x1b" in text else _walked(text, reading)


def _walked(text: str, reading: TimeReading) -> Front | None:
    walk = _Walk(text, reading)
    walk.run()
    return walk.front() if walk.stamp or walk.level else None


def _coloured(text: str, reading: TimeReading) -> Front | None:
    """Colours are looked through at the front, and stay in the message."""
    codes = list(_COLOUR.finditer(text))
    front = _walked(_COLOUR.sub("", text), reading)
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
    reading: TimeReading
    stamp: Stamp | None = None
    level: Level | None = None
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
            self._take(Level(found.end(), LETTERS[found[1]], found[1]))
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

    def _take(self, level: Level) -> None:
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
        end = closing.end() if closing else stamp.end
        self._accept(end + bool(_ATTACHED.match(self.text, end)))
        return True

    def _is_clock(self, stamp: Stamp) -> bool:
        """Whether a clock without a date is a time and no duration: it has a fraction of a second, or a level stands beside it."""
        return (
            bool(self.level)
            or "." in stamp.text
            or "," in stamp.text
            or level_at(self.text, self._separator(stamp.end), behind_time=True) is not None
        )

    def _level(self) -> bool:
        if self.level:
            return False
        level = level_at(self.text, self.at, behind_time=self.stamp is not None, is_open=self.is_open)
        if level:
            self._take(level)
        return level is not None

    def _neutral(self) -> bool:
        found = _NEUTRAL.match(self.text, self.at)
        group = found.lastindex or 1 if found else 0
        # in front of a time only brackets without spaces: `[worker-1] ERROR`, not `[see below] ERROR`
        if found and (self.stamp or (group < 3 and " " not in found[group])):
            return self._defer(found, _kind(group, found[group]), found[group])
        source = _SOURCE.match(self.text) if not self.at else None
        if source:
            return self._defer(source, "origin", source[1])
        unnamed = _UNNAMED.match(self.text, self.at) if self.stamp else None
        return self._defer(unnamed, "", "") if unnamed else False

    def _defer(self, found: re.Match[str], name: str, value: str) -> bool:
        self.pending.append((name, value, self.at))
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
    """The attribute that a token in between is; none for one that says nothing by itself, as `[0.012s]` or a dash."""
    if group == 3 or value.isdigit():
        return "pid"
    if group > 3:
        return "origin" if any(map(str.isalnum, value)) else ""
    return "thread" if _THREAD.fullmatch(value) else ""
