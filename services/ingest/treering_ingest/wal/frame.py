"""A frame: one batch as the log keeps it. `docs/wal-format.md` describes the bytes."""

import struct
from typing import NamedTuple

import google_crc32c

from treering_ingest.durable_log import Batch
from treering_ingest.limits import MAX_BATCH_BYTES, MAX_PRODUCER_ID_BYTES
from treering_ingest.wal.errors import BadFrameError, NewerFrameError

MAGIC = b"TRFR"
"""Begins every frame."""

PAYLOAD_VERSION = 1
"""Of what the payload is: 1 = a serialised LogBatch. 0 = written when payloads were UploadLogsRequests, which read as LogBatches, too."""

# Little-endian and without padding, so that the bytes are the same on every machine.
_FIXED = struct.Struct("<4sIQIHHQQQIII")
"""Magic, payload length, first offset, record count, producer length, version of the payload, arrival time, sequence, batch hash, synced
position, previous CRC, payload CRC. The producer's bytes and the header's CRC follow."""

_CRC = struct.Struct("<I")
# Functions bound once: both are called for every frame that is written or read.
_EXTEND = google_crc32c.extend
_VALUE = google_crc32c.value

SMALLEST_HEADER_BYTES = _FIXED.size + _CRC.size
"""Bytes of the header of a frame without a producer."""

# Enough to read any header in one go, before it is known how long the producer's id is.
LARGEST_HEADER_BYTES = SMALLEST_HEADER_BYTES + MAX_PRODUCER_ID_BYTES


class Frame(NamedTuple):
    """What is read back.

    `position` and `end` are bytes from the start of the segment. `synced_position` is how much of the segment was durable
    when the frame was written. `crc` is the header's, which covers the payload's and links the next frame.
    """

    first_offset: int
    record_count: int
    arrival_time_unix_nano: int
    producer_id: bytes
    sequence: int
    batch_hash: int
    payload: bytes
    synced_position: int
    crc: int
    position: int
    end: int

    @property
    def end_offset(self) -> int:
        """One past its last record."""
        return self.first_offset + self.record_count

    @property
    def link(self) -> int:
        """The chain here, for sinks, 64 bits: the header's CRC, which covers all frames before, and half of the batch's hash."""
        # The CRC depends on the salts of the log's files, so records alone do not give it; its 32 bits would be met by chance too easily.
        return self.crc << 32 | self.batch_hash & 0xFFFFFFFF


def encode_header(batch: Batch, first_offset: int, synced_position: int, previous_crc: int, seed: int) -> tuple[bytes, int]:
    """The header of a frame and its CRC, which is the link for the next one. `seed` binds it to its segment."""
    # The header's checksum covers the one of the frame before and the one of the payload. So a single checksum, carried on
    # from frame to frame, covers the history of the segment, and by `previous_crc` of the segment's header that of the log.
    fixed = _FIXED.pack(
        MAGIC,
        len(batch.payload),
        first_offset,
        batch.record_count,
        len(batch.producer_id),
        PAYLOAD_VERSION,
        batch.arrival_time_unix_nano,
        batch.sequence,
        # The bytes as received, not those of the payload: records that were left out of it count when a batch is compared with a repeat.
        batch.batch_hash,
        # Four bytes: a segment is at most 1 GiB and one group, by the settings.
        synced_position,
        previous_crc,
        _VALUE(batch.payload),
    )
    # Without the payload itself: its checksum is among the fixed fields, so the header can be checked before the payload is read.
    covered = fixed + batch.producer_id
    # The seed is the checksum of the segment's header, with the random salt in it: a payload that contains the bytes of a
    # frame, sent on purpose, does not pass for a frame of this segment.
    crc = _EXTEND(seed, covered)
    return covered + _CRC.pack(crc), crc


class Link(NamedTuple):
    """Where the next frame must join: position in the segment, first offset, CRC of the frame (or segment header) before."""

    position: int
    offset: int
    crc: int


class Header(NamedTuple):
    """A decoded header; `length` is its own bytes."""

    payload_length: int
    first_offset: int
    record_count: int
    payload_version: int
    arrival_time_unix_nano: int
    producer_id: bytes
    sequence: int
    batch_hash: int
    synced_position: int
    previous_crc: int
    payload_crc: int
    crc: int
    length: int


def decode_header(buffer: bytes, at: int, position: int, seed: int) -> Header:
    """Reads the header at `buffer[at:]`, which stands at `position` of its segment.

    Raises:
        BadFrameError: It is incomplete, or its CRC does not fit.
    """
    if len(buffer) - at < SMALLEST_HEADER_BYTES:
        raise BadFrameError(position, "the file ends inside a frame header")
    magic, length, offset, count, producer_length, version, arrival, sequence, digest, synced, previous, payload_crc = _FIXED.unpack_from(
        buffer, at
    )
    # Cheap comparisons first; `length` is bounded here so that a damaged one cannot ask for gigabytes below.
    if magic != MAGIC or producer_length > MAX_PRODUCER_ID_BYTES or length > MAX_BATCH_BYTES:
        raise BadFrameError(position, "no frame begins here")
    covered_end = at + _FIXED.size + producer_length
    # The fixed part fitted; the producer's name and the checksum may still be cut off.
    if len(buffer) < covered_end + _CRC.size:
        raise BadFrameError(position, "the file ends inside a frame header")
    # The producer's length is not proven yet, but is bounded, so these bytes are where the checksum would be.
    (crc,) = _CRC.unpack_from(buffer, covered_end)
    if _EXTEND(seed, buffer[at:covered_end]) != crc:
        raise BadFrameError(position, "the frame header's checksum does not fit")
    producer = buffer[at + _FIXED.size : covered_end]
    header_length = covered_end + _CRC.size - at
    return Header(length, offset, count, version, arrival, producer, sequence, digest, synced, previous, payload_crc, crc, header_length)


def join(header: Header, payload: bytes, link: Link) -> Frame:
    """The frame of a header and its payload, checked to follow `link`.

    Raises:
        NewerFrameError: It has a payload of a kind that this version does not know.
        BadFrameError: The payload is short or changed, or the frame does not follow the one before it.
    """
    # First, whatever is wrong besides: the header's checksum was right, so a newer version wrote this, and nothing of it may be cut off.
    if header.payload_version > PAYLOAD_VERSION:
        raise NewerFrameError(link.position, f"a payload of version {header.payload_version}; this Treering knows up to {PAYLOAD_VERSION}")
    # Before the payload's checksum: a short payload is the usual torn end, and deserves its own words.
    # The header's own checksum was right, so what it says of the payload is what the writer said.
    if len(payload) < header.payload_length:
        raise BadFrameError(link.position, "the file ends inside a payload")
    if _VALUE(payload) != header.payload_crc:
        raise BadFrameError(link.position, "the payload's checksum does not fit")
    # The chain: catches a frame that is whole, but is not the one that was written after its predecessor.
    if header.previous_crc != link.crc:
        raise BadFrameError(link.position, "the frame does not follow the one before it")
    # Follows from the chain, unless the writer itself was wrong. Cheap, and the one check that finds such an error.
    if header.first_offset != link.offset:
        raise BadFrameError(link.position, f"the frame begins at offset {header.first_offset}, expected {link.offset}")
    return Frame(
        header.first_offset,
        header.record_count,
        header.arrival_time_unix_nano,
        header.producer_id,
        header.sequence,
        header.batch_hash,
        payload,
        header.synced_position,
        header.crc,
        link.position,
        link.position + header.length + header.payload_length,
    )
