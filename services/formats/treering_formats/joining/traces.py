"""What continues an event: the lines of stack traces, statements and texts of several lines.

The forms are those that the runtimes print: the JVM, CPython, Go, Rust, .NET, Node, Ruby, PHP, Dart, and the logs of PostgreSQL and MySQL.
"""

import re
from collections.abc import Mapping

from treering_formats.joining.event import Event

_KINDS = {
    "java": r"Caused by: |Suppressed: |\.\.\. \d+ (?:more|common frames)|at [\w$.<>/]+\(|Wrapped by: ",
    "python": r"(?:Exception Group )?Traceback \(most recent call |During handling of the above|The above exception was"
    r"|(?:Current t|T)hread 0x\w+ \(most recent call|Extension modules: ",
    "go": r"goroutine \d+ .*\[|\[signal |created by |exit status \d|\[recovered\]",
    "rust": r"stack backtrace:|note: (?:run with|Some details|[Bb]acktrace)",
    "numbered": r"Stack trace:|\[stacktrace\]|\[previous exception\]|#0\s|thrown in .* on line ",
    "ruby": r"[\w./-]+\.rb:\d+:in |\(?eval.*\):\d+:in ",
    "dotnet": r"\s*---> |--- End of ",
    "node": r"Node\.js v\d|Require stack:|Emitted '\w+' event at:",
    "heap": r"Heap(?: after GC.*)?$|Desired survivor size|- age +\d|: \d+K->",
    "pem": r"-----BEGIN [A-Z ]+-----|-----END [A-Z ]+-----",
}
_ANYWHERE = re.compile("|".join(f"(?P<{kind}>{lines})" for kind, lines in _KINDS.items()))
# The name of an exception at the left margin: java.io.IOException: no, Error: no, ActionError (no):, App\Error: no
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_$][\w$]*(?:\.|::|\\))+[A-Z][\w$]*(?::\s|:$|$|\s\()"
    r"|(?:Uncaught )?[A-Z][\w$]*(?:Error|Exception|Interrupt|Exit|Throwable|Failure)(?::\s|:$|$|\s[\[(])"
    r"|(?:Error|Exception)(?::\s|$)|\*\* \(\w+"
)
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:::\s?|:\s|:$|$)")
_FRAME = re.compile(r"\s+(?:at |File \"|from |\.\.\. \d|\d+: |\||\+-)")
_FIRST_OF_CRASH = re.compile(r"(?:/|node:|file:|[A-Z]:\\)\S+:\d+$")
_POSTGRES = re.compile(r"(.*?)(?:LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG\d?): {2}")
_POSTGRES_MORE = re.compile(r"(.*?)(?:DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION|BACKTRACE): {2}")
_CSVLOG = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+,")
_DIGITS = re.compile(r"\d+")
_CLOSING = re.compile(r"[}\])]+[,;]?$|</")
_JSON_LINE = re.compile(r"[\"{}\[\],]|(?:-?\d|true|false|null)")
_FRAME_BEHIND = re.compile(r"(.{8,120}?:) ?(?:[ \t]+at |Caused by: |[ \t]+\.\.\. \d| {2}File \")")
_RAISED_BEHIND = re.compile(r"(.{8,120}?:) (?:    |[\w.]*(?:Error|Exception|Interrupt|Exit|Warning)(?::|$))")
# The first of two lines of java.util.logging: Nov 20, 2026 10:00:00 AM shop.Till open
_JUL_FIRST = re.compile(r"\D{0,12}\d[\d.,/ -]{0,20}\d,? ?\D{0,12}\d{0,4},? \d\d?:\d\d:\d\d(?:\.\d+)?(?:\s[AP]M)? [\w.$]++ [\w$<>]++$")
_JUL_SECOND = re.compile(r"[^\W\d_]{4,15}: ")
_SLOW_LOG = ("# Time: ", "# User@Host: ")


def indent(line: str) -> int:
    """How deep a line is indented, in characters."""
    return len(line) - len(line.lstrip())


def continues(line: str, event: Event, *, after_blank: bool) -> bool:
    """Whether a line without a head belongs to the event before it; marks the event with the kind of trace that it is."""
    last = event.lines[-1]
    if line[0] in " \t":
        return _is_deeper(line, event)
    if _is_second_of_two(line, event):
        return True
    found = _ANYWHERE.match(line)
    if found:
        event.kind = found.lastgroup or event.kind
        return True
    if line.startswith("panic: "):  # Go's log.Panic has said the same in its own line
        return event.has_head and event.lines[0].endswith(line[7:])
    if _EXCEPTION.match(line) and _takes_exceptions(event, last, after_blank=after_blank):
        return True
    return _continues_kind(line, event, last)


def _is_second_of_two(line: str, event: Event) -> bool:
    """Whether a line is the level and the words of java.util.logging, below the line with the time."""
    return len(event.lines) == 1 and _JUL_SECOND.match(line) is not None and _JUL_FIRST.match(event.lines[0]) is not None


