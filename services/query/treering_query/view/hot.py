"""Hot records: what is in memory and not yet in a segment.

Small chunks are merged in tiers, like the digits of a counter: each record is copied O(log n) times, and a query meets a few dozen
chunks however small the deliveries are.
"""

from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa

from treering_query.values.schemas import COUNTS_SCHEMA, LOGS_SCHEMA
from treering_query.values.statistics import statistics
from treering_query.view.shared_arrow import SharedArrow
from treering_runtime.resources import unfolded_bytes

_MERGE_UP_TO_ROWS = 65_536


class Chunk(SharedArrow):
    """Hot records that arrived together or were merged."""

    @cached_property
    def counts(self) -> pa.Table:
        """Statistics of these records, `COUNTS_SCHEMA`; made once, when a question first meets the chunk."""
        return statistics(self.table)

    @cached_property
    def read_bytes(self) -> int:
        """What these records take where each has its resource in full, as whatever reads them has it."""
        return self.size_bytes + unfolded_bytes(self.table.column("resource"))


def appended(chunks: Sequence[Chunk], batch: pa.Table) -> tuple[Chunk, ...]:
    """The chunks with one more batch, merged where the last ones have become alike in size."""
    kept, merged = list(chunks), [batch]
    rows = batch.num_rows
    # Sizes at least double from right to left, below the bound of a merge. A chunk that has reached it is never copied again.
    while kept and kept[-1].row_count <= 2 * rows and kept[-1].row_count + rows <= _MERGE_UP_TO_ROWS:
        # In front: the order of arrival stays.
        merged.insert(0, kept[-1].table)
        rows += kept.pop().row_count
    # A new tuple: views of before keep theirs, and the chunks in it.
    return (*kept, Chunk(pa.concat_tables(merged).combine_chunks()))


def total_rows(chunks: Sequence[SharedArrow]) -> int:
    """Records in some chunks."""
    return sum(chunk.row_count for chunk in chunks)


def total_bytes(chunks: Sequence[SharedArrow]) -> int:
    """Bytes that some chunks take."""
    return sum(chunk.size_bytes for chunk in chunks)


def counts(chunks: Sequence[Chunk]) -> pa.Table:
    """Statistics of all chunks, perhaps several rows for a pattern, environment and severity."""
    return pa.concat_tables([COUNTS_SCHEMA.empty_table(), *(chunk.counts for chunk in chunks)])


def as_table(chunks: Sequence[SharedArrow]) -> pa.Table:
    """All chunks as one table, without a copy."""
    return pa.concat_tables([LOGS_SCHEMA.empty_table(), *(chunk.table for chunk in chunks)])
