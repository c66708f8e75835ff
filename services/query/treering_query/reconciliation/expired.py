"""What a store need not have because retention removed it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treering.v1.admin_pb2 import ExpiredRange


class ExpiredRuns:
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
