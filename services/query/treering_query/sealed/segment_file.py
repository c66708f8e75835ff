"""The Parquet file of a segment: records in the store's order, in row groups of a few thousand.

Records are brought into order by Arrow, a row group at a time, and written by it too: on one core that takes half of what the database
needs for the same file (a third where records have attributes), and a fresh copy of all records is never held.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treering_query.values.schemas import LOGS_SCHEMA
from treering_runtime import resources

ROW_GROUP_ROWS = 10_240
"""Records of a row group. A twelfth of the database's own size: the messages of a whole row group are decoded for any one of them, so that
finding single records takes half the time that it takes with 30,720. Against these, files become 1.2 % larger, full scans of messages are
as fast, and counts over narrow columns take a quarter longer."""

_ROW_GROUP_BYTES = 32 * 1024 * 1024
"""About the most bytes of a row group, which has fewer records when they are large: it is held in memory, several times, when it is written
and when one of its records is read."""

ORDER = 'service, pattern_id, time, log_id, "offset"'
"""The order of records in a segment, as SQL says it."""

_DICTIONARY_BYTES = 1024 * 1024
"""Up to so many bytes Arrow keeps the distinct values of a column of a row group apart: beyond, each record has its value in full."""

_PLAIN_SCHEMA = LOGS_SCHEMA.remove(LOGS_SCHEMA.get_field_index("resource"))
"""Columns of a file whose records have no resource, as versions wrote it that knew none."""

_COMPRESSION_LEVEL = 1
"""Of zstd. It beats the default 3 on logs, in size as well as in time: fresh digits hold no repetitions that a longer look would find, and
level 1 leaves them to the entropy coder."""

_DELTAS = dict.fromkeys(("time", "arrival_time", "offset"), "DELTA_BINARY_PACKED")
"""Differences of neighbours: a third smaller than plain numbers."""

_DICTIONARIES = [
    *(name for name in LOGS_SCHEMA.names if name not in {*_DELTAS, "message", "attributes"}),
    "attributes.key_value.key",
    "attributes.key_value.value",
]
"""Columns whose values repeat. Not messages: they rarely do, and looking for repetitions makes files a fifth larger."""


def in_order(records: pa.Table) -> Iterator[pa.Table]:
    """Records in the order of segments, a row group at a time."""
    # One chunk: `take` over many chunks looks each row up.
    whole = records.combine_chunks()
    # Numbers only, 8 bytes a record. The records themselves are copied a row group at a time, by `take`.
    order = _order(whole)
    step = group_rows(records.num_rows, records.nbytes + _kept_in_full(whole.column("resource")))
    # Lazily: the writer compresses one row group before the next is made.
    for start in range(0, len(order), step):
        yield whole.take(pa.array(order[start : start + step]))


def _kept_in_full(column: pa.ChunkedArray) -> int:
    """What resources take in row groups whose distinct ones are too many to be kept apart; 0 where they are not."""
    distinct = sum(pc.sum(pc.binary_length(chunk.dictionary)).as_py() or 0 for chunk in column.chunks)
    return resources.unfolded_bytes(column) if distinct > _DICTIONARY_BYTES else 0


def group_rows(rows: int, size_bytes: int) -> int:
    """How many records a row group holds where so many records have so many bytes."""
    # At least one: a single record may be larger than the limit.
    return max(1, min(ROW_GROUP_ROWS, rows * _ROW_GROUP_BYTES // max(size_bytes, 1)))


def write(path: Path, groups: Iterable[pa.Table], *, with_resources: bool) -> int:
    """Writes records, each table as a row group, to a file that is not synced yet; returns how many bytes they take in memory.

    Args:
        path: The file.
        groups: The records.
        with_resources: Whether one of them may have a resource: otherwise there is no column for it.

    Raises:
        OSError: It cannot be written.
    """
    size, schema = 0, LOGS_SCHEMA if with_resources else _PLAIN_SCHEMA
    # Leaving the block writes the footer, without which the file is no Parquet. It may fail, too: the disk is full there at the latest.
    with pq.ParquetWriter(
        path,
        schema,
        version="2.6",  # the first with nanoseconds
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=_DICTIONARIES,
        column_encoding=_DELTAS,
        # Arrow's own schema would be a second description of the columns; other tools read Parquet's.
        store_schema=False,
    ) as file:
        for group in groups:
            # What the database sorted comes with its own types and nullability.
            typed = group.select(schema.names).cast(schema)
            if with_resources:
                typed = _with_own_sets(typed)
            file.write_table(typed, row_group_size=ROW_GROUP_ROWS)
            # In memory, not on the disk: merges are bounded by it, since the database sorts them in memory; and what is read at a time,
            # where each record has a resource of its own.
            size += typed.nbytes + (resources.unfolded_bytes(typed.column("resource")) if with_resources else 0)
    return size


def _with_own_sets(group: pa.Table) -> pa.Table:
    """A row group with the resources that occur in it: the writer puts all of a dictionary into each."""
    place = LOGS_SCHEMA.get_field_index("resource")
    return group.set_column(place, LOGS_SCHEMA.field(place), resources.compacted(group.column(place)))


def _order(records: pa.Table) -> npt.NDArray[np.int64]:
    services = records.column("service").combine_chunks().dictionary_encode()
    # Few distinct services: their ranks are computed once, and a record's service becomes a number to sort by.
    ranks = pc.rank(services.dictionary).to_numpy()[services.indices.to_numpy()]
    pattern_ids, times, log_ids, offsets = (records.column(name).to_numpy() for name in ("pattern_id", "time", "log_id", "offset"))
    # The last key is the first to sort by. The result is the order that `ORDER` says, so both ways of writing agree.
    return np.lexsort((offsets, log_ids, times, pattern_ids, ranks))
