"""Whole records by their places: a question finds offsets in a few narrow columns first, and reads messages for these alone.

A message takes ten times the time of a number to read, and those of a whole row group are decoded for any one of them; so places are
gathered over all that a question wants, the store is read once, and the patterns of the places rule row groups out: files are sorted by
service and pattern.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.reading.slices import Slice
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.segment import Segment
from treering_query.view import hot
from treering_query.view.snapshot import Snapshot

PLACE = 'log_id, "offset", pattern_id'
"""The columns of a place."""

_FEW = 100
"""Up to so many patterns are spelled out, which Parquet statistics can prune by; more are joined."""


def records_at(snapshot: Snapshot, part: Slice, places: pa.Table, hot_records: pa.Table | None = None) -> pa.Table:
    """The records of a part at some places, in no order: columns of `LOGS_SCHEMA`.

    Args:
        snapshot: Where to read.
        part: What holds them. Places that it does not hold are left out.
        places: The columns of `PLACE`.
        hot_records: Which of those in memory may be meant; None = all.
    """
    # So that there is a schema without a record, too.
    tables = [LOGS_SCHEMA.empty_table()]
    if part.hot:
        tables.append(_hot_at(hot.as_table(snapshot.view.hot) if hot_records is None else hot_records, places.column("offset")))
    if part.segments:
        tables.append(_sealed_at(snapshot, part.segments, places))
    # Offsets alone were compared so far.
    return _of_their_logs(pa.concat_tables(tables), places)


def _hot_at(records: pa.Table, offsets: pa.ChunkedArray) -> pa.Table:
    """By Arrow: DuckDB would read every column of what is in memory."""
    return records.filter(pc.is_in(records.column("offset"), offsets))


def _sealed_at(snapshot: Snapshot, segments: Sequence[Segment], places: pa.Table) -> pa.Table:
    """In one statement over the segments that hold a place. Offsets are joined: spelled out, they would be compared one by one."""
    # A segment without one of the places is not opened.
    whole = Slice(tuple(segment for segment in segments if _holds_one(segment, places)))
    if not whole.segments:
        return LOGS_SCHEMA.empty_table()
    patterns = places.column("pattern_id").unique().to_pylist()
    # Numbers of ours, not the caller's text.
    few = ", ".join(f"{pattern_id}::ubigint" for pattern_id in patterns)
    sql = f"""select * from {whole.records} where "offset" in (select unnest($offsets::ubigint[]))
        and pattern_id in ({few if len(patterns) <= _FEW else "select unnest($patterns::ubigint[])"})"""
    values: dict[str, object] = {"offsets": places.column("offset").to_pylist()}
    if len(patterns) > _FEW:
        values["patterns"] = patterns
    return whole.query(snapshot, sql, values).select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA)


def _holds_one(segment: Segment, places: pa.Table) -> bool:
    """Whether one of the places may be of a segment."""
    logs, offsets = (places.column(name).to_numpy() for name in ("log_id", "offset"))
    runs = segment.ranges
    return any(((logs == run.log_id) & (offsets >= run.first_offset) & (offsets < run.end_offset)).any() for run in runs)


def _of_their_logs(records: pa.Table, places: pa.Table) -> pa.Table:
    """Two logs may have records at one offset."""
    logs = places.column("log_id").unique()
    # Nearly always.
    if len(logs) == 1:
        return records.filter(pc.equal(records.column("log_id"), logs[0]))
    wanted = np.stack([places.column(name).to_numpy() for name in ("log_id", "offset")], axis=1)
    found = np.stack([records.column(name).to_numpy() for name in ("log_id", "offset")], axis=1)
    # Pairs become numbers, so that one comparison tells whether both parts agree.
    _, number = np.unique(np.concatenate([wanted, found]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    return records.filter(pa.array(np.isin(number[len(wanted) :], number[: len(wanted)])))
