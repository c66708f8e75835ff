"""Whole records by their places: a question finds offsets in a few narrow columns first, and reads messages for these alone.

A message takes ten times the time of a number to read, and those of a whole row group are decoded for any one of them; so places are
gathered over all that a question wants, each part of the store is read once, and services and patterns of the places rule row groups out:
files are sorted by these.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.slices import Slice
from treering_query.store import hot
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot
from treering_query.store.view import Segment

PLACE = 'log_id, "offset", service, pattern_id'
"""The columns of a place."""

_FEW_OFFSETS = 1_000
"""Up to so many offsets are spelled out; more are joined."""

_FEW = 100
"""Up to so many services and patterns are spelled out, which Parquet statistics can prune by."""

_FEW_SEGMENTS = 32
"""Up to so many segments are named one by one: each is a part of the statement that is planned."""


def records_at(snapshot: Snapshot, part: Slice, places: pa.Table) -> pa.Table:
    """The records of a part at some places, in no order: columns of `LOGS_SCHEMA`.

    Args:
        snapshot: Where to read.
        part: What holds them. Places that it does not hold are left out.
        places: The columns of `PLACE`.
    """
    tables = [LOGS_SCHEMA.empty_table()]
    if part.hot:
        tables.append(_hot_at(snapshot, places.column("offset")))
    if part.segments:
        tables.append(_sealed_at(snapshot, part.segments, places))
    return _of_their_logs(pa.concat_tables(tables), places)


def _hot_at(snapshot: Snapshot, offsets: pa.ChunkedArray) -> pa.Table:
    """By Arrow: DuckDB would read every column of what is in memory."""
    records = hot.as_table(snapshot.view.hot)
    return records.filter(pc.is_in(records.column("offset"), offsets))


def _sealed_at(snapshot: Snapshot, segments: Sequence[Segment], places: pa.Table) -> pa.Table:
    """In one statement; few segments are asked for their own places each, so that no row group is read for what lies in another one."""
    own = {segment.segment_id: places.filter(_covered(segment, places)) for segment in segments}
    whole = Slice(tuple(segment for segment in segments if own[segment.segment_id].num_rows))
    if not whole.segments:
        return LOGS_SCHEMA.empty_table()
    values: dict[str, object] = {}
    if len(whole.segments) <= _FEW_SEGMENTS:
        parts = [(Slice((segment,)), own[segment.segment_id]) for segment in whole.segments]
    else:
        parts = [(whole, places)]
    sql = " union all ".join(f"select * from {part.records} where {_at(held, values)}" for part, held in parts)
    return whole.query(snapshot, sql, values).select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA)


def _covered(segment: Segment, places: pa.Table) -> pa.Array:
    """Which places may be of a segment."""
    logs, offsets = (places.column(name).to_numpy() for name in ("log_id", "offset"))
    held = np.zeros(places.num_rows, np.bool_)
    for run in segment.ranges:
        held |= (logs == run.log_id) & (offsets >= run.first_offset) & (offsets < run.end_offset)
    return pa.array(held)


def _at(places: pa.Table, values: dict[str, object]) -> str:
    """The condition that a record is at one of some places, or at the offset of one in another log; its values are added."""
    offsets = places.column("offset").to_pylist()
    if len(offsets) <= _FEW_OFFSETS:
        conditions = [f'"offset" in ({", ".join(map(str, offsets))})']
    else:
        conditions = [f'"offset" in (select unnest({_bound(offsets, values)}::ubigint[]))']
    for name, kind in (("service", "varchar"), ("pattern_id", "ubigint")):
        wanted = places.column(name).unique().to_pylist()
        if len(wanted) <= _FEW:
            conditions.append(f"{name} in ({', '.join(f'{_bound(value, values)}::{kind}' for value in wanted)})")
    return " and ".join(conditions)


def _bound(value: object, values: dict[str, object]) -> str:
    name = f"p{len(values)}"
    values[name] = value
    return f"${name}"


def _of_their_logs(records: pa.Table, places: pa.Table) -> pa.Table:
    """Two logs may have records at one offset."""
    logs = places.column("log_id").unique()
    if len(logs) == 1:
        return records.filter(pc.equal(records.column("log_id"), logs[0]))
    wanted = np.stack([places.column(name).to_numpy() for name in ("log_id", "offset")], axis=1)
    found = np.stack([records.column(name).to_numpy() for name in ("log_id", "offset")], axis=1)
    _, number = np.unique(np.concatenate([wanted, found]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    return records.filter(pa.array(np.isin(number[len(wanted) :], number[: len(wanted)])))
