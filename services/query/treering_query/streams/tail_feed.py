"""What waits for one tail: places of records."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query import limits
from treering_query.streams.feed import Feed
from treering_query.streams.shared_records import SharedRecords
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange

_Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TailMatches:
    """What a filter selects of a range of one log: places, ascending, at most as many as a tail may lag behind."""

    new: LogRange
    """Everything that is selected below its end is in this one, or in an earlier one."""
    offsets: _Numbers
    patterns: _Numbers
    older: _Numbers
    """Offsets that were left out, because there are too many."""
    shared: SharedRecords
    rows: npt.NDArray[np.int64]
    """Where each is in `shared`; -1 where it is not."""

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: slice) -> "TailMatches":
        offsets, patterns = self.offsets[rows], self.patterns[rows]
        return TailMatches(self.new, offsets, patterns, self.older[:0], self.shared, self.rows[rows])

    def at_or_after(self, offset: int) -> "TailMatches":
        """What is not below an offset; `older` as well."""
        begin = int(np.searchsorted(self.offsets, np.uint64(offset)))
        older = self.older[np.searchsorted(self.older, np.uint64(offset)) :]
        return TailMatches(self.new, self.offsets[begin:], self.patterns[begin:], older, self.shared, self.rows[begin:])

    def places(self) -> pa.Table:
        """The columns of `PLACE`."""
        logs = np.full(len(self), self.new.log_id, np.uint64)
        return pa.table({"log_id": logs, "offset": self.offsets, "pattern_id": self.patterns})


class TailFeed(Feed[TailMatches]):
    """Keeps places, of the newest records only, so that a slow reader costs little; how many were left out is counted.

    Args:
        predicate: What is wanted.
        next_offsets: The follower's place in each log, as it is at each moment: what lies below has been sent.
    """

    def __init__(self, predicate: Predicate, next_offsets: Mapping[int, int]) -> None:
        super().__init__(predicate)
        self.skipped = 0
        self._next = next_offsets
        self._items: deque[TailMatches] = deque()
        self._count = 0

    def put(self, item: TailMatches) -> None:
        """Takes some places, and forgets the oldest ones when there are too many."""
        # What the follower has read alone already is not put in again.
        wanted = item.at_or_after(self._next.get(item.new.log_id, 0))
        self.skipped += len(wanted.older)
        if len(wanted):
            self._items.append(wanted)
            self._count += len(wanted)
        # The oldest go: who follows a tail wants what is new.
        while self._count > limits.MAX_TAIL_BEHIND_RECORDS:
            excess, oldest = self._count - limits.MAX_TAIL_BEHIND_RECORDS, self.take()
            self.skipped += min(excess, len(oldest))
            self.put_back(oldest[excess:])
        self.wake()

    def take(self) -> TailMatches:
        """The oldest ones; there must be some."""
        oldest = self._items.popleft()
        self._count -= len(oldest)
        return oldest

    def put_back(self, rest: TailMatches) -> None:
        """Has for the next time what was taken and not used."""
        if len(rest):
            self._items.appendleft(rest)
            self._count += len(rest)

    def is_empty(self) -> bool:
        """True when nothing is left to take."""
        return not self._items
