"""The segment that is written, and the bytes that come next in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from treering_ingest.durable_log import Batch
from treering_ingest.wal.filesystem import File
from treering_ingest.wal.frame import Link, encode_header
from treering_ingest.wal.segment import SegmentHeader


class Mark(NamedTuple):
    """Everything before this is durable: a segment, a position in it, and the offset there."""

    segment: int
    position: int
    offset: int


@dataclass(slots=True)
class Active:
    """The segment that is written."""

    file: File
    header: SegmentHeader
    # Where the next frame joins. Beyond `synced_position` while something is appended and not synced.
    end: Link
    # Goes into the footer.
    frame_count: int
    # Bytes that are durable for certain: after a failed sync it stays where it was.
    synced_position: int


def encode_group(active: Active, batches: Sequence[Batch]) -> tuple[list[bytes], Link]:
    """The bytes of a group of frames, as buffers in order, and where the next frame joins."""
    buffers: list[bytes] = []
    position, offset, crc = active.end
    # One link after the other: each frame's header covers the checksum of the one before, also inside a group that is written at once.
    for batch in batches:
        # `synced_position` is that of before this group. Recovery takes it as proof, so it may never be ahead of the disk.
        header, crc = encode_header(batch, offset, active.synced_position, crc, active.header.crc)
        # Not joined with the header: a group of many MiB is written without a copy.
        buffers += (header, batch.payload)
        position += len(header) + len(batch.payload)
        offset += batch.record_count
    return buffers, Link(position, offset, crc)
