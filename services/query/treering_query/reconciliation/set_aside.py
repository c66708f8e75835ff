"""What a store need not have because a sink set it aside, or does without."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treering.admin import AdminClient
    from treering.quarantine import SinkName


class SetAside:
    """Runs of offsets of one log that a sink set aside, or does without."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self.runs = sorted(runs)
        self._ends = [end for _, end in self.runs]
        self.count = self.between(0, self._ends[-1] if self._ends else 0)

    @classmethod
    def of(cls, admin: "AdminClient", sink: "SinkName", log_id: int, end: int) -> "SetAside":
        """What is set aside below `end`."""
        found = admin.quarantine(sink, log_id=log_id, end_offset_exclusive=end).entries(timeout=admin.timeout) if end else ()
        return cls((each.first_offset, each.first_offset + each.record_count) for each in found)

    def between(self, first: int, end: int) -> int:
        """How many of the offsets from `first` to below `end` are set aside."""
        count, at = 0, bisect_right(self._ends, first)
        while at < len(self.runs) and self.runs[at][0] < end:
            count += min(self.runs[at][1], end) - max(self.runs[at][0], first)
            at += 1
        return count
