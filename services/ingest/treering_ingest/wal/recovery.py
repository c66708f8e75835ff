"""Opening a log after a clean stop, a kill or a power cut: what is there, checked, with the torn end of the last write cut off."""

from collections.abc import Sequence
from dataclasses import dataclass

from treering_ingest.producers import ProducerTable, Stored, decode_snapshot
from treering_ingest.wal.errors import BadFrameError, CorruptLogError
from treering_ingest.wal.filesystem import File, FileSystem
from treering_ingest.wal.frame import Frame, Link
from treering_ingest.wal.manifest import MANIFEST, Manifest
from treering_ingest.wal.segment import Footer, SegmentHeader, SegmentName, SegmentReader, proof_of_damage, read_footer, read_segment_header


@dataclass(frozen=True, slots=True)
class TornTail:
    """The end of a write that a crash interrupted: cut from its segment, kept beside it."""

    segment: str
    position: int
    size_bytes: int
    problem: str
    kept_as: str


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment as the log knows it. `end_offset` and `sealed_unix_nano` are 0 while it is written."""

    name: SegmentName
    size_bytes: int
    end_offset: int = 0
    sealed_unix_nano: int = 0


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest segment: where a writer would go on. `footer` is None unless it is sealed."""

    name: SegmentName
    header: SegmentHeader
    producers: ProducerTable
    frame_count: int
    end: Link
    footer: Footer | None


def segment_names(files: FileSystem) -> list[SegmentName]:
    """The segments in the directory, oldest first."""
    return [name for name in map(SegmentName.parse, files.names()) if name]


def check_complete(names: Sequence[SegmentName], manifest: Manifest) -> list[SegmentName]:
    """The segments that belong to the log; those below the manifest's first are leftovers of a deletion.

    Raises:
        CorruptLogError: One that must be there is missing, or one is there twice.
    """
    live = [name for name in names if name.index >= manifest.first_segment]
    last = max(manifest.last_segment, live[-1].index if live else 0)
    present = [name.index for name in live]
    for index in range(manifest.first_segment, last + 1):
        if present.count(index) != 1:
            what = "is missing" if index not in present else "is there twice"
            raise CorruptLogError(MANIFEST, 0, f"segment {index} of {manifest.first_segment} to {last} {what}")
    return live


def check_sealed(
    files: FileSystem, name: SegmentName, manifest: Manifest, previous: Footer | None, *, read_frames: bool
) -> tuple[SegmentInfo, Footer]:
    """Checks a segment that is not the newest: header, footer, its join to the one before, and if asked every frame.

    Raises:
        CorruptLogError: Anything is not as it must be.
    """
    file = files.open(name.file)
    try:
        header, size = _checked_header(file, name, manifest, previous), file.size()
        footer = read_footer(file, size, header.crc)
        if footer is None:
            raise CorruptLogError(name.file, size, "the segment has no valid footer although a newer one exists")
        if read_frames:
            check_frames(SegmentReader(file, header), name, footer)
    finally:
        file.close()
    return SegmentInfo(name, size, footer.end_offset, footer.sealed_unix_nano), footer


def check_frames(reader: SegmentReader, name: SegmentName, footer: Footer) -> None:
    """Reads every frame of a sealed segment.

    Raises:
        CorruptLogError: A frame is bad, or they do not add up to the footer.
    """
    try:
        count = sum(1 for _ in reader.frames(footer.length))
    except BadFrameError as bad:
        raise CorruptLogError(name.file, bad.position, bad.problem) from bad
    if (count, reader.link) != (footer.frame_count, Link(footer.length, footer.end_offset, footer.last_crc)):
        raise CorruptLogError(name.file, footer.length, "the footer does not fit the frames")


def _checked_header(file: File, name: SegmentName, manifest: Manifest, previous: Footer | None) -> SegmentHeader:
    header = read_segment_header(file, name)
    if header.log_id != manifest.log_id:
        raise CorruptLogError(name.file, 0, f"the segment is of log {header.log_id:016x}, this is {manifest.log_id:016x}")
    if previous and (header.previous_crc, header.first_offset) != (previous.last_crc, previous.end_offset):
        raise CorruptLogError(name.file, 0, "the segment does not follow the one before it")
    return header


def recover_newest(
    files: FileSystem, name: SegmentName, manifest: Manifest, previous: Footer | None, capacity: int
) -> tuple[Newest, TornTail | None]:
    """Reads the newest segment to its end, cuts a torn tail off, and makes what is left durable.

    Raises:
        CorruptLogError: It is damaged, not torn.
    """
    file = files.open(name.file, writable=True)
    try:
        header, size = _checked_header(file, name, manifest, previous), file.size()
        footer = read_footer(file, size, header.crc)
        if size < header.start.position:
            raise CorruptLogError(name.file, size, "the file ends inside the producers")
        reader, producers, torn = SegmentReader(file, header), decode_snapshot(header.snapshot, capacity), None
        count, durable = 0, header.start.position
        try:
            for frame in reader.frames(footer.length if footer else size):
                replay(producers, frame)
                count, durable = count + 1, frame.synced_position
        except BadFrameError as bad:
            if proof := proof_of_damage(reader, bad, size):
                raise CorruptLogError(name.file, bad.position, f"{bad.problem}, and {proof}") from bad
            torn = _cut(files, file, name, bad)
    finally:
        file.close()
    files.rewrite(name.file, durable)
    return Newest(name, header, producers, count, reader.link, footer), torn


def replay(producers: ProducerTable, frame: Frame) -> None:
    """Notes a frame's batch in the table, as it was noted when the frame was written."""
    producers.store(frame.producer_id, Stored(frame.sequence, frame.batch_hash, frame.record_count, frame.end_offset))


def _cut(files: FileSystem, file: File, name: SegmentName, bad: BadFrameError) -> TornTail:
    tail = file.read(bad.position, file.size() - bad.position)
    kept_as = f"{name.file}.{bad.position}.torn"
    copy = files.create(kept_as)
    try:
        copy.append([tail])
        copy.sync()
    finally:
        copy.close()
    files.sync_directory()
    file.truncate(bad.position)
    return TornTail(name.file, bad.position, len(tail), bad.problem, kept_as)
