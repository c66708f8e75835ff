"""The catalog's rows about a segment: itself, its services, its runs of offsets."""

from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb

from treering_query.values.segment import LogRange, Segment

# Times as integers: a Python datetime holds microseconds, and the times of records are nanoseconds.
_SEGMENTS = """
select segment_id, file, row_count, size_bytes, epoch_ns(first_time), epoch_ns(last_time), epoch_ns(first_arrival_time),
       epoch_ns(last_arrival_time), checksum, mask_version, data_bytes, {sealed_time}, {has_resources}, {statistics_checksum}
from segments order by segment_id
"""

# By name: the order of columns that versions added depends on which versions a catalog has seen.
_COLUMNS = """
segment_id, file, row_count, size_bytes, first_time, last_time, first_arrival_time, last_arrival_time, checksum, mask_version, data_bytes,
sealed_time, has_resources, statistics_checksum
"""

_SERVICES = "select segment_id, list(distinct service) from statistics join patterns using (pattern_id) group by all"
"""Of segments that a version sealed which did not keep their services; all of their records have a pattern."""

_KEPT_SERVICES = "select segment_id, list(service) from segment_services group by all"


def read_segments(run: duckdb.DuckDBPyConnection, opened: Callable[[str], Path]) -> Iterable[Segment]:
    """The segments that the catalog lists, by id, without pattern ids; `opened` gives the file of a name."""
    ranges: dict[int, list[LogRange]] = {}
    for segment_id, *bounds in run.execute("select * from segment_ranges order by all").fetchall():
        # In the order of logs, as `write_segment` makes them: a segment that was read again equals the one that was written.
        ranges.setdefault(segment_id, []).append(LogRange(*bounds))
    # What was kept wins over what the patterns tell.
    services = dict(run.execute(_SERVICES).fetchall()) | _kept_services(run)
    for segment_id, file, *numbers in run.execute(_SEGMENTS.format(**_added(run))).fetchall():
        count, size, first, last, first_arrival, last_arrival, checksum, mask_version, data, sealed, has_resources, of_statistics = numbers
        yield Segment(
            segment_id,
            opened(file),
            count,
            size,
            first,
            last,
            first_arrival,
            last_arrival,
            tuple(ranges.get(segment_id, ())),
            frozenset(services.get(segment_id, ())),
            checksum=checksum,
            # A mask version that was not kept is 0, "differs from record to record": nothing may be concluded from the ids then.
            mask_version=mask_version or 0,
            data_bytes=data,
            has_resources=has_resources,
            sealed_time=sealed,
            statistics_checksum=of_statistics,
        )


def insert_segment(run: duckdb.DuckDBPyConnection, segment: Segment) -> None:
    """Adds a segment; only inside the transaction that is its seal."""
    # A bound datetime would lose the nanoseconds, so the integers are made timestamps by the database.
    times = ", ".join(["make_timestamp_ns(?::bigint)"] * 4)
    # The name only: a data directory may be moved or restored elsewhere.
    row: list[object] = [segment.segment_id, segment.path.name, segment.row_count, segment.size_bytes]
    row += [segment.first_time, segment.last_time, segment.first_arrival_time, segment.last_arrival_time]
    row += [segment.checksum, segment.mask_version, segment.data_bytes, segment.sealed_time, segment.has_resources]
    row += [segment.statistics_checksum]
    values = f"?::ubigint, ?, ?, ?, {times}, ?::ubigint, ?::utinyint, ?::ubigint, ?::bigint, ?, ?::ubigint"
    run.execute(f"insert into segments ({_COLUMNS}) values ({values})", row)
    # in the transaction that adds the segment: its id is never given out again, also when the segment is gone
    run.execute("update sealing set next_segment_id = ?::ubigint", [segment.segment_id + 1])
    # Kept apart from the patterns: a record without a pattern has a service, too.
    held = [segment.segment_id, sorted(segment.services)]
    run.execute("insert into segment_services select ?::ubigint, unnest(?::varchar[])", held)
    # Seldom more than one: a row each is cheap.
    for part in segment.ranges:
        bounds = [segment.segment_id, part.log_id, part.first_offset, part.end_offset]
        run.execute("insert into segment_ranges values (?::ubigint, ?::ubigint, ?::ubigint, ?::ubigint)", bounds)


def _added(run: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What to read for the columns that versions added; a catalog of an earlier version may lack them, as long as it is only read."""
    # A catalog that is opened for reading is not migrated, so the columns are looked for instead of selected.
    found = run.execute("select column_name from duckdb_columns() where table_name = 'segments'").fetchall()
    there = {name for (name,) in found}
    # The null of a row that an earlier version wrote stands for:
    missing = {
        # the arrival of its newest record, which is the best guess, by the clock of another machine;
        "sealed_time": "epoch_ns(last_arrival_time)",
        # no column of resources in its file, as no version that did not note it wrote one;
        "has_resources": "false",
        # statistics that are still in the catalog.
        "statistics_checksum": "null",
    }
    return {name: f"coalesce({name}, {otherwise})" if name in there else otherwise for name, otherwise in missing.items()}


def _kept_services(run: duckdb.DuckDBPyConnection) -> dict[int, list[str]]:
    """The services of segments, by id. Patterns do not tell them: a record may have none of its own."""
    known = run.execute("from duckdb_tables() where table_name = 'segment_services'").fetchall()
    return dict(run.execute(_KEPT_SERVICES).fetchall()) if known else {}  # only read, of an earlier version
