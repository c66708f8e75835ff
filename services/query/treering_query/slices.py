"""Parts of the store, newest first: questions that need few records stop before they have read everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering_query.filters import Predicate
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot
from treering_query.store.view import Segment

SLICE_ROWS = 500_000
"""Records that are read together: about 50 ms of string search, so that a time budget is kept to within that."""

_COLUMNS = ", ".join(f'"{name}"' for name in LOGS_SCHEMA.names)
_NO_SEGMENT = Predicate(end_time=0)


@dataclass(frozen=True)
class Slice:
    """What is read together: some segments, or what is hot, or both."""

    segments: tuple[Segment, ...]
    hot: bool = False
    older_than: int = 0
    """The time of the last record in all later slices, nanoseconds since 1970; 0 after the last one."""

    @property
    def records(self) -> str:
        """A relation of SQL with the columns of `logs`."""
        if not self.segments:
            return "_hot"
        names = ", ".join("'" + str(segment.path).replace("'", "''") + "'" for segment in self.segments)
        sealed = f"read_parquet([{names}])"
        return f"(select {_COLUMNS} from {sealed} union all select {_COLUMNS} from _hot)" if self.hot else sealed

    def query(self, snapshot: Snapshot, sql: str, parameters: Mapping[str, object]) -> pa.Table:
        """Runs a SELECT over `records`.

        Raises:
            DamagedSegmentError: One of the segments is known to be damaged.
        """
        snapshot.reads(self.segments)
        return snapshot.query(sql, parameters, within=_NO_SEGMENT)


def newest_first(snapshot: Snapshot, within: Predicate) -> Iterator[Slice]:
    """What is hot, then the sealed segments that may hold what is asked for, by the time of their last record."""
    segments = sorted(snapshot.segments(within), key=lambda segment: (segment.last_time, segment.segment_id), reverse=True)
    groups = [(), *_groups(segments)]
    for group, later in zip(groups, [*groups[1:], ()], strict=True):
        yield Slice(group, not group, later[0].last_time if later else 0)


def between(snapshot: Snapshot, log_id: int, first_offset: int, end_offset: int) -> Slice:
    """What may hold records of one log from `first_offset` to below `end_offset`."""
    segments = (segment for segment in snapshot.segments() if _reaches(segment, log_id, first_offset, end_offset))
    return Slice(tuple(segments), hot=True)


def _reaches(segment: Segment, log_id: int, first_offset: int, end_offset: int) -> bool:
    runs = (run for run in segment.ranges if run.log_id == log_id)
    return any(run.first_offset < end_offset and run.end_offset > first_offset for run in runs)


def _groups(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    group: list[Segment] = []
    for segment in segments:
        if group and sum(member.row_count for member in group) + segment.row_count > SLICE_ROWS:
            yield tuple(group)
            group = []
        group.append(segment)
    if group:
        yield tuple(group)
