"""Writing the file of a segment: its records are on the disk, under its name, before anything refers to it (steps 1 and 2 of `sealing`)."""

import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from treering_query.sealed import segment_file
from treering_query.sealed.checksums import checksum_of
from treering_query.values.quoting import quoted
from treering_query.values.sealed_records import sealed_records
from treering_query.values.segment import LogRange, Segment, in_both_forms
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


class Facts(NamedTuple):
    """What is kept of a segment and does not follow from its file.

    `mask_version` is the one of its pattern ids, `sealed_time` what the retention clock showed, for a rewrite not the present;
    `has_resources` says whether one of its records may have a resource.
    """

    mask_version: int
    sealed_time: int
    has_resources: bool


def write_segment(
    run: duckdb.DuckDBPyConnection, segment_id: int, path: Path, groups: Iterable[pa.Table], statistics: pa.Table, *, facts: Facts
) -> Segment:
    """Writes and syncs the file of a segment, and its directory; returns what the catalog keeps of it. `_records` of `run` are its records.

    Raises:
        OSError: It cannot be written; a part of it may be there, under its name or with the suffix `TEMPORARY`.
    """
    # Under a name that the catalog never has. A crash from here to the commit leaves a file that the next start deletes.
    temporary = path.with_suffix(TEMPORARY)
    # The writer closes the file and does not sync it: an error of the disk may show only in the next line.
    data_bytes = segment_file.write(temporary, groups, with_resources=facts.has_resources)
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
        data_bytes=data_bytes,
        mask_version=facts.mask_version,
        sealed_time=facts.sealed_time,
        has_resources=facts.has_resources,
    )


def kept_records(run: duckdb.DuckDBPyConnection, old: Sequence[Segment], without: frozenset[str]) -> None:
    """Makes `_records` the records of some segments, without those of some services."""
    files = sealed_records(*in_both_forms(old))
    # Quoted, not bound, though they come from senders: a statement that creates a view takes no parameters.
    services = ", ".join(map(quoted, sorted(without)))
    # A temporary view belongs to the cursor that made it and goes with it. It is lazy: each statement reads the files anew.
    run.execute(f"create or replace temp view _records as from {files}" + (f" where service not in ({services})" if services else ""))


def sorted_records(run: duckdb.DuckDBPyConnection, group_rows: int) -> Generator[pa.Table, None, None]:
    """The records of a rewrite, which may be more than fit into memory: the database sorts them. To be closed."""
    # Numbers in place of resources: the sort would hold the text of each with each of its records.
    sets = run.sql("select distinct resource from _records order by all").to_arrow_table().column(0).combine_chunks()
    run.register("_sets", pa.table({"number": pa.array(range(len(sets)), pa.int32()), "text": sets}))
    # A batch at a time: the reader keeps no more than one row group, the sort spills what does not fit.
    with run.sql(_SORTED).to_arrow_reader(group_rows) as reader:
        for batch in reader:
            place = batch.schema.get_field_index("resource")
            coded = pa.DictionaryArray.from_arrays(batch.column(place), sets)
            yield pa.Table.from_batches([batch]).set_column(place, "resource", coded)


_SORTED = f"""
select records.* replace (number as resource) from _records as records join _sets on resource = text order by {segment_file.ORDER}
"""


def _sync_file(path: Path) -> None:
    # Reading is enough: fsync writes all dirty pages of the file, whichever descriptor made them dirty.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
