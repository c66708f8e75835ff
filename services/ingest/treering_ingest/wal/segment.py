"""A segment: one file with a header, the producers at its beginning, frames, and a footer once it is complete."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import google_crc32c

from treering_ingest.wal.errors import BadFrameError, CorruptLogError, NewerFrameError
from treering_ingest.wal.filesystem import File
from treering_ingest.wal.frame import LARGEST_HEADER_BYTES, Frame, Link, decode_header, join
from treering_ingest.wal.frame import MAGIC as FRAME_MAGIC

# Raised with each change that an older reader would take for damage. Newer ones are refused, not guessed at.
# 2: frames say of which version their payload is, where there were zeros.
FORMAT_VERSION = 2
MAGIC = b"TREERWAL"
FOOTER_MAGIC = b"TRFT"

# Magic, format, 0, log, index, first offset, creation time, salt, previous CRC, length and CRC of the snapshot.
_HEADER = struct.Struct("<8sIIQQQQQIII")
# Magic, frames, end offset, length before it, time of sealing, last CRC.
_FOOTER = struct.Struct("<4sIQQQI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
FOOTER_BYTES = _FOOTER.size + _CRC.size

# The whole name: what an interrupted creation (`.tmp`) or a recovery (`.torn`) leaves begins like a segment and is none.
_NAME = re.compile(r"^(\d{10})-(\d{20})\.wal$")
_READ_AHEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """The name of a segment's file: its number, counted from 1, and its first offset."""

    # Number before offset: segments without records have the same offset, and the number alone orders them.
    index: int
    first_offset: int

    @property
    def file(self) -> str:
        """The name in the directory; sorts like the log."""
        # Zero-padded, so that the order of names is the order of the log and `names()` needs no parsing to sort.
        return f"{self.index:010d}-{self.first_offset:020d}.wal"

    @classmethod
    def parse(cls, file: str) -> "SegmentName | None":
        """None for files that are no segments."""
        match = _NAME.match(file)
        return cls(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first bytes of a segment; `crc` is set when it was encoded or decoded, and begins the chain of its frames.

    `salt` is random and never leaves the directory, so that nobody can send a payload that passes for frames of the log.
    """

    log_id: int
    index: int
    first_offset: int
    created_unix_nano: int
    salt: int
    previous_crc: int
    snapshot: bytes
    crc: int = 0

    @property
    def start(self) -> Link:
        """Where the first frame joins."""
        # The seed of everything in the segment: this checksum covers the salt, so its value is a secret of the directory.
        return Link(HEADER_BYTES + len(self.snapshot), self.first_offset, self.crc)


class Footer(NamedTuple):
    """The last bytes of a sealed segment: `last_crc` is the CRC of its last frame, `length` the bytes before the footer."""

    frame_count: int
    end_offset: int
    length: int
    sealed_unix_nano: int
    last_crc: int


def encode_segment_header(header: SegmentHeader) -> tuple[bytes, int]:
    """The bytes that a segment begins with (header and snapshot), and the header's CRC."""
    fixed = _HEADER.pack(
        MAGIC,
        FORMAT_VERSION,
        0,
        header.log_id,
        header.index,
        header.first_offset,
        header.created_unix_nano,
        header.salt,
        header.previous_crc,
        len(header.snapshot),
        # Its checksum is covered by the header's, which seeds every frame: with another snapshot no frame of this segment fits.
        google_crc32c.value(header.snapshot),
    )
    # The fixed part has a checksum of its own, so that the snapshot's length can be trusted before the snapshot is read.
    crc = google_crc32c.value(fixed)
    return fixed + _CRC.pack(crc) + header.snapshot, crc


def read_segment_header(file: File, name: SegmentName) -> SegmentHeader:
    """Reads and checks the beginning of a segment.

    Raises:
        CorruptLogError: It is short, changed, of a newer format, or not what its name says.
    """
    # Only the fixed part is read first: the length of the snapshot is not proven yet.
    raw = file.read(0, HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise CorruptLogError(name.file, 0, "the file is shorter than a segment's header")
    magic, version, _, log_id, index, first, created, salt, previous, snapshot_length, snapshot_crc = _HEADER.unpack_from(raw)
    (crc,) = _CRC.unpack_from(raw, _HEADER.size)
    # The checksum is looked at before the version: a damaged version number must not send people to look for a newer release.
    if magic != MAGIC or google_crc32c.value(raw[: _HEADER.size]) != crc:
        raise CorruptLogError(name.file, 0, "the segment header's checksum does not fit")
    if version > FORMAT_VERSION:
        raise CorruptLogError(name.file, 8, f"format {version} is newer than {FORMAT_VERSION}", "use a newer Treering")
    # Renamed or swapped files pass every checksum inside them. Only the comparison with the name finds them.
    if SegmentName(index, first) != name:
        raise CorruptLogError(name.file, 0, f"the header is that of {SegmentName(index, first).file}: files were renamed or swapped")
    # A file that is cut off here has a wrong checksum, so its length needs no look of its own.
    snapshot = file.read(HEADER_BYTES, snapshot_length)
    if google_crc32c.value(snapshot) != snapshot_crc:
        raise CorruptLogError(name.file, HEADER_BYTES, "the checksum of the producers does not fit")
    return SegmentHeader(log_id, index, first, created, salt, previous, snapshot, crc)


def encode_footer(footer: Footer, seed: int) -> bytes:
    """The footer's bytes; `seed` is the CRC of the segment's header."""
    fixed = _FOOTER.pack(FOOTER_MAGIC, footer.frame_count, footer.end_offset, footer.length, footer.sealed_unix_nano, footer.last_crc)
    # Seeded with the header's checksum: a footer that belongs to another segment, or that somebody sent as a payload, does not fit.
    return fixed + _CRC.pack(google_crc32c.extend(seed, fixed))


def read_footer(file: File, size: int, seed: int) -> Footer | None:
    """The footer at the end of a segment of `size` bytes; None when there is no valid one."""
    # Read from the end of the file: where a footer is valid, everything before it was durable when it was written.
    raw = file.read(max(size - FOOTER_BYTES, 0), FOOTER_BYTES)
    # None: the segment is still written, or a crash ended it. Which files may be so is for the caller to say.
    if len(raw) < FOOTER_BYTES:
        return None
    magic, frames, end_offset, length, sealed, last_crc = _FOOTER.unpack_from(raw)
    (crc,) = _CRC.unpack_from(raw, _FOOTER.size)
    # `length` is compared as well: a whole footer that was copied to another place of the file is none.
    if magic != FOOTER_MAGIC or google_crc32c.extend(seed, raw[: _FOOTER.size]) != crc or length != size - FOOTER_BYTES:
        return None
    return Footer(frames, end_offset, length, sealed, last_crc)


class SegmentReader:
    """Reads the frames of one segment in order and checks each: its own bytes, and that it follows the one before.

    `link` is where the next frame must join; after a BadFrameError it stands at the bad bytes.
    """

    def __init__(self, file: File, header: SegmentHeader) -> None:
        self.file = file
        self.header = header
        self.link = header.start
        self._buffer = b""
        self._buffer_start = 0

    def next(self, end: int) -> Frame | None:
        """The next frame, or None at `end`, a position that must be the end of a frame.

        Raises:
            BadFrameError: The bytes there are no valid frame.
        """
        # The frame before says where this one begins, which offset it has and which checksum it names. Nothing is searched for.
        position = self.link.position
        if position >= end:
            return None
        # The header first, of the largest size that it may have: only its own checksum makes the payload's length trustworthy.
        at = self._load(position, LARGEST_HEADER_BYTES, end)
        header = decode_header(self._buffer, at, position, self.header.crc)
        # May read the file again and move the buffer, so the header's place in it is looked up anew.
        at = self._load(position, header.length + header.payload_length, end)
        begin = at + header.length
        # Copies the payload out of the buffer, which the next frame may replace.
        frame = join(header, self._buffer[begin : begin + header.payload_length], self.link)
        # Only after `join` has accepted the frame: after an error the link stands at the bad bytes, which is where a cut begins.
        self.link = Link(frame.end, frame.end_offset, frame.crc)
        return frame

    def frames(self, end: int) -> Iterator[Frame]:
        """All frames below `end`."""
        while (frame := self.next(end)) is not None:
            yield frame

    def _load(self, position: int, length: int, end: int) -> int:
        """Makes `length` bytes from `position` (as far as `end` allows) part of the buffer; returns where they begin in it."""
        # `end` is the end of what is durable. Bytes after it may be in the file already and may never become durable.
        length = min(length, end - position)
        at = position - self._buffer_start
        if at < 0 or at + length > len(self._buffer):
            # Read ahead: frames of small batches would otherwise cost two reads of the file each.
            self._buffer = self.file.read(position, min(max(length, _READ_AHEAD_BYTES), end - position))
            self._buffer_start, at = position, 0
        # At the end of a file less may come than was asked for. `decode_header` and `join` then name what is missing.
        return at


def proof_of_damage(reader: SegmentReader, bad: BadFrameError, size: int) -> str | None:
    """Why bytes that cannot be read are damage, and not the torn end of the last write; None when they may be torn.

    A power cut may tear only what was not synced yet, but any part of that: a later frame of the same write can be whole. Each frame says
    how much of the segment was durable when it was written, so a valid frame further on that calls the bad bytes durable proves damage.
    """
    # Its header is whole, and what it begins may be, too: only who knows such frames can tell.
    if isinstance(bad, NewerFrameError):
        return "a newer version wrote it"
    # A footer is written after a sync of all frames. With a valid one, nothing before it can be torn.
    if read_footer(reader.file, size, reader.header.crc) is not None:
        return "the segment was sealed after it"
    # In memory at once: at most one segment, and only at a start or an inspection that meets bad bytes.
    tail = reader.file.read(bad.position, size - bad.position)
    # From 1 on: the bad bytes themselves may begin with the magic.
    # Searched for byte by byte: after bad bytes nobody knows where the next frame begins.
    at = tail.find(FRAME_MAGIC, 1)
    while at >= 0:
        try:
            # The magic may stand in a payload by chance or by intent. The header's checksum is seeded with that of the segment's header,
            # which covers the secret salt, so no sender can make bytes that pass here.
            header = decode_header(tail, at, bad.position + at, reader.header.crc)
        except BadFrameError:
            # Chance or intent, as said above: the search goes on behind it.
            header = None
        # Synced beyond the bad bytes when that frame was written: the disk had them, and they changed since.
        # Frames of the same write are no proof: their synced position is where that write began, or before.
        if header is not None and header.synced_position > bad.position:
            return f"a frame at byte {bad.position + at} was written when these bytes were already durable"
        at = tail.find(FRAME_MAGIC, at + 1)
    return None
