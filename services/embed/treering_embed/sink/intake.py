"""From delivered frames to the patterns in them. Runs on the decoding thread; knows no progress and no database."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.registry.book import PatternBook
from treering_embed.registry.registry import RegisteredPattern
from treering_runtime.columns import FrameDecoder
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import NO_PATTERN, PatternColumns, find_patterns


@dataclass(frozen=True)
class PatternsSeen:
    """What frames hold: how many records, the ids of known patterns, and the others in full; those whose id another one has are counted."""

    record_count: int
    known: list[int]
    unseen: list[RegisteredPattern]
    without_pattern: int
    """Records whose pattern has no id of its own."""


def read_frames(decoder: FrameDecoder, book: PatternBook, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> PatternsSeen:
    """Decodes frames and finds the patterns of their records at or above the offset `skip_below`; each claims its id.

    Raises:
        ValueError: A frame cannot be read.
    """
    batch = decoder.decode(log_id, frames, skip_below)
    # Claims ids for all patterns of the frames. Those that the book then refuses give their ids back in `PatternBook.admit`.
    columns = find_patterns(batch.column("service"), batch.column("message"), book.ids.claim)
    # Only distinct ids from here on: a batch of many thousands of records has a few hundred.
    ids = columns.distinct_ids.to_pylist()
    known = [pattern_id for pattern_id in ids if book.is_known(pattern_id)]
    # Patterns without an id share one value and could not be told apart by it: none of them is registered.
    new = [row for row, pattern_id in enumerate(ids) if pattern_id != NO_PATTERN and not book.is_known(pattern_id)]
    # Counted by record, not by distinct pattern.
    without = int(np.count_nonzero(columns.pattern_ids.to_numpy() == NO_PATTERN))
    return PatternsSeen(batch.num_rows, known, _in_full(batch, log_id, columns, new) if new else [], without)


def _in_full(batch: pa.RecordBatch, log_id: int, columns: PatternColumns, new: Sequence[int]) -> list[RegisteredPattern]:
    """Some of the distinct patterns, with their first records."""
    # The order of first appearance is kept: `PatternBook.visible_end` relies on ascending offsets.
    chosen = pa.array(new)
    rows = columns.first_rows.take(chosen)
    fields = (
        columns.distinct_ids.take(chosen).to_pylist(),
        columns.services.take(chosen).to_pylist(),
        columns.texts.take(chosen).to_pylist(),
        (message[:MAX_PATTERN_TEXT_CHARACTERS] for message in batch.column("message").take(rows).to_pylist()),
        batch.column("offset").take(rows).to_pylist(),
    )
    return [
        RegisteredPattern(key, service, text, example, log_id, offset) for key, service, text, example, offset in zip(*fields, strict=True)
    ]
