"""Reading the log in order while it is written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from treering_ingest.durable_log import Range, StoredBatch
from treering_ingest.wal.errors import BadFrameError, CorruptLogError
from treering_ingest.wal.frame import Frame
from treering_ingest.wal.recovery import SegmentInfo
from treering_ingest.wal.segment import SegmentName, SegmentReader, read_footer, read_segment_header
from treering_runtime.limits import MAX_DELIVERED_FRAMES

if TYPE_CHECKING:
    from treering_ingest.wal.log import Log


class LogCursor:
    """Walks the durable part of a log from an offset on. Blocks on the disk; one thread at a time.

    A cursor behind the oldest segment begins there: the records before it are gone.

    Args:
        log: The log; it may be written meanwhile.
        offset: The first record that is wanted.
    """

    def __init__(self, log: "Log", offset: int) -> None:
        self._log = log
        self._wanted = offset
        self._reader: SegmentReader | None = None
        self._name = SegmentName(0, 0)
        # None: not looked up yet. Set for a sealed segment only, where it never changes.
        self._frames_end: int | None = None
        # The link and the offset of the newest record that was read or passed over, together: a link counts for its offset alone.
        self._link: int | None = None
        # No place has this offset: before the first frame was read there is no link.
        self._link_offset = -1
        self._peeked: Frame | None = None

    def close(self) -> None:
        """Closes the file that it reads."""
        if self._reader:
            self._reader.file.close()
            self._reader = None

    def read(self, max_bytes: int) -> Sequence[StoredBatch]:
        """The next frames with records, until their payloads have `max_bytes`, at least one; empty at the durable end.

        No more frames than one delivery may hold.

        Raises:
            CorruptLogError: The log is damaged here; nothing is skipped.
        """
        return self.read_range(max_bytes).frames

    def read_range(self, max_bytes: int) -> Range:
        """As `read`, with the link before."""
        frames: list[Frame] = []
        room, frame = max_bytes, self._next_wanted()
        # The link of the record before: a sink compares it with the link that it keeps itself.
        before = self._link
        # At least one, however large, or the cursor would never get beyond it.
        while frame is not None:
            frames.append(frame)
            self._link, self._link_offset = frame.link, frame.end_offset
            room -= len(frame.payload)
            # Also bounded in frames: those of one short record are many in few bytes, and the sink's event loop looks at each.
            frame = self._next_wanted() if room > 0 and len(frames) < MAX_DELIVERED_FRAMES else None
        # 0 where there is no record before: at the beginning of the log, or where it was deleted.
        return Range(frames, before or 0)

    def link_before(self) -> int | None:
        """The link of the record before the wanted offset; None where no frame ends there, or it is gone. Asked before the first read.

        Raises:
            CorruptLogError: The log is damaged before that offset.
        """
        # Kept for the first `read`: the link before it is known only once this frame is there.
        self._peeked = self._next_wanted()
        # The link of another place would prove nothing: the wanted offset may be inside a frame, or below the oldest segment.
        return self._link if self._link_offset == self._wanted else None

    def _next_wanted(self) -> Frame | None:
        """The next frame with records from the wanted offset on; of those below, the link of the last one is kept."""
        frame, self._peeked = self._peeked, None
        while frame is None and (read := self._next()) is not None:
            # As a whole: a frame that begins below the wanted offset and ends above it is delivered, and the sink skips what it has.
            if read.record_count and read.end_offset > self._wanted:
                frame = read
            # Frames without records keep a producer's place only: sinks and their links know nothing of them. Records below the
            # wanted offset are read for their link alone.
            elif read.record_count:
                self._link, self._link_offset = read.link, read.end_offset
        return frame

    def _next(self) -> Frame | None:
        while True:
            # `synced` before `segments`: in the other order a segment could be begun between the two, and `synced` would lie in one
            # that the list does not name. Each of the two is one value, replaced as a whole by the log's thread.
            synced, segments = self._log.synced, self._log.segments
            # Retention may delete a segment before it is opened. Then the whole step is done again with a new list.
            try:
                # Looked up without a file only. With one, the segments are walked through in order, whatever the wanted offset was.
                reader = self._reader or self._open(_containing(segments, self._wanted))
                if reader is None:
                    return None
                # In the segment that is written only what is synced may be read: a sink must never hold what a power cut takes back.
                newest = self._name.index >= synced.segment
                frame = self._next_of(reader, synced.position if newest else self._frames_end)
                # None in the newest segment is its durable end for now; in an older one it is the end of the segment.
                if frame is not None or newest:
                    return frame
                # By number, not by place in the list: its front may be deleted meanwhile.
                following = next((info.name for info in segments if info.name.index > self._name.index), None)
                if self._open(following) is None:
                    return None
            except FileNotFoundError:
                # The same list of segments: nothing was trimmed, so the file is missing for another reason, and that is an error.
                if self._log.segments == segments:
                    raise
                # trimmed since its name was looked up: the oldest one that is there now is the next

    def _next_of(self, reader: SegmentReader, end: int | None) -> Frame | None:
        try:
            return reader.next(self._find_end(reader) if end is None else end)
        # Valid bytes end before the durable end: the log is damaged. The delivery stops here rather than leave records out.
        except BadFrameError as bad:
            raise bad.as_damage(self._name.file) from bad

    def _find_end(self, reader: SegmentReader) -> int:
        """Where the frames of a sealed segment end; its footer never changes, so it is read once."""
        size = reader.file.size()
        footer = read_footer(reader.file, size, reader.header.crc)
        # Nothing is read on without a footer: where the frames end would be a guess.
        if footer is None:
            raise CorruptLogError(self._name.file, size, "the segment has no valid footer although a newer one exists")
        self._frames_end = footer.length
        return footer.length

    def _open(self, name: SegmentName | None) -> SegmentReader | None:
        if name is None:
            return None
        # The file of the segment before is closed first, so that at most one is open for each delivery.
        # Unset before the next one is opened: after an error of `open` the cursor has no file, and looks up its place anew.
        self.close()
        file = self._log.files.open(name.file)
        try:
            self._reader = SegmentReader(file, read_segment_header(file, name))
        except BaseException:
            # `_reader` is not set yet, so nobody else would close the file.
            file.close()
            raise
        # The end belongs to the file that was open before.
        self._name, self._frames_end = name, None
        return self._reader


def _containing(segments: Sequence[SegmentInfo], offset: int) -> SegmentName | None:
    """The newest segment that begins below an offset, else the oldest there is: it holds the record before, which gives the link."""
    # Strictly below: a segment that begins at the offset does not hold the record before it.
    below = [info.name for info in segments if info.name.first_offset < offset]
    return below[-1] if below else next((info.name for info in segments), None)
