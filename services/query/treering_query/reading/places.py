"""Whole records by their places: a question finds offsets in a few narrow columns first, and reads messages for these alone.

A message takes ten times the time of a number to read, and those of a whole row group are decoded for any one of them; so places are
gathered over all that a question wants, the store is read once, and the patterns of the places rule row groups out: files are sorted by
service and pattern.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering_query import limits
from treering_query.reading.records import within_bytes
from treering_query.reading.slices import Slice
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.segment import Segment
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
        tables.append(_hot_at(snapshot.hot_records() if hot_records is None else hot_records, places.column("offset")))
    if part.segments:
        tables.append(_sealed_at(snapshot, part.segments, places))
    # Offsets alone were compared so far.
    return _of_their_logs(pa.concat_tables(tables), places)


def _as_they_are(records: pa.Table) -> pa.Table:
    return records


def first_at(
    snapshot: Snapshot, part: Slice, places: pa.Table, budget: int, shortened: Callable[[pa.Table], pa.Table] = _as_they_are
) -> pa.Table:
    """The records at the first of some places, in their order, as many as fit into `budget` bytes of an answer; at least one.

    `shortened` is what the answer shows of some records; it keeps their number and order.

    Segments are read a group at a time, those with the first places first. After each group what does not fit is forgotten, and so are the
    places behind it: what is in memory depends on the answer and on a group, not on the number of places.
    """
    found = shortened(LOGS_SCHEMA.empty_table())
    if not places.num_rows:
        return found
    for group in _groups(part, places):
        more = pa.concat_tables([found, shortened(records_at(snapshot, group, places))])
        more = more.append_column("place", _number_of_place(more, places)).sort_by("place")
        found = within_bytes(more, budget)
        if found.num_rows < more.num_rows:  # whatever is found later, too, comes behind these, or takes the place of the last
            places = places.slice(0, found.column("place")[-1].as_py() + 1)
        found = found.drop_columns(["place"])
    return found


def _groups(part: Slice, places: pa.Table) -> Iterator[Slice]:
    """What holds some of the places, in the order of the first of them: what is hot, then segments of `READ_TOGETHER_BYTES` together."""
    if part.hot:
        yield Slice((), hot=True, hot_name=part.hot_name)
    held = [(first, segment) for segment in part.segments if (first := _first_place(segment, places)) is not None]
    group: list[Segment] = []
    size = 0
    for _, segment in sorted(held, key=lambda each: each[0]):
        if group and size + segment.memory_bytes > limits.READ_TOGETHER_BYTES:
            yield Slice(tuple(group))
            group, size = [], 0
        group.append(segment)
        size += segment.memory_bytes
    if group:
        yield Slice(tuple(group))


def _first_place(segment: Segment, places: pa.Table) -> int | None:
    """The number of the first place that may be of a segment."""
    held = np.flatnonzero(_held(segment, places))
    return int(held[0]) if len(held) else None


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
    return bool(_held(segment, places).any())


def _held(segment: Segment, places: pa.Table) -> npt.NDArray[np.bool_]:
    """Which of the places may be of a segment."""
    logs, offsets = (places.column(name).to_numpy() for name in ("log_id", "offset"))
    held = np.zeros(places.num_rows, np.bool_)
    for run in segment.ranges:
        held |= (logs == run.log_id) & (offsets >= run.first_offset) & (offsets < run.end_offset)
    return held


def _of_their_logs(records: pa.Table, places: pa.Table) -> pa.Table:
    """Two logs may have records at one offset."""
    logs = places.column("log_id").unique()
    # Nearly always.
    if len(logs) == 1:
        return records.filter(pc.equal(records.column("log_id"), logs[0]))
    wanted, found = _numbered(places, records)
    return records.filter(pa.array(np.isin(found, wanted)))


def _number_of_place(records: pa.Table, places: pa.Table) -> pa.Array:
    """For each record, which of the places it stands at; each stands at one."""
    if len(places.column("log_id").unique()) == 1:
        return pc.index_in(records.column("offset"), places.column("offset"))
    wanted, found = _numbered(places, records)
    place_of = np.empty(places.num_rows + records.num_rows, np.int64)
    place_of[wanted] = np.arange(len(wanted))
    return pa.array(place_of[found])


def _numbered(*tables: pa.Table) -> list[npt.NDArray[np.int64]]:
    """For each row of each table a number that stands for its position: the same one in all of them."""
    positions = [np.stack([table.column(name).to_numpy() for name in ("log_id", "offset")], axis=1) for table in tables]
    # Pairs become numbers, so that one comparison tells whether both parts agree.
    _, number = np.unique(np.concatenate(positions), axis=0, return_inverse=True)
    return np.split(number.reshape(-1), np.cumsum([table.num_rows for table in tables])[:-1])
