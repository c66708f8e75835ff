"""What is new for tails: which of the new records each filter selects, and these records once for all."""

import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.reading.places import PLACE, records_at
from treering_query.reading.records import row_sizes, stored_records
from treering_query.reading.slices import Slice, first_held, fresh
from treering_query.streams.hub import Feed, marks
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.snapshot import Snapshot
from treering_runtime.fitting import count_fitting
from treering_runtime.resources import unfolded_bytes

_Numbers = npt.NDArray[np.uint64]

WINDOW_OFFSETS = 100_000
"""Offsets that are looked at together: the rest waits for its turn."""


class _Content:
    """Records, and the messages that were made of them."""

    def __init__(self, records: pa.Table) -> None:
        self.records = records
        self.sizes = row_sizes(records)
        self.made: dict[int, StoredRecord] = {}


class SharedRecords:
    """Some records, for whoever wants one of them, as messages; until they are dropped, because there are too many of them by now.

    Read by the event loop; may be dropped from another thread at any moment.
    """

    def __init__(self, records: pa.Table) -> None:
        content = _Content(records)
        self._content: _Content | None = content
        # Of the table. The messages that are made of it come on top and are about as large.
        self._size_bytes = int(content.sizes.sum())

    @property
    def size_bytes(self) -> int:
        """What they take, about; 0 when they were dropped."""
        return self._size_bytes if self._content else 0

    def drop(self) -> None:
        """Gives back the memory."""
        # One assignment: the loop works with the content that it has taken, or finds None.
        self._content = None

    def first(self, rows: npt.NDArray[np.int64], budget: int) -> list[StoredRecord] | None:
        """The first of some rows, as many as fit into `budget` bytes of an answer; at least one.

        Each message is made once for all. None when not all of them are there.
        """
        # Taken once: another thread may drop it between two lines.
        content = self._content
        if content is None or (rows < 0).any():
            return None
        # At least one, or a record larger than the budget would stop its tail for ever; and only what no tail has asked for yet.
        wanted = rows[: count_fitting(content.sizes[rows].tolist(), budget)].tolist()
        missing = [row for row in wanted if row not in content.made]
        if missing:
            content.made |= dict(zip(missing, stored_records(content.records.take(missing)), strict=True))
        return [content.made[row] for row in wanted]


@dataclass(frozen=True)
class Found:
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

    def __getitem__(self, rows: slice) -> "Found":
        offsets, patterns = self.offsets[rows], self.patterns[rows]
        return Found(self.new, offsets, patterns, self.older[:0], self.shared, self.rows[rows])

    def at_or_after(self, offset: int) -> "Found":
        """What is not below an offset; `older` as well."""
        begin = int(np.searchsorted(self.offsets, np.uint64(offset)))
        older = self.older[np.searchsorted(self.older, np.uint64(offset)) :]
        return Found(self.new, self.offsets[begin:], self.patterns[begin:], older, self.shared, self.rows[begin:])

    def places(self) -> pa.Table:
        """The columns of `PLACE`."""
        logs = np.full(len(self), self.new.log_id, np.uint64)
        return pa.table({"log_id": logs, "offset": self.offsets, "pattern_id": self.patterns})


class TailFeed(Feed[Found]):
    """Keeps places, of the newest records only, so that a slow reader costs little; how many were left out is counted.

    Args:
        predicate: What is wanted.
        next_offsets: The follower's place in each log, as it is at each moment: what lies below has been sent.
    """

    def __init__(self, predicate: Predicate, next_offsets: Mapping[int, int]) -> None:
        super().__init__(predicate)
        self.skipped = 0
        self._next = next_offsets
        self._items: deque[Found] = deque()
        self._count = 0

    def put(self, item: Found) -> None:
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

    def take(self) -> Found:
        """The oldest ones; there must be some."""
        oldest = self._items.popleft()
        self._count -= len(oldest)
        return oldest

    def put_back(self, rest: Found) -> None:
        """Has for the next time what was taken and not used."""
        if len(rest):
            self._items.appendleft(rest)
            self._count += len(rest)

    def is_empty(self) -> bool:
        """True when nothing is left to take."""
        return not self._items


