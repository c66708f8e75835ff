"""Writing the objects of a segment: both are durable, under their names, before anything refers to them (steps 1 and 2 of `sealing`)."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from treering_query.sealed import segment_file
from treering_query.sealed.segment_statistics import pattern_ids, write_statistics
from treering_query.sealed.segment_store import SegmentStore
from treering_query.values.segment import LogRange, Segment, statistics_name

# One run for each log, from its first to its last record. Offsets between may be missing: they were quarantined or removed.
_RANGES = 'select log_id, min("offset"), max("offset") + 1 from _records group by log_id order by log_id'

_BOUNDS = """
select epoch_ns(min(time)), epoch_ns(max(time)), epoch_ns(min(arrival_time)), epoch_ns(max(arrival_time)), list(distinct service)
from _records
"""


def write_segment(
    run: duckdb.DuckDBPyConnection,
    files: SegmentStore,
    name: str,
    groups: Iterable[pa.Table],
    statistics: pa.Table,
    *,
    segment_id: int,
    mask_version: int,
    sealed_time: int,
) -> Segment:
    """Makes both objects of a segment; returns what the catalog keeps of it. `_records` of `run` are its records.

    Raises:
        OSError: One of them cannot be written; whatever is left of them has to be deleted.
    """
    data_bytes = 0

    def write(path: Path) -> None:
        nonlocal data_bytes
        data_bytes = segment_file.write(path, groups)

    # Statistics first: records are then never there without them, and the row of the catalog that names both comes after both.
    of_statistics = files.put_new(statistics_name(name), partial(write_statistics, statistics=statistics))
    of_records = files.put_new(name, write)
    # From here on nothing is written. A rewrite reads its old files a second time for these; new records are in memory.
    ranges = tuple(LogRange(*row) for row in run.execute(_RANGES).fetchall())
    # There is at least one record: no segment is written without.
    *times, services = run.execute(_BOUNDS).fetchall()[0]
    first, last, first_arrival, last_arrival = times
    return Segment(
        segment_id=segment_id,
        path=files.open(name),
        # From the statistics, so that the two cannot differ.
        row_count=sum(statistics.column("count").to_pylist()),
        # Compared at each start: a file that was cut is found without reading it.
        size_bytes=of_records.size_bytes,
        first_time=first,
        last_time=last,
        first_arrival_time=first_arrival,
        last_arrival_time=last_arrival,
        ranges=ranges,
        services=frozenset(services),
        pattern_ids=pattern_ids(statistics),
        checksum=of_records.checksum,
        mask_version=mask_version,
        data_bytes=data_bytes,
        # From the caller: for a rewrite it is not the present.
        sealed_time=sealed_time,
        statistics_checksum=of_statistics.checksum,
    )


def kept_records(old: Sequence[Segment], without: frozenset[str]) -> str:
    """SQL: makes `_records` the records of some segments, without those of some services."""
    # As text, with quotes doubled: DuckDB takes no parameters in a statement that creates a view.
    files = ", ".join(_quoted(segment.path) for segment in old)
    # Names of services come from senders: the quotes are doubled, and nothing else ends a text in DuckDB.
    services = ", ".join("'" + service.replace("'", "''") + "'" for service in sorted(without))
    # A temporary view belongs to the cursor that made it and goes with it. It is lazy: each statement reads the files anew.
    return f"create or replace temp view _records as from read_parquet([{files}])" + (
        f" where service not in ({services})" if services else ""
    )


def sorted_records(run: duckdb.DuckDBPyConnection, group_rows: int) -> Iterator[pa.Table]:
    """The records of a rewrite, which may be more than fit into memory: the database sorts them."""
    # A batch at a time: the reader keeps no more than one row group, the sort spills what does not fit.
    reader = run.sql(f"from _records order by {segment_file.ORDER}").to_arrow_reader(group_rows)
    yield from map(pa.Table.from_batches, ([batch] for batch in reader))


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
