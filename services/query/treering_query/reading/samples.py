"""The newest records of some patterns, without reading more of the store than they need.

Places come first, from a few narrow columns of everything that may hold them; then whole records, in one read: the messages of a row group
are decoded for any one of them, so nothing is read whole before it is known to be among the newest.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.reading.places import records_at
from treering_query.reading.slices import Slice, newest_first
from treering_query.values.pattern_ids import Ids, among, as_ids, relation
from treering_query.values.predicate import Predicate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.view.snapshot import Snapshot


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

_NOTHING_ELSE = _ANY.within(Predicate())

_FEW_ROWS = 10_000
"""Up to so many records in memory are sorted at once: Arrow has found them before a statement is planned."""

_PLACES = pa.schema([LOGS_SCHEMA.field(name) for name in ("time", "log_id", "offset", "pattern_id")])

_LOCATE = f"""
select chosen.* from (
    select unnest(max(
        {{{{'time': time, 'log_id': log_id, 'offset': "offset", 'pattern_id': pattern_id}}}}, {{count}}
    )) as chosen
    from {{records}} where pattern_id in (select id from {relation("ids")}) and {{condition}} group by pattern_id
)
"""

_NEWEST = [("time", "descending"), ("log_id", "descending"), ("offset", "descending")]


def newest(snapshot: Snapshot, pattern_ids: Iterable[int], count: int, predicate: Predicate, condition: Condition = _ANY) -> pa.Table:
    """The newest `count` records of each pattern that the predicate and the condition select: columns of `LOGS_SCHEMA`, newest first."""
    places = _PLACES.empty_table()
    missing, both = as_ids(pattern_ids), condition.within(predicate)
    for part in _widening(newest_first(snapshot, _of(predicate, missing))):
        # Every pattern has its newest records: older parts cannot change the answer.
        if not count or not len(missing):
            break
        if holding := _holding(snapshot, part, missing):
            found = _located(snapshot, holding, missing, count, both)
            places = _cut(pa.concat_tables([places, found]), count)
            missing = _unfinished(places, missing, count, part.older_than)
    return _whole(snapshot, places)


def _of(predicate: Predicate, ids: Ids) -> Predicate:
    """The same, of some patterns: segments without any are left out."""
    # For the choice of segments only. The condition names the ids by itself.
    return replace(predicate, patterns=ids if predicate.patterns is None else ids[among(ids, predicate.patterns)])


def _widening(parts: Iterable[Slice]) -> Iterator[Slice]:
    """What is hot, then one slice, two, four: what is looked through in vain is at most as much again, in few statements."""
    waiting: list[Slice] = []
    wanted = 1
    for part in parts:
        waiting.append(part)
        # The hot part alone comes first: for most patterns it is enough.
        if part.hot or len(waiting) == wanted or not part.older_than:
            yield Slice(tuple(segment for each in waiting for segment in each.segments), part.hot, part.older_than)
            wanted = 1 if part.hot else 2 * wanted
            waiting = []


def _holding(snapshot: Snapshot, part: Slice, ids: Ids) -> Slice | None:
    """What of a part has records of the patterns."""
    if part.hot:
        return part if snapshot.view.hot else None
    segments = tuple(segment for segment in part.segments if segment.has_any(ids))
    return replace(part, segments=segments) if segments else None


def _located(snapshot: Snapshot, part: Slice, ids: Ids, count: int, condition: Condition) -> pa.Table:
    """Places and times of the newest records of each pattern in a part; `count` of each or more."""
    # The most frequent case by far: newest records of some patterns, no filter, all in memory.
    if part.hot and condition == _NOTHING_ELSE:
        records = snapshot.hot_records().select(_PLACES.names)
        found = records.filter(pc.is_in(records.column("pattern_id"), pa.array(ids, pa.uint64())))
        if found.num_rows <= _FEW_ROWS:
            return found
    # `int` keeps anything but a number out of the text of the statement.
    sql = _LOCATE.format(count=int(count), records=part.records, condition=condition.sql)
    return part.query(snapshot, sql, {**condition.parameters, "ids": ids}).select(_PLACES.names).cast(_PLACES)


def _unfinished(places: pa.Table, ids: Ids, count: int, older_than: int) -> Ids:
    """The patterns that may still gain a newer record from the parts to come."""
    # Equal counts as newer: a later part has no record after `older_than`.
    newer = places.filter(pc.greater_equal(places.column("time").cast(pa.int64()), older_than))
    found, counts = np.unique(newer.column("pattern_id").to_numpy(), return_counts=True)
    return ids[~among(ids, found[counts >= count])]


def _whole(snapshot: Snapshot, places: pa.Table) -> pa.Table:
    """The records at some places, newest first, each part of the store read once, and only where it has one of the places."""
    if not places.num_rows:
        return LOGS_SCHEMA.empty_table()
    return records_at(snapshot, Slice(snapshot.view.segments, hot=bool(snapshot.view.hot)), places).sort_by(_NEWEST)


def _cut(table: pa.Table, count: int) -> pa.Table:
    """Newest first, at most `count` a pattern."""
    table = table.sort_by(_NEWEST)
    ids = table.column("pattern_id").to_numpy()
    # Stable: within a pattern the newest stay in front.
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ids[order])) + 1]) if len(ids) else np.empty(0, np.int64)
    place = np.empty(len(ids), np.int64)
    # The number of each row within its pattern.
    place[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.append(starts, len(ids))))
    return table.filter(pa.array(place < count))
