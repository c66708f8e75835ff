"""Delivered frames as rows of `logs`: decoded, masked, and what cannot be read set aside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.store.catalog import Quarantined
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.view import PATTERNS_SCHEMA
from treering_runtime.columns import SCHEMA, FrameDecoder
from treering_runtime.patterns import find_patterns


@dataclass(frozen=True)
class Taken:
    """What became of some frames."""

    records: pa.Table
    patterns: pa.Table
    """The distinct patterns of the records."""
    quarantined: tuple[Quarantined, ...]


class Intake:
    """Decodes and masks. Belongs to one thread."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()

    def take(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> Taken:
        """The records of the frames at or above the offset `skip_below`, with their patterns."""
        try:
            batches = [self._decoder.decode(log_id, frames, skip_below)]
            bad: list[Quarantined] = []
        except ValueError:
            batches, bad = self._one_by_one(log_id, frames, skip_below)
        batch = pa.Table.from_batches(batches, SCHEMA).combine_chunks()
        services, messages = _column(batch, "service"), _column(batch, "message")
        found = find_patterns(services, messages)
        records = batch.append_column(LOGS_SCHEMA.field("pattern_id"), found.pattern_ids)
        columns = [found.distinct_ids, found.services, found.texts, messages.take(found.first_rows)]
        return Taken(records, pa.table(columns, schema=PATTERNS_SCHEMA), tuple(bad))

    def _one_by_one(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> tuple[list[pa.RecordBatch], list[Quarantined]]:
        batches: list[pa.RecordBatch] = []
        bad: list[Quarantined] = []
        for piece in (piece for frame in frames for piece in _pieces(frame, skip_below)):
            try:
                batches.append(self._decoder.decode(log_id, [piece], skip_below))
            except ValueError as error:
                bad.append(Quarantined(log_id, piece.first_offset, piece.record_count, str(error), piece.payload))
        return batches, bad


def _pieces(frame: DeliveredFrame, skip_below: int) -> Iterator[DeliveredFrame]:
    """A frame as one frame for each record where that is possible, else as it is."""
    try:
        records = list(UploadLogsRequest.FromString(frame.payload).records)
    except DecodeError:
        records = []
    if len(records) != frame.record_count:
        yield frame
        return
    for offset, record in enumerate(records, frame.first_offset):
        if offset >= skip_below:
            payload = UploadLogsRequest(records=[record]).SerializeToString()
            yield DeliveredFrame(first_offset=offset, record_count=1, arrival_time_unix_nano=frame.arrival_time_unix_nano, payload=payload)


def _column(table: pa.Table, name: str) -> pa.StringArray:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else pa.concat_arrays([pa.array([], chunked.type), *chunked.chunks])


def unknown(patterns: pa.Table, known: frozenset[int] | set[int]) -> pa.Table:
    """The patterns that are not among the known ones."""
    ids = patterns.column("pattern_id").to_pylist()
    return patterns.filter(pa.array(np.fromiter((number not in known for number in ids), np.bool_, len(ids))))