def kind_of(line: str) -> str:
    """The kind of trace that a first line without a head begins; empty for none."""
    found = _ANYWHERE.match(line)
    return (found.lastgroup or "") if found else ""


def _is_deeper(line: str, event: Event) -> bool:
    """Indented lines belong to what they are indented below. Frames that come first have lost their front, and are one event, too."""
    first = event.lines[0]
    return first[0] not in " \t" or indent(line) > indent(first) or _FRAME.match(line) is not None


def _takes_exceptions(event: Event, last: str, *, after_blank: bool) -> bool:
    """Whether an exception at the left margin is the event's: below a logger's line, a traceback's frames, or the source that failed."""
    if event.has_head and not after_blank:
        return True
    return last[0] in " \t" and (event.kind == "python" or not last.strip(" \t^~-") or _FIRST_OF_CRASH.match(event.lines[0]) is not None)


_LINES_OF: Mapping[str, re.Pattern[str]] = {
    "go": re.compile(r"[^\s(]+(?:\([^\s()]*\)[^\s(]+)?\(.*\)$|r\w+ +0x|goroutine running on"),
    "numbered": re.compile(r"#\d+\s|\"\}"),
    "node": re.compile(r"- "),
    "pem": re.compile(r"[A-Za-z0-9+/=]{1,80}$|[A-Z][\w-]+: "),
    "json": _JSON_LINE,
}


def _continues_kind(line: str, event: Event, last: str) -> bool:
    """Whether a line at the left margin is one that only this kind of trace or text has."""
    lines = _LINES_OF.get(event.kind)
    if lines:
        return lines.match(line) is not None or _closes(line, last)
    if event.kind == "python" and last[0] in " \t" and _RAISED.match(line):
        return True
    return _closes(line, last) or _continues_first(event)


def _closes(line: str, last: str) -> bool:
    """Whether a line closes the brackets around indented ones, or is what a panic says, which stands on a line of its own."""
    return (last[0] in " \t" and _CLOSING.match(line) is not None) or (
        last.endswith(":") and ("panicked at " in last or last == "Unhandled exception:")
    )


def _continues_first(event: Event) -> bool:
    """Whether the event's first line begins a text in which lines stand at the left margin."""
    first = event.lines[0]
    if first.startswith("<Event"):
        return "</Event>" not in event.lines[-1]
    return first.startswith(("{Heap before", *_SLOW_LOG)) or _is_open_row(event)


def _is_open_row(event: Event) -> bool:
    """Whether the event is a row of PostgreSQL's csvlog in which a quoted value is not at its end."""
    return _CSVLOG.match(event.lines[0]) is not None and sum(line.count('"') for line in event.lines) % 2 == 1


def is_more_of(line: str, event: Event) -> bool:
    """Whether a line with a head belongs to the event before it all the same."""
    first = event.lines[0]
    if event.kind == "json":
        return _JSON_LINE.match(line) is not None
    if first[0] == "#" and first.startswith(_SLOW_LOG):
        return _is_in_slow_log(line, event.lines[-1])
    return (
        (":  " in line and ":  " in first and _is_postgres_detail(line, first))
        or (line[0].isalpha() and _is_second_of_two(line, event))
        or ((event.kind == "fronts" or _may_have_frame(line)) and _is_frame_behind_head(line, event))
    )


def _may_have_frame(line: str) -> bool:
    """Whether to look for a frame at all: asked of every line with a head, so it is searches for fixed texts."""
    return "\t" in line or "   " in line or ": Caused by: " in line


def _is_in_slow_log(line: str, last: str) -> bool:
    """Whether a line is part of an entry of the slow log: only the next entry, or the server's own start, ends it."""
    if line[0] == "#":
        return last.startswith("# Time: ") and line.startswith("# User@Host: ")
    return line[0] != "/"


def _is_postgres_detail(line: str, first: str) -> bool:
    """PostgreSQL writes DETAIL, HINT, CONTEXT and STATEMENT of an error as lines of the same front, but for the time."""
    more, front = _POSTGRES_MORE.match(line), _POSTGRES.match(first)
    if not more or not front or len(more[1]) > 200:
        return False
    return _DIGITS.sub("0", more[1]) == _DIGITS.sub("0", front[1]) and _pids(more[1]) == _pids(front[1])


def _is_frame_behind_head(line: str, event: Event) -> bool:
    """Whether a line is part of a trace of which syslog, or Android's logcat, has put a front before each line."""
    frame = _FRAME_BEHIND.match(line) or (_RAISED_BEHIND.match(line) if event.kind == "fronts" else None)
    if not frame:
        return False
    front = event.lines[0][: len(frame[1])]
    if _DIGITS.sub("0", frame[1]) != _DIGITS.sub("0", front) or _pids(frame[1]) != _pids(front):
        return False
    event.kind = "fronts"
    return True


def _pids(front: str) -> list[str]:
    return re.findall(r"\[(\d+)(?:-\d+)?\]", front)


def opens_json(line: str) -> bool:
    """Whether a line that is no JSON by itself begins a JSON text over several lines."""
    return line[0] in "{[" and line.rstrip()[-1] in "{[,"
