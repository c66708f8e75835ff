"""The newest records of some patterns, without reading more of the store than they need."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.filters import Predicate
from treering_query.places import records_at
from treering_query.slices import Slice, newest_first
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot


@dataclass(frozen=True)
class Condition:
    """What else the records of samples must fulfil: SQL over `logs` and its values."""

    sql: str = "true"
    parameters: Mapping[str, object] = field(default_factory=dict)

    def within(self, predicate: Predicate) -> "Condition":
        """Both together."""
        return Condition(f"{predicate.sql} and {self.sql}", {**predicate.parameters, **self.parameters})

    def and_also(self, other: "Condition") -> "Condition":
        """Both together."""
        return Condition(f"{self.sql} and {other.sql}", {**self.parameters, **other.parameters})


_ANY = Condition()

_LOCATE = """
select chosen.* from (
    select unnest(max_by({{'log_id': log_id, 'offset': "offset", 'service': service, 'pattern_id': pattern_id}}, time, {count})) as chosen
    from {records} where pattern_id in (select unnest($ids::ubigint[])) and {condition} group by pattern_id
)
"""


def newest(snapshot: Snapshot, pattern_ids: Collection[int], count: int, predicate: Predicate, condition: Condition = _ANY) -> pa.Table:
    """The newest `count` records of each pattern that the predicate and the condition select: columns of `LOGS_SCHEMA`, newest first."""
    tables = [LOGS_SCHEMA.empty_table()]
    missing, both = set(pattern_ids), condition.within(predicate)
    for part in newest_first(snapshot, predicate):
        if not count or not missing:
            break
        if wanted := _present(snapshot, part, missing):
            tables.append(_read(snapshot, part, wanted, count, both))
            missing = _unfinished(pa.concat_tables(tables), missing, count, part.older_than)
    return _cut(pa.concat_tables(tables), count)


def _present(snapshot: Snapshot, part: Slice, pattern_ids: set[int]) -> list[int]:
    if not part.segments:
        return list(pattern_ids) if snapshot.view.hot else []
    held = np.concatenate([segment.pattern_ids for segment in part.segments])
    wanted = np.fromiter(pattern_ids, np.uint64, len(pattern_ids))
    found: list[int] = wanted[np.isin(wanted, held)].tolist()
    return found


def _read(snapshot: Snapshot, part: Slice, ids: list[int], count: int, condition: Condition) -> pa.Table:
    """Finds the places in a few narrow columns first, then reads whole records at these alone."""
    sql = _LOCATE.format(count=int(count), records=part.records, condition=condition.sql)
    places = part.query(snapshot, sql, {**condition.parameters, "ids": ids})
    return records_at(snapshot, part, places)


def _unfinished(table: pa.Table, pattern_ids: set[int], count: int, older_than: int) -> set[int]:
    """The patterns that may still gain a newer record from the slices to come."""
    newer = table.filter(pc.greater_equal(table.column("time").cast(pa.int64()), older_than))
    counts = newer.column("pattern_id").value_counts()
    done = {entry["values"].as_py() for entry in counts if entry["counts"].as_py() >= count}
    return pattern_ids - done


def _cut(table: pa.Table, count: int) -> pa.Table:
    """Newest first, at most `count` a pattern."""
    table = table.sort_by([("time", "descending"), ("log_id", "descending"), ("offset", "descending")])
    ids = table.column("pattern_id").to_numpy()
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ids[order])) + 1]) if len(ids) else np.empty(0, np.int64)
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.append(starts, len(ids))))
    return table.filter(pa.array(place < count))
