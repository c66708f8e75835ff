"""From delivered frames to the patterns in them. Runs on the decoding thread; knows no progress and no database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.registry import Pattern
from treering_runtime.columns import FrameDecoder
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import find_patterns


@dataclass(frozen=True)
class Intake:
    """What frames hold: how many records, the ids of known patterns, and the others in full."""

    record_count: int
    known: list[int]
    unseen: list[Pattern]


def read_frames(
    decoder: FrameDecoder, is_known: Callable[[int], bool], log_id: int, frames: Sequence[DeliveredFrame], skip_below: int
) -> Intake:
    """Decodes frames and finds the patterns of their records at or above the offset `skip_below`.

    Raises:
        ValueError: A frame cannot be read.
    """
    batch = decoder.decode(log_id, frames, skip_below)
    known: list[int] = []
    unseen: list[Pattern] = []
    _sort(batch, log_id, is_known, known, unseen)
    return Intake(batch.num_rows, known, unseen)


def _sort(batch: pa.RecordBatch, log_id: int, is_known: Callable[[int], bool], known: list[int], unseen: list[Pattern]) -> None:
    columns = find_patterns(batch.column("service"), batch.column("message"))
    ids = columns.distinct_ids.to_pylist()
    new = [row for row, pattern_id in enumerate(ids) if not is_known(pattern_id)]
    known += [pattern_id for pattern_id in ids if is_known(pattern_id)]
    if not new:
        return
    rows = columns.first_rows.take(pa.array(new))
    fields = (
        columns.distinct_ids.take(pa.array(new)).to_pylist(),
        columns.services.take(pa.array(new)).to_pylist(),
        columns.texts.take(pa.array(new)).to_pylist(),
        (message[:MAX_PATTERN_TEXT_CHARACTERS] for message in batch.column("message").take(rows).to_pylist()),
        batch.column("offset").take(rows).to_pylist(),
    )
    unseen += [Pattern(key, service, text, example, log_id, offset) for key, service, text, example, offset in zip(*fields, strict=True)]
