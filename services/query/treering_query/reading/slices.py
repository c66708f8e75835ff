"""Parts of the store, newest first: questions that need few records stop before they have read everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query.values.predicate import Predicate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.sealed_records import sealed_records
from treering_query.values.segment import LogRange, Segment, in_both_forms
from treering_query.view.hot import Chunk
from treering_query.view.snapshot import Snapshot

SLICE_ROWS = 500_000
"""Records that are read together: about 50 ms of string search, so that a time budget is kept to within that."""

_COLUMNS = ", ".join(f'"{name}"' for name in LOGS_SCHEMA.names)
_FRESH = "_fresh"
# With it `logs` would have no segments: the statement names its files itself.
_NO_SEGMENT = Predicate(end_time=0)


@dataclass(frozen=True)
class Slice:
    """What is read together: some segments, or what is hot, or both."""

    segments: tuple[Segment, ...]
    hot: bool = False
    older_than: int = 0
    """The time of the last record in all later slices, nanoseconds since 1970; 0 after the last one."""
    hot_name: str = "_hot"
    """The relation of what is hot."""

    @property
    def records(self) -> str:
        """A relation of SQL with the columns of `logs`."""
        if not self.segments:
            return self.hot_name
        sealed = sealed_records(*in_both_forms(self.segments))
        return f"(select {_COLUMNS} from {sealed} union all select {_COLUMNS} from {self.hot_name})" if self.hot else sealed

    def query(self, snapshot: Snapshot, sql: str, parameters: Mapping[str, object]) -> pa.Table:
        """Runs a SELECT over `records`.

        Raises:
            DamagedSegmentError: One of the segments is known to be damaged.
        """
        # The snapshot sees no files in the statement, so it is told: damage is refused and searched for by this.
        snapshot.reads(self.segments)
        return snapshot.query(sql, parameters, within=_NO_SEGMENT)


def newest_first(snapshot: Snapshot, within: Predicate) -> Iterator[Slice]:
    """What is hot, then the sealed segments that may hold what is asked for, by the time of their last record."""
    # By the last time: what comes later in this order can still be newer than the first record of an earlier one, never than its last.
    segments = sorted(snapshot.segments(within), key=lambda segment: (segment.last_time, segment.segment_id), reverse=True)
    groups = [(), *together(segments)]
    for group, later in zip(groups, [*groups[1:], ()], strict=True):
        # What is hot is the first, alone: it has no bound of times, and costs no file.
        yield Slice(group, not group, later[0].last_time if later else 0)


def between(snapshot: Snapshot, log_id: int, first_offset: int, end_offset: int) -> Slice:
    """What may hold records of one log from `first_offset` to below `end_offset`."""
    segments = (segment for segment in snapshot.segments() if _reaches(segment, log_id, first_offset, end_offset))
    return Slice(tuple(segments), hot=True)


def first_held(snapshot: Snapshot, wanted: LogRange) -> int:
    """The first offset of a range that may be held; its end when none is."""
    runs = (run for segment in snapshot.segments() for run in segment.ranges if run.log_id == wanted.log_id)
    sealed = [max(run.first_offset, wanted.first_offset) for run in runs if run.end_offset > wanted.first_offset]
    # Hot chunks are in the order of arrival: the first that has some has the first.
    hot_offsets = (offsets[0] for offsets in map(partial(_offsets, wanted), snapshot.view.hot) if len(offsets))
    return min([*sealed, int(next(hot_offsets, wanted.end_offset)), wanted.end_offset])


def fresh(snapshot: Snapshot, new: LogRange) -> tuple[Slice, pa.Table]:
    """As `between`, where what is hot is narrowed to the range; and that, without a copy where it lies together.

    Records are in the order in which they came: from the newest chunk backwards, the first one that holds an older record is the last one
    that is looked at.
    """
    tables: list[pa.Table] = []
    for chunk in reversed(snapshot.view.hot):
        logs, offsets = (chunk.table.column(name).to_numpy() for name in ("log_id", "offset"))
        of_log = logs == new.log_id
        rows = np.flatnonzero(of_log & (offsets >= new.first_offset) & (offsets < new.end_offset))
        if len(rows):
            # A chunk may hold several logs; mostly it holds one, and a slice of it copies nothing.
            together = rows[-1] - rows[0] + 1 == len(rows)
            tables.insert(0, chunk.table.slice(rows[0], len(rows)) if together else chunk.table.take(rows))
        # Older chunks hold older offsets of this log only.
        if (of_log & (offsets < new.first_offset)).any():
            break
    records = pa.concat_tables([LOGS_SCHEMA.empty_table(), *tables])
    # Of this snapshot only; the next call replaces it.
    snapshot.register(_FRESH, records)
    return replace(between(snapshot, new.log_id, new.first_offset, new.end_offset), hot_name=_FRESH), records


def _offsets(wanted: LogRange, chunk: Chunk) -> npt.NDArray[np.uint64]:
    """Offsets of a chunk that are in a range or above it, ascending."""
    logs, offsets = (chunk.table.column(name).to_numpy() for name in ("log_id", "offset"))
    found: npt.NDArray[np.uint64] = offsets[(logs == wanted.log_id) & (offsets >= wanted.first_offset)]
    return found


def _reaches(segment: Segment, log_id: int, first_offset: int, end_offset: int) -> bool:
    runs = (run for run in segment.ranges if run.log_id == log_id)
    return any(run.first_offset < end_offset and run.end_offset > first_offset for run in runs)


def together(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    """The segments, in their order, those together that are read together."""
    group: list[Segment] = []
    for segment in segments:
        # A segment is never split: a large one is a group by itself.
        if group and sum(member.row_count for member in group) + segment.row_count > SLICE_ROWS:
            yield tuple(group)
            group = []
        group.append(segment)
    if group:
        yield tuple(group)
