"""Parts of the store, newest first: questions that need few records stop before they have read everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering_query.filters import Predicate
from treering_query.store.snapshot import Snapshot
from treering_query.store.view import Segment

SLICE_ROWS = 500_000
"""Records that are read together: about 50 ms of string search, so that a time budget is kept to within that."""

_NO_SEGMENT = Predicate(end_time=0)


@dataclass(frozen=True)
class Slice:
    """Some segments that are read together, or what is hot when there are none."""

    segments: tuple[Segment, ...]
    older_than: int
    """The time of the last record in all later slices, nanoseconds since 1970; 0 after the last one."""

    @property
    def records(self) -> str:
        """A relation of SQL with the columns of `logs`."""
        if not self.segments:
            return "_hot"
        names = ", ".join("'" + str(segment.path).replace("'", "''") + "'" for segment in self.segments)
        return f"read_parquet([{names}])"

    def query(self, snapshot: Snapshot, sql: str, parameters: Mapping[str, object]) -> pa.Table:
        """Runs a SELECT over `records`."""
        return snapshot.query(sql, parameters, within=_NO_SEGMENT)


def newest_first(snapshot: Snapshot, within: Predicate) -> Iterator[Slice]:
    """What is hot, then the sealed segments that may hold what is asked for, by the time of their last record."""
    segments = sorted(snapshot.segments(within), key=lambda segment: (segment.last_time, segment.segment_id), reverse=True)
    groups = [(), *_groups(segments)]
    for group, later in zip(groups, [*groups[1:], ()], strict=True):
        yield Slice(group, later[0].last_time if later else 0)


def _groups(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    group: list[Segment] = []
    for segment in segments:
        if group and sum(member.row_count for member in group) + segment.row_count > SLICE_ROWS:
            yield tuple(group)
            group = []
        group.append(segment)
    if group:
        yield tuple(group)
