"""What records begin with: times, levels and priorities of every common logger, and forms that are learned from a stream itself."""

import re
from itertools import islice

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\.?,?\s+"
_LEVELS = (
    "TRACE|DEBUG|INFO|INFORMATION|NOTICE|WARN|WARNING|ERROR|ERR|CRIT|CRITICAL|ALERT|EMERG|EMERGENCY|FATAL|PANIC|SEVERE|FINE|FINER|FINEST"
)

HEAD = re.compile(
    "|".join(
        (
            r"[\[(\"']?\d{4}[-/.]\d\d?[-/.]\d\d?(?!\d)",  # 2026-11-20, [2026/11/20
            r"[A-Z],\s\[\d{4}-",  # E, [2026-11-20: Ruby
            r"[IWEFDV]\d{4}\s\d\d:\d\d",  # E1120 10:00: klog
            r"\[?\d\d[/.-]\d\d[/.-]\d\d(?:\d\d)?[\sT,:]",  # 20/11/2026, 11-20-26
            rf"\[?(?:{_DAY})?{_MONTH}\s+\d\d?[\s,]",  # Fri Nov 20, Nov 20
            rf"\[?(?:{_DAY})?\d\d?[\s/-]{_MONTH}[\s/-]\d\d",  # Fri, 20 Nov 2026, 20/Nov/2026
            r"\[?\d\d?:\d\d:\d\d(?!\d)",  # 10:00:00
            r"\d\d-\d\d\s\d\d:\d\d:\d\d",  # 11-20 10:00:00: logcat
            r"\[?\d{8}[T\s-]\d\d:?\d\d|\d{6}\s[\s\d]\d:?\d\d:?\d\d\s",  # 20261120T10, 261120 10:00:00
            r"\[?1\d{9}(?:[.,]\d+|\d{3}|\d{6}|\d{9})?[\s:|,\]]",  # seconds since 1970 and finer
            r"(?:<\d{1,3}>)",  # the priority of syslog
            r"\[\s*\d+\.\d{3,9}s?\]",  # [    0.123456]: the kernel, [0.012s]: the JVM
            rf"[\[(<]?\s?(?:{_LEVELS})(?=[\s:\]|)>,-])",
            r"\[?(?:trace|dbug|debug|info|notice|warn|warning|error|err|fail|crit|critical|alert|fatal)(?:\]|:\s)",
            r"(?:time|ts|t|timestamp|level|lvl|at|msg|type)=\S",  # logfmt
            r"\S{2,45} \S+ \S+ \[\d\d/",  # an access log
            r"# (?:Time|User@Host): ",  # the slow log of MySQL
            r"#(?:Software|Version|Date|Fields|Start-Date|End-Date|Remark|GMT-Offset): ?",  # W3C
            r"\d+:[A-Z] \d\d? \w{3} \d{4}",  # Redis
            r"(?:CEF|LEEF):\d",
        )
    )
)
"""The front of a line that begins a record, whatever stands before it."""

CRASH = re.compile(
    r"Exception in thread |Unhandled (?:[Ee]xception|[Rr]ejection)|Uncaught |thread '[^']*' (?:\(\d+\) )?panicked at|panic: "
    r"|fatal error: |PHP (?:Fatal|Parse|Warning|Notice|Deprecated|Recoverable)|(?:Fatal|Parse) error: |Fatal Python error"
    r"|terminate called|Segmentation fault"
)
"""The front of what a runtime prints when a program ends: a record of its own, also where records have heads."""

_PIECES = re.compile(r"(\d+)|([^\W\d_]+)|(\s+)|(.)", re.DOTALL)
_FORMS = {1: r"\d+", 3: r"\s+"}
_WORD = 2
_PIECES_OF_A_FORM = 9


def form(line: str) -> str | None:
    """An expression for lines that begin as this one does; None when its front is words, which say nothing of records.

    A front such as `#0017|` or `[77]` can be the form of a logger nobody knows.
    """
    front = ""
    for match in islice(_PIECES.finditer(line), _PIECES_OF_A_FORM):
        if match.lastindex == _WORD:
            break
        front += _FORMS.get(match.lastindex or 0) or re.escape(match[0])
    return front if r"\d" in front and front != r"\d+" and not front.startswith(r"\d+\s") else None


class Learned:
    """The form that the first lines of a lane share, where none of them has a known head."""

    _LINES = 64
    _ENOUGH = 4

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._seen = 0
        self.pattern: re.Pattern[str] | None = None

    def see(self, line: str) -> int:
        """Counts the form of a line without a known head. Four of at most five first lines make a form the lane's.

        Returns:
            How many lines had the form that this line makes the lane's; 0 as long as it has none, and later.
        """
        self._seen += 1
        if self.pattern or self._seen > self._LINES:
            return 0
        found = form(line)
        if not found:
            return 0
        count = self._counts[found] = self._counts.get(found, 0) + 1
        if count < self._ENOUGH or count * 5 < self._seen * 4:
            return 0
        self.pattern = re.compile(found)
        return count
