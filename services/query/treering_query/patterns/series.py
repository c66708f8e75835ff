"""Records of patterns over time: equal parts of a span, counted in one scan that reads two columns and only where it must."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query import limits
from treering_query.patterns.outliers import usual_time
from treering_query.reading.records import nanoseconds
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot

Counts = npt.NDArray[np.int64]

_SCAN = """
select pattern_id, ((epoch_ns(time) - $start::bigint) // $width::bigint)::integer as part, count(*) as n
from logs where {condition} and {chosen} and epoch_ns(time) between $start::bigint and $last::bigint group by all
"""
_SPELLED = 1_000
"""Up to so many patterns are looked for; of more, everything that the filter selects is counted."""


_NARROW_NANOS = 30 * limits.DAY_NANOS
"""Up to such a time nobody looks for records far from all others: that is another scan of their times."""


def usual_bounds(snapshot: Snapshot, predicate: Predicate, first: int, last: int) -> tuple[int, int]:
    """The first and the last selected record, but for a few that lie far from all others in time: one would make a sparkline one spike."""
    # Nearly always; the look for outliers reads times of records.
    if last - first <= _NARROW_NANOS:
        return first, last
    usual = usual_time(lambda sql: snapshot.query(sql, predicate.parameters, within=predicate), "logs", predicate.sql)
    return (usual.first, usual.last) if usual else (first, last)


@dataclass(frozen=True)
class Span:
    """A time in equal parts. Nanoseconds since 1970."""

    start: int
    width: int
    parts: int

    @classmethod
    def of(cls, predicate: Predicate, first: int, last: int, parts: int) -> "Span":
        """From the filter's start, else the first record, to the filter's end, else behind the last record."""
        start = predicate.start_time or first
        end = predicate.end_time if predicate.end_time <= limits.MAX_TIME_UNIX_NANO else last + 1
        # Rounded up, so the parts cover the end; 1 ns at least.
        return cls(start, max(1, -(-(end - start) // parts)), parts)

    @property
    def end(self) -> int:
        """Where it ends, exclusive."""
        return self.start + self.width * self.parts

    def part(self, nanos: int) -> int:
        """The part that a time falls into."""
        return (nanos - self.start) // self.width


def series(snapshot: Snapshot, predicate: Predicate, span: Span, counted: pa.Table) -> dict[int, Counts]:
    """Records in each part of the span, by pattern; those outside of it are in none.

    Args:
        snapshot: What is asked.
        predicate: Which records.
        span: Into what they are sorted.
        counted: The patterns that are wanted, one row each: pattern_id, count, first_time, last_time of the selected records. Those whose
            records all fall into one part are not looked for again.
    """
    found = {pattern_id: np.zeros(span.parts, np.int64) for pattern_id in counted.column("pattern_id").to_pylist()}
    wide = []
    times = zip(nanoseconds(counted.column("first_time")), nanoseconds(counted.column("last_time")), strict=True)
    for pattern_id, count, (first, last) in zip(found, counted.column("count").to_pylist(), times, strict=True):
        part = span.part(first)
        # All in one part: the count is known already, from statistics.
        if part == span.part(last) and 0 <= part < span.parts:
            found[pattern_id][part] = count
        else:
            wide.append(pattern_id)
    if wide:
        _scan(snapshot, predicate, span, wide, found)
    return found


def _scan(snapshot: Snapshot, predicate: Predicate, span: Span, wide: Collection[int], found: Mapping[int, Counts]) -> None:
    # Few ids let Parquet skip row groups by its statistics; many would be compared one by one.
    spelled = len(wide) <= _SPELLED
    sql = _SCAN.format(condition=predicate.sql, chosen=f"pattern_id in ({', '.join(map(str, wide))})" if spelled else "true")
    parameters = {**predicate.parameters, "start": span.start, "width": span.width, "last": min(span.end - 1, limits.MAX_TIME_UNIX_NANO)}
    table = snapshot.query(sql, parameters, within=predicate)
    wanted = set(wide)
    for pattern_id, part, count in zip(*(column.to_pylist() for column in table.columns), strict=True):
        # Of those in one part the count is there already, and must not be replaced by a part of it.
        if pattern_id in wanted:
            found[pattern_id][part] = count


def growth(counts: Counts) -> float:
    """How the second half compares with the first: (late - early) / (late + early); the middle one of an odd number counts for neither."""
    half = len(counts) // 2
    early, late = int(counts[:half].sum()), int(counts[len(counts) - half :].sum())
    return (late - early) / (late + early) if early + late else 0.0
