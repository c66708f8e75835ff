"""The newest records of some patterns, without reading more of the store than they need."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.filters import Predicate
from treering_query.slices import Slice, newest_first
from treering_query.store import hot
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


_ANY = Condition()

_LOCATE = """
select chosen.log_id as log_id, chosen.place as place from (
    select unnest(max_by({{'log_id': log_id, 'place': "offset"}}, time, {count})) as chosen
    from {records} where pattern_id in (select unnest($ids::ubigint[])) and {condition} group by pattern_id
)
"""

_FEW = 1_000
"""Up to so many offsets are spelled out, which Parquet statistics can prune by; more are joined."""


def newest(snapshot: Snapshot, pattern_ids: Collection[int], count: int, predicate: Predicate, condition: Condition = _ANY) -> pa.Table:
    """The newest `count` records of each pattern that the predicate and the condition select: columns of `LOGS_SCHEMA`, newest first."""
    tables = [LOGS_SCHEMA.empty_table()]
    missing, both = set(pattern_ids), condition.within(predicate)
    for part in newest_first(snapshot, predicate):
        if not count or not missing:
            break
        if wanted := _present(part, missing):
            tables.append(_read(snapshot, part, wanted, count, both))
            missing = _unfinished(pa.concat_tables(tables), missing, count, part.older_than)
    return _cut(pa.concat_tables(tables), count)


def _present(part: Slice, pattern_ids: set[int]) -> list[int]:
    if not part.segments:
        return list(pattern_ids)
    held = np.concatenate([segment.pattern_ids for segment in part.segments])
    wanted = np.fromiter(pattern_ids, np.uint64, len(pattern_ids))
    found: list[int] = wanted[np.isin(wanted, held)].tolist()
    return found


def _read(snapshot: Snapshot, part: Slice, ids: list[int], count: int, condition: Condition) -> pa.Table:
    """Finds the places in a few narrow columns first, then reads whole records at these alone."""
    sql = _LOCATE.format(count=int(count), records=part.records, condition=condition.sql)
    places = part.query(snapshot, sql, {**condition.parameters, "ids": ids})
    offsets = places.column("place").combine_chunks()
    table = _hot_at(snapshot, offsets) if part.hot else _sealed_at(snapshot, part, offsets)
    wanted = set(zip(places.column("log_id").to_pylist(), offsets.to_pylist(), strict=True))
    found = zip(table.column("log_id").to_pylist(), table.column("offset").to_pylist(), strict=True)
    return table.filter(pa.array([place in wanted for place in found], pa.bool_()))


def _hot_at(snapshot: Snapshot, offsets: pa.Array) -> pa.Table:
    """By Arrow: DuckDB would read every column of what is in memory."""
    records = hot.as_table(snapshot.view.hot)
    return records.filter(pc.is_in(records.column("offset"), offsets))


def _sealed_at(snapshot: Snapshot, part: Slice, offsets: pa.Array) -> pa.Table:
    spelled = len(offsets) <= _FEW
    chosen = ", ".join(map(str, offsets.to_pylist())) or "null" if spelled else "select unnest($offsets::ubigint[])"
    parameters: dict[str, object] = {} if spelled else {"offsets": offsets.to_pylist()}
    table = part.query(snapshot, f'select * from {part.records} where "offset" in ({chosen})', parameters)
    return table.select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA)


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
