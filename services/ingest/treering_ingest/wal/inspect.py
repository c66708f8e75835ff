"""Looking at a log's directory from outside: while it is written, stopped, or copied after a crash. Nothing is ever written.

Everything here also works on a damaged log, as far as the damage allows, and says what is wrong instead of raising.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from treering_ingest.wal.errors import BadFrameError, CorruptLogError
from treering_ingest.wal.filesystem import File, FileSystem, PosixFileSystem
from treering_ingest.wal.frame import Frame
from treering_ingest.wal.manifest import MANIFEST, Manifest, read_manifest
from treering_ingest.wal.recovery import check_complete, check_frames, segment_names
from treering_ingest.wal.segment import (
    Footer,
    SegmentHeader,
    SegmentName,
    SegmentReader,
    proof_of_damage,
    read_footer,
    read_segment_header,
)


@dataclass(frozen=True, slots=True)
class LogProblem:
    """Something that is not as it must be.

    Args:
        file: Where.
        position: Bytes from the start of the file.
        problem: What.
        is_damage: False for the torn end of a write that a crash interrupted (the next start cuts it off), or one going on just now.
    """

    file: str
    position: int
    problem: str
    is_damage: bool


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One segment.

    Args:
        file: Its name.
        first_offset: Of its first record.
        end_offset: One past its last readable record.
        frame_count: Readable frames.
        size_bytes: Of the file.
        created_unix_nano: When it was begun.
        sealed_unix_nano: When it was completed; 0 while it is written, or when a crash ended it.
    """

    file: str
    first_offset: int
    end_offset: int
    frame_count: int
    size_bytes: int
    created_unix_nano: int
    sealed_unix_nano: int


