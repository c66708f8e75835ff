"""The write-ahead log: append, sync, seal, delete."""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Literal

from treering_ingest.durable_log import ON_DISK, Batch, DiskFullError, LogFailedError, LogState, WrongEndError
from treering_ingest.producers import ProducerTable, Stored, encode_snapshot
from treering_ingest.wal.active import Active, Mark, encode_group
from treering_ingest.wal.config import LogConfig
from treering_ingest.wal.errors import NO_ROOM
from treering_ingest.wal.filesystem import File, FileSystem
from treering_ingest.wal.frame import Link
from treering_ingest.wal.manifest import Manifest, write_manifest
from treering_ingest.wal.reader import LogCursor
from treering_ingest.wal.recovery import DirectoryContents, Newest, SegmentInfo, TornTail
from treering_ingest.wal.segment import FOOTER_BYTES, Footer, SegmentHeader, SegmentName, encode_footer, encode_segment_header

# The link in the header of a log's first segment, which has none before it.
_NO_PREVIOUS_CRC = 0


class Log:
    """A `DurableLog` in files of this machine. Made by `opening.open_log`.

    States: *open*; *failed* after an error of the disk other than a lack of room: every method then raises LogFailedError, and only a
    new process may look at the files again; *closed*.

    One thread at a time may call its methods. The properties may be read by any thread: each is one value, replaced as a whole.
    """

    durability: Literal["disk"] = ON_DISK

    def __init__(self, files: FileSystem, config: LogConfig, manifest: Manifest, clock: Callable[[], int]) -> None:
        self.files = files
        self.log_id = manifest.log_id
        self.torn_tail: TornTail | None = None
        self.producers = ProducerTable(config.max_producers)
        # Written on the log's thread, read by deliveries on theirs: one value, replaced as a whole, so that no lock is needed.
        self.synced = Mark(0, 0, 0)
        self.sync_count = 0
        self._config = config
        self._manifest = manifest
        self._clock = clock
        # A tuple: a reader on another thread goes on with the one that it has while the log puts another in its place.
        self._sealed: tuple[SegmentInfo, ...] = ()
        self._end = Link(0, 0, _NO_PREVIOUS_CRC)
        # The index of the newest segment that has its name. A failed attempt at the next one does not count.
        self._last_index = 0
        # None between a seal and the next segment, which may be long when there is no room for that one; and after `close`.
        self._active: Active | None = None
        # Once set, for good: only a new process can tell what is in the files.
        self._failure = ""

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """All segments, oldest first; the last one is usually still written."""
        # In this order: a segment that is sealed between the two lines is in the first, one that begins then in neither, and none is lost.
        active, sealed = self._active, self._sealed
        # Between the two steps of `_seal` the segment is in both. It must be listed once.
        if active is None or (sealed and sealed[-1].name.index >= active.header.index):
            return sealed
        name = SegmentName(active.header.index, active.header.first_offset)
        return (*sealed, SegmentInfo(name, active.end.position))

    @property
    def state(self) -> LogState:
        """What it costs."""
        segments = self.segments
        return LogState(len(segments), sum(info.size_bytes for info in segments), self.sync_count)

    @property
    def place(self) -> str:
        """Its directory."""
        return str(self.files.path)

    @property
    def start_offset(self) -> int:
        """The oldest offset that can still be read."""
        segments = self.segments
        return segments[0].name.first_offset if segments else self.synced.offset

    @property
    def end_offset(self) -> int:
        """One past the newest record, durable or not."""
        return self._end.offset

    @property
    def durable_offset(self) -> int:
        """Everything below it is durable."""
        return self.synced.offset

    @property
    def has_unsynced(self) -> bool:
        """Whether something was appended since the last sync."""
        # Read once: on another thread than the log's it may be None at a second look.
        active = self._active
        return active is not None and active.synced_position != active.end.position

    def append(self, batches: Sequence[Batch], expected_end: int) -> list[int]:
        """Writes the batches in order; returns the end offset of each. They are not durable before `sync`.

        Raises:
            WrongEndError: The log does not end at `expected_end`; nothing was written.
            DiskFullError: Nothing of them was written; try again when there is space.
            LogFailedError: The disk failed, now or before.
        """
        self._check_usable()
        # Before anything is written: a second writer's frames, or offsets that were counted wrongly, must never be in the file.
        if expected_end != self._end.offset:
            raise WrongEndError(f"the log ends at offset {self._end.offset}, not at {expected_end}")
        # Before the encoding: where a segment ends and the next one begins, position, link and seed of the frames are other ones.
        active = self._writable()
        buffers, link = encode_group(active, batches)
        try:
            # After an error any part of the group may be in the file. Either it is cut off again, or the log has failed.
            active.file.append(buffers)
        except OSError as error:
            raise self._undone(active, error) from error
        ends = self._end_offsets(batches)
        # Only when the whole group is in the file: the next segment begins with this table, and must not name a batch that is not there.
        for batch, end_offset in zip(batches, ends, strict=True):
            self.producers.store(batch.producer_id, Stored(batch.sequence, batch.batch_hash, batch.record_count, end_offset))
        active.frame_count += len(batches)
        # The next group joins here. Readers do not get this far yet: they stop at `synced`.
        active.end = self._end = link
        return ends

    def _end_offsets(self, batches: Sequence[Batch]) -> list[int]:
        ends, offset = [], self._end.offset
        for batch in batches:
            offset += batch.record_count
            ends.append(offset)
        return ends

    def sync(self) -> None:
        """Makes everything that was appended durable.

        Raises:
            LogFailedError: The disk failed, now or before.
        """
        self._check_usable()
        # Without one there is nothing to sync: sealing has synced it all.
        if self._active is not None:
            self._sync_frames(self._active)

    def _sync_frames(self, active: Active) -> None:
        # All of it is durable already, as at a seal right after a commit.
        if active.synced_position == active.end.position:
            return
        self._sync(active.file)
        # First the sync, then what is told of it. Frames that follow carry this position as the proof that what is below was durable, and
        # readers deliver up to the mark: a sink must never hold what a power cut takes back.
        active.synced_position = active.end.position
        self._mark(active)

    def _mark(self, active: Active) -> None:
        self.synced = Mark(active.header.index, active.end.position, active.end.offset)

    def _sync(self, file: File) -> None:
        # Every error is final, also ENOSPC, which a file system may report only here: Linux may have marked the pages clean, and the
        # next sync would succeed without them.
        self.sync_count += 1
        try:
            file.sync()
        except OSError as error:
            raise self._fail(error) from error

    def release(self, below_offset: int, *, min_age_s: float = 0.0, min_bytes: int = 0) -> int:
        """Deletes sealed segments, oldest first, whose records are all below an offset; returns how many.

        Args:
            below_offset: Every sink has everything below it safe.
            min_age_s: Segments sealed less than this many seconds ago stay. One that a clock ahead of its time sealed further in the
                future counts as old: it would stay for years.
            min_bytes: At least this many bytes of segments stay.

        Raises:
            LogFailedError: The disk failed, now or before.
        """
        self._check_usable()
        gone = self._removable(below_offset, int(min_age_s * 1e9), min_bytes)
        if not gone:
            return 0
        try:
            # First the manifest, durable: after a crash from here on, the next start deletes what is below its first segment. In the
            # other order a segment that was deleted would pass for one that is lost.
            self._write_manifest(first_segment=gone[-1].index + 1)
            # Before the files go: a reader that does not find its file compares the list, and takes it for a loss if that is unchanged.
            self._sealed = self._sealed[len(gone) :]
            for name in gone:
                # An error here leaves files that the manifest does not name any more. The next start removes them.
                self.files.remove(name.file)
            # Not needed for correctness: a name that a power cut brings back is below the manifest's first.
            self.files.sync_directory()
        except OSError as error:
            raise self._undone(None, error) from error
        return len(gone)

    def follow(self, offset: int) -> LogCursor:
        """A reader that wants the records from an offset on."""
        return LogCursor(self, offset)

    def _removable(self, below_offset: int, min_age_ns: int, min_bytes: int) -> list[SegmentName]:
        gone, left, now = [], sum(info.size_bytes for info in self.segments), self._clock()
        # While no segment is written, the newest sealed one stays: a log without segments would begin at offset 0 again.
        for info in self._sealed if self._active else self._sealed[:-1]:
            left -= info.size_bytes
            if info.end_offset > below_offset or abs(now - info.sealed_unix_nano) < min_age_ns or left < min_bytes:
                # Not `continue`: only the front may go, or the offsets would have a gap.
                break
            gone.append(info.name)
        return gone

    def close(self) -> None:
        """Seals the newest segment, so that the next start can tell damage from a crash. A failed log is left as it is."""
        # After a failure nothing is written any more: the next process looks at what is really in the files.
        if self._failure or self._active is None:
            return
        if self._active.frame_count:
            self._seal(self._active)
        else:
            # Without frames there is nothing to seal, and the next start puts a new segment in its place: idle restarts add no files.
            self._active.file.close()
            self._active = None

    def _check_usable(self) -> None:
        if self._failure:
            raise LogFailedError(f"the log stopped after an error of the disk: {self._failure}")

    def _fail(self, error: OSError) -> LogFailedError:
        # The text, not the error: kept, that would hold the frames that it went through, and their payloads.
        self._failure = str(error)
        return LogFailedError(f"the disk of {self.files.path} failed: {error}")

    def _undone(self, active: Active | None, error: OSError) -> LogFailedError | DiskFullError:
        """Takes a partial write back when there was no room; anything else has broken the log."""
        passing = NO_ROOM.get(error.errno or 0)
        # What is in the file after any other error is not known, so nothing may be written behind it.
        if passing is None:
            return self._fail(error)
        if active:
            try:
                # Not synced: nobody was told of these frames, so it does no harm if a power cut brings some of them back.
                active.file.truncate(active.end.position)
            except OSError as second:
                return self._fail(second)
        return passing(f"{self.files.path}: {error.strerror}")

    def _writable(self) -> Active:
        """The segment to append to, begun if there is none."""
        # Between groups only: a group is in one segment, which may therefore be larger than this by one group.
        if self._active and self._is_full(self._active):
            self._seal(self._active)
        return self._active or self.begin_segment()

    def _is_full(self, active: Active) -> bool:
        # Its frames take at least as much as what it begins with: a snapshot of many producers would otherwise be written for each group.
        return active.end.position >= max(self._config.segment_bytes, 2 * active.header.start.position)

    def _seal(self, active: Active) -> None:
        self._sync_frames(active)  # a footer says that everything before it is durable
        position, offset, crc = active.end
        footer = Footer(active.frame_count, offset, position, self._clock(), crc)
        try:
            active.file.append([encode_footer(footer, active.header.crc)])
        except OSError as error:
            # A part of a footer would be read as a bad frame. It is cut off, as a group is.
            raise self._undone(active, error) from error
        # Before a successor may exist: beside one, a segment without a valid footer counts as damaged.
        self._sync(active.file)
        self._mark(active)
        name = SegmentName(active.header.index, active.header.first_offset)
        # Listed as sealed first. In the other order it would be in neither list for a moment, and a reader would miss it.
        self._sealed = (*self._sealed, SegmentInfo(name, active.file.size(), offset, footer.sealed_unix_nano))
        self._active = None
        # Last. Deliveries that read this file have descriptors of their own.
        active.file.close()

    def begin_segment(self) -> Active:
        """Creates the next segment, complete and durable before it has its name: a half-written header cannot exist."""
        index = self._last_index + 1
        # As of the frame before: this segment's frames replayed over it give the table, when all segments before are deleted.
        snapshot = encode_snapshot(self.producers)
        offset, previous_crc = self._end.offset, self._end.crc
        # The salt comes from `secrets`: a sender that could guess it could send a payload that passes for frames of this segment.
        header = SegmentHeader(self.log_id, index, offset, self._clock(), secrets.randbits(64), previous_crc, snapshot)
        content, crc = encode_segment_header(header)
        header = dataclasses.replace(header, crc=crc)
        name = SegmentName(index, offset).file
        try:
            file = self._create(name, content, index)
        except OSError as error:
            # The number is not used up: the next attempt takes it again, and replaces what this one left under the name.
            raise self._undone(None, error) from error
        self._last_index, self._end = index, header.start
        active = Active(file, header, header.start, 0, header.start.position)
        # First the segment, then the mark in it: readers look at them in the other order, and find the mark's segment in the list.
        self._active = active
        self._mark(active)
        return active

    def _create(self, name: str, content: bytes, index: int) -> File:
        temporary = name + ".tmp"
        file = self.files.create(temporary)
        try:
            file.append([content])
            self.sync_count += 1
            # Content before name: what has the name of a segment has a whole header and snapshot, or is damaged.
            file.sync()
            self.files.rename(temporary, name)
            self.files.sync_directory()
            # Last, when the name is durable: all that the manifest names must be there. One segment more than it names is no damage.
            self._write_manifest(last_segment=index)
        except OSError:
            # Closed, or each attempt on a full disk would leave a descriptor.
            file.close()
            raise
        return file

    def _write_manifest(self, **changes: int) -> None:
        manifest = dataclasses.replace(self._manifest, **changes)
        write_manifest(self.files, manifest)
        # Only now: after an error the next write must not carry on with a deletion that was given up.
        self._manifest = manifest

    def resume(self, found: DirectoryContents) -> None:
        """Goes on where the files end; used once, by `open_log`."""
        self._sealed, self.torn_tail = found.sealed, found.torn_tail
        if found.newest:
            self._resume(found.newest)
        # Each start begins a segment: nothing is appended to a file that another process wrote, but for a footer.
        self.begin_segment()

    def _resume(self, newest: Newest) -> None:
        name, footer = newest.name, newest.footer
        self.producers = newest.producers
        if newest.frame_count == 0 and footer is None:
            # nothing in it: the next segment takes its number and, atomically, its name
            self._end, self._last_index = Link(0, newest.end.offset, newest.header.previous_crc), name.index - 1
            return
        self._end, self._last_index = newest.end, name.index
        if footer:
            info = SegmentInfo(name, footer.length + FOOTER_BYTES, footer.end_offset, footer.sealed_unix_nano)
            self._sealed = (*self._sealed, info)
            return
        # Recovery has synced it to its end, so nothing but the footer is missing.
        file = self.files.open(name.file, writable=True)
        self._seal(Active(file, newest.header, newest.end, newest.frame_count, newest.end.position))
