"""Opening a log after a clean stop, a kill or a power cut: what is there, checked, with the torn end of the last write cut off."""

from collections import Counter
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


@dataclass(frozen=True, slots=True)
class DirectoryContents:
    """What is in a log's directory."""

    sealed: tuple[SegmentInfo, ...]
    """All but the newest segment."""
    newest: Newest | None
    torn_tail: TornTail | None


def recover(files: FileSystem, manifest: Manifest, max_producers: int, verify_bytes: int) -> DirectoryContents:
    """Reads what is there and cuts a torn tail off; of the sealed segments only the newest `verify_bytes` frame by frame.

    Raises:
        CorruptLogError: The log is damaged.
    """
    # Before the segments are counted: what an interrupted creation or deletion left behind belongs to no log.
    _remove_leftovers(files, manifest)
    # By name, before anything is opened: a missing or doubled file is named as such, not as a chain that does not join.
    names = check_complete(segment_names(files), manifest)
    # Sealed ones first: the newest must join the last of them, and nothing is cut off before the rest is known to be sound.
    sealed, previous = _recover_sealed(files, manifest, names[:-1], verify_bytes)
    # A directory without segments is a log of which only the manifest was written: `names` is empty, and nothing is missing.
    newest, torn = recover_newest(files, names[-1], manifest, previous, max_producers) if names else (None, None)
    return DirectoryContents(sealed, newest, torn)


def _remove_leftovers(files: FileSystem, manifest: Manifest) -> None:
    for file in files.names():
        name = SegmentName.parse(file)
        # Without a sync: a name that a power cut brings back is removed again by the next start. What ends in `.torn` stays for a person.
        if file.endswith(".tmp") or (name and name.index < manifest.first_segment):
            files.remove(file)


def _recover_sealed(
    files: FileSystem, manifest: Manifest, names: Sequence[SegmentName], budget: int
) -> tuple[tuple[SegmentInfo, ...], Footer | None]:
    # All sizes are known before the first byte is read, because the budget is spent from the other end.
    sizes = {name: _size(files, name) for name in names}
    thorough: set[SegmentName] = set()
    # Newest first: what a crash or a failing disk may have touched. Once it is used up the budget stays so: they follow each other.
    for name in reversed(names):
        budget -= sizes[name]
        if budget >= 0:
            thorough.add(name)
    footer, infos = None, []
    # Oldest first, each with the footer of the one before: the joints of all are checked, the frames of some.
    for name in names:
        info, footer = check_sealed(files, name, manifest, footer, read_frames=name in thorough)
        infos.append(info)
    return tuple(infos), footer


def _size(files: FileSystem, name: SegmentName) -> int:
    file = files.open(name.file)
    try:
        return file.size()
    finally:
        file.close()


def segment_names(files: FileSystem) -> list[SegmentName]:
    """The segments in the directory, oldest first."""
    # Names that are no segments are nobody's: what a person put beside them hinders no start.
    return [name for name in map(SegmentName.parse, files.names()) if name]


def check_complete(names: Sequence[SegmentName], manifest: Manifest) -> list[SegmentName]:
    """The segments that belong to the log; those below the manifest's first are leftovers of a deletion.

    Raises:
        CorruptLogError: One that must be there is missing, or one is there twice.
    """
    # Those below were named for deletion in a manifest that is durable. Whether their files are gone yet does not matter.
    live = [name for name in names if name.index >= manifest.first_segment]
    # A crash between the creation of a segment and the manifest that names it leaves one more file than the manifest knows.
    # That is no damage; every other difference is.
    last = max(manifest.last_segment, live[-1].index if live else 0)
    present = Counter(name.index for name in live)
    for index in range(manifest.first_segment, last + 1):
        # Exactly one of each number: a gap in the middle would silently lose records, a double would repeat them.
        if present[index] != 1:
            what = "is missing" if not present[index] else "is there twice"
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
        # Every segment but the newest was sealed before its successor was created. A missing footer is therefore damage.
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
        raise bad.as_damage(name.file) from bad
    # The whole of the footer is compared, not only the number of frames: a sealed segment was complete to its last byte.
    # The link, too: that a count is right does not say that the frames are those that were sealed.
    if (count, reader.link) != (footer.frame_count, Link(footer.length, footer.end_offset, footer.last_crc)):
        raise CorruptLogError(name.file, footer.length, "the footer does not fit the frames")