class TailReader:
    """Reads new records for all tails: one statement says which filters select which, and the selected ones are read once."""

    def __init__(self) -> None:
        # Weak: records that no feed wants any more go without the reader's help.
        self._kept: deque[weakref.ref[SharedRecords]] = deque()

    def has_nothing(self, snapshot: Snapshot) -> bool:
        """Any record may be selected."""
        del snapshot
        return False

    def read(self, snapshot: Snapshot, new: LogRange, predicates: Sequence[Predicate]) -> tuple[int, Sequence[Sequence[Found]]]:
        """What each filter selects, in one `Found` or none."""
        # Offsets below may have expired since the last look.
        begin = first_held(snapshot, new)
        part_of_it = LogRange(new.log_id, begin, min(new.end_offset, begin + WINDOW_OFFSETS))
        if begin == new.end_offset:
            return begin, [()] * len(predicates)
        part, records = fresh(snapshot, part_of_it)
        marked = _marked(snapshot, part, part_of_it, predicates)
        chosen = [np.flatnonzero(marked.column(f"s{number}").to_numpy()) for number in range(len(predicates))]
        # A union of rows, so a record that many filters select is read once; the newest where not all fit.
        shown = np.unique(np.concatenate([rows[-limits.MAX_TAIL_BEHIND_RECORDS :] for rows in chosen]))[-_shared_rows(part, records) :]
        shared = self._shared(snapshot, part, records, marked.take(shown))
        # -1 = not shared: whoever wants it reads it alone.
        in_shared = np.full(marked.num_rows, -1)
        in_shared[shown] = np.arange(len(shown))
        return part_of_it.end_offset, [_found(part_of_it, marked, rows, shared, in_shared) for rows in chosen]

    def finished(self, snapshot: Snapshot) -> None:
        """There is nothing to take note of."""

    def _shared(self, snapshot: Snapshot, part: Slice, records: pa.Table, places: pa.Table) -> SharedRecords:
        """The records at some places; older ones are dropped to make room."""
        found = records_at(snapshot, part, places, hot_records=records).sort_by("offset") if places.num_rows else records.slice(0, 0)
        # Places and records are of one snapshot. If they differ, the rows below would be those of other records.
        if found.num_rows != places.num_rows:
            raise RuntimeError(f"{places.num_rows} records were found, and {found.num_rows} of them read")
        shared = SharedRecords(found)
        self._kept.append(weakref.ref(shared))
        alive = [each for each in (reference() for reference in self._kept) if each is not None]
        self._kept = deque(map(weakref.ref, alive))
        for each in alive[:-1]:
            # From the oldest on, until the rest fits; the one just made always stays.
            if sum(one.size_bytes for one in alive) > limits.TAIL_SHARED_BYTES:
                each.drop()
        return shared


def _marked(snapshot: Snapshot, part: Slice, new: LogRange, predicates: Sequence[Predicate]) -> pa.Table:
    """Places of the records that a filter selects, by offset, with a column for each filter."""
    columns, values = marks(predicates)
    any_of = " or ".join(f"s{number}" for number in range(len(predicates)))
    sql = f"""select * from (select {PLACE}, {columns} from {part.records}
        where log_id = $log::ubigint and "offset" >= $begin::ubigint and "offset" < $end::ubigint) where {any_of}"""
    values |= {"log": new.log_id, "begin": new.first_offset, "end": new.end_offset}
    # Sorted here: the database keeps no order among its threads.
    return part.query(snapshot, sql, values).sort_by("offset")


def _shared_rows(part: Slice, records: pa.Table) -> int:
    """How many records take about as much memory as all that are shared may."""
    size = records.nbytes + unfolded_bytes(records.column("resource"))
    sizes: list[int] = [1, size // max(1, records.num_rows)]
    sizes += [segment.memory_bytes // max(1, segment.row_count) for segment in part.segments]
    return max(1, limits.TAIL_SHARED_BYTES // max(sizes))


def _found(
    new: LogRange, marked: pa.Table, rows: npt.NDArray[np.int64], shared: SharedRecords, in_shared: npt.NDArray[np.int64]
) -> Sequence[Found]:
    if not len(rows):
        return ()
    offsets, patterns = (marked.column(name).to_numpy() for name in ("offset", "pattern_id"))
    older, kept = rows[: -limits.MAX_TAIL_BEHIND_RECORDS], rows[-limits.MAX_TAIL_BEHIND_RECORDS :]
    return (Found(new, offsets[kept], patterns[kept], offsets[older], shared, in_shared[kept]),)
