"""Delivered frames as rows of `logs`: decoded and masked."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.values.pattern_ids import has_pattern
from treering_query.values.schemas import LOGS_SCHEMA, NO_PATTERN_TEXT, PATTERNS_SCHEMA
from treering_runtime.columns import SCHEMA, FrameDecoder
from treering_runtime.crash_notes import CrashNotes
from treering_runtime.patterns import NO_PATTERN, PatternIds, find_patterns
from treering_runtime.quarantine import FrameReader, Quarantined


@dataclass(frozen=True)
class Taken:
    """What some frames hold."""

    records: pa.Table
    patterns: pa.Table
    """The distinct patterns of the records."""
    without_pattern: int = 0
    """Records whose pattern has no id of its own."""


class DeliveryReader:
    """Decodes and masks, and sets aside what cannot be read. Belongs to one thread.

    Args:
        notes: The file that tells what a dead process was reading.
        settled: By log_id, the offset below which everything is sealed.
        ids: Who holds which id; every record's pattern claims its own here.
    """

    def __init__(self, notes: Path, settled: Mapping[int, int], ids: PatternIds | None = None) -> None:
        self._ids = ids or PatternIds()
        self._decoder = FrameDecoder()
        # A frame that ends the process, as by a fault in a native library, is known by this file after the restart, and quarantined.
        self._notes = CrashNotes(notes, settled)
        self._reader = FrameReader(self._read, self._notes)

    def take(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> tuple[Taken, list[Quarantined]]:
        """The records of the frames at or above the offset `skip_below`, with their patterns, and what could not be read."""
        parts, bad = self._reader.take(log_id, frames, skip_below)
        return _joined(parts), bad

    def take_again(self, items: Sequence[Quarantined]) -> tuple[Taken, list[Quarantined]]:
        """The same of what was set aside."""
        parts, bad = self._reader.again(items)
        return _joined(parts), bad

    def close(self) -> None:
        """Closes the notes."""
        self._notes.close()

    def _read(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> Taken:
        # Columns from the first step on: no Python object is made for a record.
        batch = pa.Table.from_batches([self._decoder.decode(log_id, frames, skip_below)], SCHEMA)
        services, messages = _column(batch, "service"), _column(batch, "message")
        # Claims in the order of delivery: of two texts with one hash the first keeps the id, also after a restart.
        found = find_patterns(services, messages, self._ids.claim)
        records = batch.append_column(LOGS_SCHEMA.field("pattern_id"), found.pattern_ids)
        # Where each pattern was seen first; `first_rows` has one row for each distinct pattern.
        log_ids, offsets = (records.column(name).combine_chunks().take(found.first_rows) for name in ("log_id", "offset"))
        columns = [found.distinct_ids, found.services, found.texts, messages.take(found.first_rows), log_ids, offsets]
        patterns = pa.table(columns, schema=PATTERNS_SCHEMA)
        # Zero, unless somebody searched for a text that has the id of another one.
        without = int(np.count_nonzero(found.pattern_ids.to_numpy() == NO_PATTERN))
        return Taken(records, _with_own_ids(patterns) if without else patterns, without)


def _with_own_ids(patterns: pa.Table) -> pa.Table:
    """The patterns that have an id, and one row for all others together: it is no pattern, so it is of no service and begins nowhere."""
    own = patterns.filter(has_pattern(patterns.column("pattern_id")))
    together = {"pattern_id": NO_PATTERN, "service": "", "text": NO_PATTERN_TEXT, "example": "", "first_log_id": None, "first_offset": None}
    return pa.concat_tables([own, pa.Table.from_pylist([together], PATTERNS_SCHEMA)]).combine_chunks()


def _joined(parts: Sequence[Taken]) -> Taken:
    """Several as one: nearly always there is but one, and it is returned as it is."""
    # Several mostly after something unreadable: what is readable comes in pieces around it.
    if len(parts) == 1:
        return parts[0]
    records = pa.concat_tables([LOGS_SCHEMA.empty_table(), *(part.records for part in parts)]).combine_chunks()
    patterns = pa.concat_tables([PATTERNS_SCHEMA.empty_table(), *(part.patterns for part in parts)])
    # A pattern may be in several parts; the first mention is the one that has its first position.
    _, first_rows = np.unique(patterns.column("pattern_id").to_numpy(), return_index=True)
    return Taken(records, patterns.take(first_rows), sum(part.without_pattern for part in parts))


def _column(table: pa.Table, name: str) -> pa.StringArray:
    chunked = table.column(name)
    # `concat_arrays` copies and wants at least one array.
    return chunked.chunk(0) if chunked.num_chunks == 1 else pa.concat_arrays([pa.array([], chunked.type), *chunked.chunks])


def unknown(patterns: pa.Table, known: Container[int]) -> pa.Table:
    """The patterns that are not among the known ones."""
    # Distinct patterns of a delivery, so this loop does not run per record.
    ids = patterns.column("pattern_id").to_pylist()
    return patterns.filter(pa.array(np.fromiter((number not in known for number in ids), np.bool_, len(ids))))
