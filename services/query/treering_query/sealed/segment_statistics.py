"""The statistics of a segment: an object beside its records, small enough to be read whole; and those of all segments together.

A store has a few thousand of these rows for each segment. In the catalog each seal and each start would pay for all of them.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from treering_query.sealed.segment_store import SegmentStore
from treering_query.values.pattern_ids import Ids, as_ids
from treering_query.values.schemas import COUNTS_SCHEMA
from treering_query.values.segment import Segment
from treering_query.values.statistics import merged
from treering_runtime.errors import StartError

_AT_ONCE = 64
"""Segments whose statistics are added up together: what is in memory at a time."""


class StatisticsDamagedError(StartError):
    """The statistics of a segment are not what was sealed with it. Nothing is counted anew: a person decides."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(
            f"{file} {problem}; it holds the counts of the segment beside it. Restore it from a copy, "
            "or move the data directory away to start afresh from what the log still has"
        )
        self.problem = problem


def write_statistics(path: Path, statistics: pa.Table) -> None:
    """Writes rows of `COUNTS_SCHEMA` to a file that is not synced yet.

    Raises:
        OSError: It cannot be written.
    """
    # Parquet, as the records are: any tool reads it. Without Arrow's own schema, which would be a second description of the columns.
    pq.write_table(statistics, path, version="2.6", compression="zstd", store_schema=False)


def read_statistics(files: SegmentStore, segment: Segment) -> pa.Table:
    """The statistics of a segment, compared with the checksum that the catalog keeps of them.

    Raises:
        StatisticsDamagedError: They are missing, or not those that were sealed.
        OSError: They cannot be read now.
    """
    name = segment.statistics_name
    file = f"{files.place}/{name}"
    try:
        # Whole and at once, so that what is compared is what is parsed.
        content = files.read_range(name, 0)
    except FileNotFoundError:
        raise StatisticsDamagedError(file, "is missing") from None
    # Before they are parsed: a parser of Parquet in C++ is not made for broken input.
    if xxhash.xxh3_64_intdigest(content) != segment.statistics_checksum:
        raise StatisticsDamagedError(file, "is damaged: its bytes are not those that were sealed")
    # On this thread: a few thousand rows are not worth others.
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False).cast(COUNTS_SCHEMA)


def pattern_ids(statistics: pa.Table) -> Ids:
    """The patterns that have a record, ascending, each once: `Segment.has_any` looks for them by bisection."""
    return as_ids(statistics.column("pattern_id").to_numpy())


def total(statistics: Iterable[pa.Table]) -> pa.Table:
    """Statistics of all segments together."""
    # A few segments at a time: their rows together may be many times as many as their patterns.
    whole, rest = COUNTS_SCHEMA.empty_table(), iter(statistics)
    while some := list(itertools.islice(rest, _AT_ONCE)):
        whole = merged(pa.concat_tables([whole, *some]))
    return whole
