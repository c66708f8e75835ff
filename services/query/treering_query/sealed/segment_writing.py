"""Writing the file of a segment: its records are on the disk, under its name, before anything refers to it (steps 1 and 2 of `sealing`)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from treering_query.sealed import segment_file
from treering_query.sealed.checksums import checksum_of
from treering_query.values.segment import LogRange, Segment
from treering_runtime.data_dir import sync_directory
from treering_runtime.fsync import fsync

TEMPORARY = ".parquet.tmp"
"""The suffix of a file that is being written."""

# One run for each log, from its first to its last record. Offsets between may be missing: they were quarantined or removed.
_RANGES = 'select log_id, min("offset"), max("offset") + 1 from _records group by log_id order by log_id'

_BOUNDS = """
select epoch_ns(min(time)), epoch_ns(max(time)), epoch_ns(min(arrival_time)), epoch_ns(max(arrival_time)), list(distinct service)
from _records
"""


def write_segment(
    run: duckdb.DuckDBPyConnection,
    segment_id: int,
    path: Path,
    groups: Iterable[pa.Table],
    statistics: pa.Table,
    *,
    mask_version: int,
    sealed_time: int,
) -> Segment:
    """Writes and syncs the file of a segment, and its directory; returns what the catalog keeps of it. `_records` of `run` are its records.

    Raises:
        OSError: It cannot be written; a part of it may be there, under its name or with the suffix `TEMPORARY`.
    """
    # Under a name that the catalog never has. A crash from here to the commit leaves a file that the next start deletes.
    temporary = path.with_suffix(TEMPORARY)
    # The writer closes the file and does not sync it: an error of the disk may show only in the next line.
    data_bytes = segment_file.write(temporary, groups)
    # Before the rename: after a power cut a name that is there would otherwise stand for bytes that are not.
    _sync_file(temporary)
    # From the file and not from memory: this is what every later check reads. Before the commit, as the catalog keeps it.
    checksum = checksum_of(temporary)
    # Atomic; nothing can stand under this name, because a part of it is random.
    temporary.replace(path)
    # The name is an entry of the directory, with a life of its own: without this sync a catalog that survives could name a file that did
    # not.
    sync_directory(path.parent)
    # From here on nothing is written. A rewrite reads its old files a second time for these; new records are in memory.
    ranges = tuple(LogRange(*row) for row in run.execute(_RANGES).fetchall())
    # There is at least one record: no segment is written without.
    *times, services = run.execute(_BOUNDS).fetchall()[0]
    # `np.unique` sorts: `Segment.has_any` relies on it.
    pattern_ids = np.unique(statistics.column("pattern_id").to_numpy())
    # From the statistics, so that the two cannot differ in the catalog.
    rows = sum(statistics.column("count").to_pylist())
    first, last, first_arrival, last_arrival = times
    return Segment(
        segment_id=segment_id,
        path=path,
        row_count=rows,
        # Compared at each start: a file that was cut is found without reading it.
        size_bytes=path.stat().st_size,
        first_time=first,
        last_time=last,
        first_arrival_time=first_arrival,
        last_arrival_time=last_arrival,
        ranges=ranges,
        services=frozenset(services),
        pattern_ids=pattern_ids,
        checksum=checksum,
        mask_version=mask_version,
        data_bytes=data_bytes,
        # From the caller: for a rewrite it is not the present.
        sealed_time=sealed_time,
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


def _sync_file(path: Path) -> None:
    # Reading is enough: fsync writes all dirty pages of the file, whichever descriptor made them dirty.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