@dataclass(frozen=True, slots=True)
class LogReport:
    """A whole log: what is in it and what is wrong with it."""

    path: Path
    log_id: int
    segments: tuple[SegmentReport, ...]
    problems: tuple[LogProblem, ...]

    @property
    def start_offset(self) -> int:
        """The oldest readable offset."""
        return self.segments[0].first_offset if self.segments else 0

    @property
    def end_offset(self) -> int:
        """One past the newest readable record."""
        return self.segments[-1].end_offset if self.segments else 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing that was durable is damaged or missing. A torn tail is no damage."""
        return not any(problem.is_damage for problem in self.problems)


def verify(path: Path) -> LogReport:
    """Reads every byte of a log and checks all of it.

    Raises:
        OSError: The directory or a file cannot be read.
    """
    return _report(PosixFileSystem(path), thorough=True)


def inspect(path: Path) -> LogReport:
    """As `verify`, but of sealed segments it reads only the header and the footer.

    Raises:
        OSError: The directory or a file cannot be read.
    """
    return _report(PosixFileSystem(path), thorough=False)


def _report(files: FileSystem, *, thorough: bool) -> LogReport:
    problems: list[LogProblem] = []
    manifest, names = _layout(files, problems)
    reports: list[SegmentReport] = []
    previous: Footer | None = None
    for name in names:
        # As of the listing. A log that runs may have sealed it by now: with a footer it needs no exception for the newest.
        check = _Check(files, name, problems, newest=name == names[-1])
        try:
            report, previous = check.run(manifest, previous, thorough=thorough)
            reports.append(report)
        except CorruptLogError as error:
            # Unknown after a segment that cannot be read: the joint behind it cannot be checked, and is no second problem.
            previous = None
            problems.append(_damage(error))
        except FileNotFoundError:
            previous = None
            # Looked up now: a running log deletes segments after the listing. Only one that the manifest still names is lost.
            if _is_live(files, name):
                problems.append(LogProblem(name.file, 0, "the file vanished while the log was read", is_damage=True))
            else:
                reports.clear()  # segments are deleted from the front: those before it are gone, too
    return LogReport(files.path, manifest.log_id if manifest else 0, tuple(reports), tuple(problems))


def cat(path: Path, start_offset: int = 0) -> Iterator[Frame]:
    """The readable frames with records at or above an offset, in order. Stops at a torn tail.

    A segment that a running log deletes before its turn is left out: its offsets are missing in what is yielded.

    Raises:
        CorruptLogError: The log is damaged here.
        OSError: The directory or a file cannot be read.
    """
    files = PosixFileSystem(path)
    names = segment_names(files)
    # By the names of the listing: the last one has no successor, and may be the one that is written.
    for name, following in zip(names, [*names[1:], None], strict=True):
        # A segment ends where the next one begins: those that end at or below the offset are not opened.
        if following is None or following.first_offset > start_offset:
            try:
                found = _frames(files, name, newest=following is None)
                yield from (frame for frame in found if frame.record_count and frame.end_offset > start_offset)
            except FileNotFoundError:
                if _is_live(files, name):
                    raise


def _frames(files: FileSystem, name: SegmentName, *, newest: bool) -> Iterator[Frame]:
    with _opened(files, name) as file:
        # Read once: a log that runs may be longer by now, and what is there later is not looked at.
        reader, size = SegmentReader(file, read_segment_header(file, name)), file.size()
        footer = read_footer(file, size, reader.header.crc)
        try:
            yield from reader.frames(footer.length if footer else size)
        except BadFrameError as bad:
            # Only the newest may end in a torn write, or in one that goes on just now: then the readable frames are over.
            if not newest or proof_of_damage(reader, bad, size):
                raise bad.as_damage(name.file) from bad
        # After its frames, so that they are shown: whoever reads on must know that what stood behind them is gone.
        if footer is None and not newest:
            raise CorruptLogError(name.file, size, "no valid footer although a newer segment exists")


def _layout(files: FileSystem, problems: list[LogProblem]) -> tuple[Manifest | None, list[SegmentName]]:
    """The manifest and the segments that it speaks of."""
    manifest: Manifest | None = None
    names: list[SegmentName] = []
    try:
        manifest, names = _same_moment(files)
        # Segments are shown without a manifest, too: somebody who lost it needs to see what is left.
        if manifest is None:
            problems.append(
                LogProblem(MANIFEST, 0, "the manifest is missing: this is no log's directory, or it is damaged", is_damage=True)
            )
            return None, names
        return manifest, check_complete(names, manifest)
    except CorruptLogError as error:
        # Damaged is the manifest, or its segments do not fit it. What is in the directory can be read all the same.
        problems.append(_damage(error))
        return manifest, names or segment_names(files)


def _same_moment(files: FileSystem) -> tuple[Manifest | None, list[SegmentName]]:
    """Reads again while the log is rotated or trimmed between the two looks."""
    while True:
        manifest, names = read_manifest(files), segment_names(files)
        # The same before and after the listing: in between the manifest named no other segments, so the two belong together.
        if read_manifest(files) == manifest:
            return manifest, [name for name in names if manifest is None or name.index >= manifest.first_segment]


def _is_live(files: FileSystem, name: SegmentName) -> bool:
    # Read anew: it names for deletion before a file goes, so a segment that went rightly is below its first by now.
    manifest = read_manifest(files)
    # A directory without a manifest tells nothing of deletions, so each of its segments counts.
    return manifest is None or name.index >= manifest.first_segment


class _Check:
    """Checks one segment and notes what is wrong."""

    def __init__(self, files: FileSystem, name: SegmentName, problems: list[LogProblem], *, newest: bool) -> None:
        self._files = files
        self._name = name
        self._problems = problems
        self._newest = newest

    def run(self, manifest: Manifest | None, previous: Footer | None, *, thorough: bool) -> tuple[SegmentReport, Footer | None]:
        """What is in the segment, and its footer.

        Raises:
            CorruptLogError: Its header cannot be read, so nothing of it can.
        """
        with _opened(self._files, self._name) as file:
            header, size = read_segment_header(file, self._name), file.size()
            # Noted, not raised: what is inside the segment can be read whatever it follows.
            if problem := _joint_problem(header, manifest, previous):
                self._note(0, problem, is_damage=True)
            reader, footer = SegmentReader(file, header), read_footer(file, size, header.crc)
            if footer is None:
                # In this order: `_unsealed` moves the link to where what can be read ends.
                count, end_offset, sealed = self._unsealed(reader, size), reader.link.offset, 0
            else:
                # A footer is believed here: it was written when everything before it was durable. `thorough` reads the frames themselves.
                count, end_offset, sealed = footer.frame_count, footer.end_offset, footer.sealed_unix_nano
                if thorough:
                    self._sealed(reader, footer)
            first = header.first_offset
            return SegmentReport(self._name.file, first, end_offset, count, size, header.created_unix_nano, sealed), footer

    def _sealed(self, reader: SegmentReader, footer: Footer) -> None:
        try:
            # Noted, so that the segments behind it are looked at, too.
            check_frames(reader, self._name, footer)
        except CorruptLogError as error:
            self._problems.append(_damage(error))

    def _unsealed(self, reader: SegmentReader, size: int) -> int:
        count = 0
        if not self._newest:
            self._note(size, "no valid footer although a newer segment exists", is_damage=True)
        try:
            # While the log is written, its last frame may be there in part only: a bad frame that is no damage.
            for _ in reader.frames(size):
                count += 1
        except BadFrameError as bad:
            # Only the newest may end in the middle of a write, and there only what no later frame calls durable.
            self._note(bad.position, bad.problem, is_damage=not self._newest or proof_of_damage(reader, bad, size) is not None)
        return count

    def _note(self, position: int, problem: str, *, is_damage: bool) -> None:
        self._problems.append(LogProblem(self._name.file, position, problem, is_damage=is_damage))


def _joint_problem(header: SegmentHeader, manifest: Manifest | None, previous: Footer | None) -> str | None:
    # Copies of another log have checksums that fit. They come from a restore into the wrong directory.
    if manifest and header.log_id != manifest.log_id:
        return f"the segment is of log {header.log_id}, this is {manifest.log_id}"
    # Both: segments that hold frames without records alone have the same first offset, and differ in the checksum.
    if previous and (header.previous_crc, header.first_offset) != (previous.last_crc, previous.end_offset):
        return "the segment does not follow the one before it"
    return None


def _damage(error: CorruptLogError) -> LogProblem:
    return LogProblem(error.file, error.position, error.problem, is_damage=True)


@contextmanager
def _opened(files: FileSystem, name: SegmentName) -> Iterator[File]:
    # Opened one by one: a directory may hold more segments than a process may have files.
    file = files.open(name.file)
    try:
        yield file
    finally:
        file.close()
