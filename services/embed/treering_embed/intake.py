"""From delivered frames to the patterns in them. Runs on the decoding thread; knows no progress and no database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.registry import Pattern, Quarantined
from treering_runtime.columns import FrameDecoder
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import find_patterns


@dataclass(frozen=True)
class Intake:
    """What a delivery holds: the ids of its known patterns, the others in full, and the frames that could not be read."""

    end_offset: int
    record_count: int
    known: list[int]
    unseen: list[Pattern]
    quarantined: list[Quarantined]


def read_frames(
    decoder: FrameDecoder, is_known: Callable[[int], bool], log_id: int, frames: Sequence[DeliveredFrame], next_offset: int
) -> Intake:
    """Decodes frames and finds their patterns; a frame that cannot be decoded is set aside, the others are not held up by it."""
    end_offset = frames[-1].first_offset + frames[-1].record_count
    batches, quarantined = _decode(decoder, log_id, frames, next_offset)
    known: list[int] = []
    unseen: list[Pattern] = []
    for batch in batches:
        _sort(batch, log_id, is_known, known, unseen)
    return Intake(end_offset, sum(batch.num_rows for batch in batches), known, unseen, quarantined)


def _decode(
    decoder: FrameDecoder, log_id: int, frames: Sequence[DeliveredFrame], next_offset: int
) -> tuple[list[pa.RecordBatch], list[Quarantined]]:
    try:
        return [decoder.decode(log_id, frames, next_offset)], []
    except ValueError as error:
        if len(frames) == 1:
            return [], [_quarantine(log_id, frames[0], error)]
    middle = len(frames) // 2
    left, bad_left = _decode(decoder, log_id, frames[:middle], next_offset)
    right, bad_right = _decode(decoder, log_id, frames[middle:], next_offset)
    return left + right, bad_left + bad_right


def _quarantine(log_id: int, frame: DeliveredFrame, error: ValueError) -> Quarantined:
    return Quarantined(log_id, frame.first_offset, frame.record_count, str(error), frame.payload)


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
