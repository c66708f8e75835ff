"""Writing the objects of a segment: both are durable, under their names, before anything refers to them (steps 1 and 2 of `sealing`)."""

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from treering_query.sealed import segment_file
from treering_query.sealed.segment_statistics import pattern_ids, write_statistics
from treering_query.sealed.segment_store import SegmentStore
from treering_query.values.quoting import quoted
from treering_query.values.sealed_records import sealed_records
from treering_query.values.segment import LogRange, Segment, in_both_forms, statistics_name

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
    run: duckdb.DuckDBPyConnection,
    files: SegmentStore,
    name: str,
    groups: Iterable[pa.Table],
    statistics: pa.Table,
    *,
    segment_id: int,
    facts: Facts,
) -> Segment:
    """Makes both objects of a segment; returns what the catalog keeps of it. `_records` of `run` are its records.

    Raises:
        OSError: One of them cannot be written; whatever is left of them has to be deleted.
    """
    data_bytes = 0

    def write(path: Path) -> None:
        nonlocal data_bytes
        data_bytes = segment_file.write(path, groups, with_resources=facts.has_resources)

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
        data_bytes=data_bytes,
        mask_version=facts.mask_version,
        sealed_time=facts.sealed_time,
        has_resources=facts.has_resources,
        statistics_checksum=of_statistics.checksum,
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
