"""What a store need not have: what was set aside, is in a hole, or was removed by retention."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treering.admin import AdminClient
    from treering.quarantine import SinkName
    from treering.v1.admin_pb2 import ExpiredRange


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


class Expired:
    """Runs of offsets of which retention removed records, and how many were found missing there."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}
        self._here: dict[tuple[int, int], int] = {}
        self.found = 0

    @property
    def removed(self) -> int:
        """As many as retention removed."""
        return sum(self._counts.values())

    def learn(self, ranges: Iterable["ExpiredRange"]) -> None:
        """Takes what the store says beside a part of it; it says the same run of several parts, and several times when it removed twice."""
        self._here = {}
        for each in ranges:
            run = each.first_offset, each.end_offset_exclusive
            self._here[run] = self._here.get(run, 0) + each.record_count
        self._counts |= self._here

    def between(self, first: int, end: int) -> int:
        """The most that may be missing from `first` to below `end`, within the part that was learnt last."""
        found = sum(
            min(count, min(run[1], end) - max(run[0], first)) for run, count in self._here.items() if run[0] < end and run[1] > first
        )
        return min(found, end - first)
