"""Whole records by their places: a question finds offsets in a few narrow columns first, and reads messages for these alone.

A message takes ten times the time of a number to read, and those of a whole row group are decoded for any one of them; so places are
gathered over all that a question wants, each part of the store is read once, and services and patterns of the places rule row groups out:
files are sorted by these.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.slices import Slice
from treering_query.store import hot
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot

PLACE = 'log_id, "offset", service, pattern_id'
"""The columns of a place."""

_FEW_OFFSETS = 1_000
"""Up to so many offsets are spelled out; more are joined."""

_FEW = 100
"""Up to so many services and patterns are spelled out, which Parquet statistics can prune by."""


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
        tables.append(_sealed_at(snapshot, Slice(part.segments), places))
    return _of_their_logs(pa.concat_tables(tables), places)


def _hot_at(snapshot: Snapshot, offsets: pa.ChunkedArray) -> pa.Table:
    """By Arrow: DuckDB would read every column of what is in memory."""
    records = hot.as_table(snapshot.view.hot)
    return records.filter(pc.is_in(records.column("offset"), offsets))


def _sealed_at(snapshot: Snapshot, part: Slice, places: pa.Table) -> pa.Table:
    offsets = places.column("offset").to_pylist()
    parameters: dict[str, object] = {} if len(offsets) <= _FEW_OFFSETS else {"offsets": offsets}
    chosen = "select unnest($offsets::ubigint[])" if parameters else ", ".join(map(str, offsets)) or "null"
    conditions = [f'"offset" in ({chosen})']
    for name, kind in (("service", "varchar"), ("pattern_id", "ubigint")):
        values = {f"{name}{number}": value for number, value in enumerate(places.column(name).unique().to_pylist())}
        if 0 < len(values) <= _FEW:
            conditions.append(f"{name} in ({', '.join(f'${key}::{kind}' for key in values)})")
            parameters |= values
    table = part.query(snapshot, f"select * from {part.records} where {' and '.join(conditions)}", parameters)
    return table.select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA)


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
