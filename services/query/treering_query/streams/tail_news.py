"""What is new for tails: which of the new records each filter selects, and these records once for all."""

import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query import limits
from treering_query.reading.places import PLACE, records_at
from treering_query.reading.slices import Slice, first_held, fresh
from treering_query.streams.hub import marks
from treering_query.streams.shared_records import SharedRecords
from treering_query.streams.tail_feed import TailMatches
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.snapshot import Snapshot
from treering_runtime.resources import unfolded_bytes

_Numbers = npt.NDArray[np.uint64]

WINDOW_OFFSETS = 100_000
"""Offsets that are looked at together: the rest waits for its turn."""


class TailReader:
    """Reads new records for all tails: one statement says which filters select which, and the selected ones are read once."""

    def __init__(self) -> None:
        # Weak: records that no feed wants any more go without the reader's help.
        self._kept: deque[weakref.ref[SharedRecords]] = deque()

    def has_nothing(self, snapshot: Snapshot) -> bool:
        """Any record may be selected."""
        del snapshot
        return False

    def read(self, snapshot: Snapshot, new: LogRange, predicates: Sequence[Predicate]) -> tuple[int, Sequence[Sequence[TailMatches]]]:
        """What each filter selects, in one `TailMatches` or none."""
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
) -> Sequence[TailMatches]:
    if not len(rows):
        return ()
    offsets, patterns = (marked.column(name).to_numpy() for name in ("offset", "pattern_id"))
    older, kept = rows[: -limits.MAX_TAIL_BEHIND_RECORDS], rows[-limits.MAX_TAIL_BEHIND_RECORDS :]
    return (TailMatches(new, offsets[kept], patterns[kept], offsets[older], shared, in_shared[kept]),)