def _checked_header(file: File, name: SegmentName, manifest: Manifest, previous: Footer | None) -> SegmentHeader:
    header = read_segment_header(file, name)
    # Files of another log pass all checksums of their own; they come from a copy into the wrong directory.
    if header.log_id != manifest.log_id:
        raise CorruptLogError(name.file, 0, f"the segment is of log {header.log_id}, this is {manifest.log_id}")
    # Joins the segments: a segment of an older copy of this log has the right name and does not fit its predecessor.
    # The oldest one that is left has nothing before it to compare with.
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
    # Writable for the cut. Nothing is ever appended to it through this.
    file = files.open(name.file, writable=True)
    try:
        header, size = _checked_header(file, name, manifest, previous), file.size()
        footer = read_footer(file, size, header.crc)
        # The header and the snapshot were synced before the file had its name, so a file that is shorter is damaged, not torn.
        if size < header.start.position:
            raise CorruptLogError(name.file, size, "the file ends inside the producers")
        reader, producers, torn = SegmentReader(file, header), decode_snapshot(header.snapshot, capacity), None
        # Until the first frame only the header and the snapshot are proven durable.
        count, durable = 0, header.start.position
        try:
            # A footer is no frame: frames end before it. It is there after a clean stop, or when a start has sealed what a crash left.
            for frame in reader.frames(footer.length if footer else size):
                # Producers are rebuilt from the snapshot and the frames: only so is a batch that is sent again after the crash recognised.
                replay(producers, frame)
                # What this frame calls synced was durable before it was written. Everything after that may exist in the page cache only.
                count, durable = count + 1, frame.synced_position
        except BadFrameError as bad:
            # The order matters: first the proof of damage, then the cut. Bytes that were once durable are never cut off.
            if proof := proof_of_damage(reader, bad, size):
                raise bad.as_damage(name.file, proof) from bad
            torn = _cut(files, file, name, bad)
    finally:
        # Before `rewrite`, which opens the file in another mode: with O_APPEND no place inside it can be written.
        file.close()
    # Before anything is appended or acknowledged: after a failed sync of the process before, the page cache may show bytes that
    # never reached the disk. They are written again from the last position that is known to be durable.
    files.rewrite(name.file, durable)
    # The link where reading stopped is where the next frame joins, whatever was cut off behind it.
    return Newest(name, header, producers, count, reader.link, footer), torn


def replay(producers: ProducerTable, frame: Frame) -> None:
    """Notes a frame's batch in the table, as it was noted when the frame was written."""
    # The same four values as in `Log.append`, so that a table that was replayed equals the one that was lost.
    producers.store(frame.producer_id, Stored(frame.sequence, frame.batch_hash, frame.record_count, frame.end_offset))


def _cut(files: FileSystem, file: File, name: SegmentName, bad: BadFrameError) -> TornTail:
    # Up to the end of the file: whole frames behind the bad bytes go, too, as they join nothing that is left.
    tail = file.read(bad.position, file.size() - bad.position)
    # The position is in the name: a start that a crash interrupts here writes the same copy again.
    kept_as = f"{name.file}.{bad.position}.torn"
    # The tail is kept beside the segment, durable, before it is cut: it may help a person, and the cut cannot be undone.
    copy = files.create(kept_as)
    try:
        copy.append([tail])
        copy.sync()
    finally:
        copy.close()
    # Its name, too: a copy whose name a power cut takes away is none.
    files.sync_directory()
    # Only now, when the copy has its name on the disk. Durable with the sync of `rewrite`, before anybody uses the log.
    file.truncate(bad.position)
    return TornTail(name.file, bad.position, len(tail), bad.problem, kept_as)
