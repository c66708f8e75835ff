"""Sealed segments that are not what was sealed: how they are found, remembered, and refused.

A number that leaves records out without a word is worse than no number, so a question that reads a damaged segment is refused, with the
file's name and what to do; questions about other times, services or patterns do not reach into it and are answered. What was damaged once
is looked at again when its file has changed: a copy that is put back counts from the next question on.
"""

import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from treering.v1.error_pb2 import ErrorReason
from treering_query.sealed.checksums import checksum_of
from treering_query.values.segment import Segment
from treering_runtime.errors import ServiceError

_LOG = structlog.get_logger()
_SECOND = 1_000_000_000

SOUND_S = 300.0
"""How long a file that was found sound is not read again, seconds, unless it has changed or the database names it: questions that fail for
another reason must not have the whole store read each time."""


class FileState(NamedTuple):
    """Changes when a file is replaced or written to. The inode too: a copy that was moved into place may keep size and time."""

    inode: int
    size_bytes: int
    modified_ns: int


class Damaged(NamedTuple):
    """A segment that is not what was sealed."""

    segment: Segment
    problem: str
    """In words."""
    state: FileState | None
    """Of its file before it was read; None of one that is not there."""


def damage_of(segment: Segment) -> Damaged | None:
    """What is wrong with a segment's file; None when it is what was sealed. Reads all of it."""
    # Before it is read: what is written meanwhile makes another state, so the file is read again and not taken for what was read here.
    state = file_state(segment)
    problem = problem_of(segment)
    return Damaged(segment, problem, state) if problem else None


def problem_of(segment: Segment) -> str | None:
    """What is wrong with a segment's file as bytes, in words; None when it is what was sealed. Reads all of it."""
    try:
        # The size first: it costs one system call, and finds a file that was cut or is missing.
        size = segment.path.stat().st_size
        if size != segment.size_bytes:
            return f"it has {size:,} bytes instead of {segment.size_bytes:,}"
        # A segment of an early version has no checksum; of it no more than the size can be said.
        if segment.checksum is not None and checksum_of(segment.path) != segment.checksum:
            return "its bytes are not those that were sealed"
    # Every outcome is an answer in words: the callers are a question that failed and a check, both have to go on.
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        # The system's words only: the text of the error names a path of the server.
        return f"it cannot be read ({error.strerror})"
    return None


def contents(segment: Segment) -> str:
    """What a segment holds, for people: how many records, of which offsets and times."""
    ranges = ", ".join(f"{part.first_offset} to {part.end_offset - 1} of log {part.log_id}" for part in segment.ranges)
    times = f"{_time(segment.first_time)} to {_time(segment.last_time)}"
    return f"{segment.row_count:,} records, offsets {ranges}, times {times}"


class DamagedSegmentError(ServiceError):
    """A question needs a segment that is damaged."""

    def __init__(self, damaged: Damaged) -> None:
        segment, problem, _ = damaged
        message = (
            f"segments/{segment.path.name} is damaged: {problem}. It holds {contents(segment)}. Restore the file from a copy; "
            "aggregate, search and export still answer about other times and services; `treering store verify` checks all files"
        )
        metadata = {
            "file": f"segments/{segment.path.name}",
            "first_time_unix_nano": str(segment.first_time),
            "last_time_unix_nano": str(segment.last_time),
        }
        # The words go to the caller: the name of the file below the data directory, never its full path.
        super().__init__(ErrorReason.ERROR_REASON_STORE_DAMAGED, message, metadata=metadata)
        self.damaged = damaged


class Damage:
    """The segments that were found damaged since the start and are still there. Any thread may call it."""

    def __init__(self) -> None:
        # By id: ids are never used twice, so an entry cannot come to stand for another file.
        self._found: dict[int, Damaged] = {}
        # By id: when it was found sound, on the monotonic clock, and the state of the file before it was read.
        self._sound: dict[int, tuple[float, FileState | None]] = {}

    @property
    def segment_ids(self) -> Collection[int]:
        """Which ones."""
        return tuple(self._found)

    def mark(self, damaged: Damaged) -> None:
        """Remembers that a segment is damaged."""
        segment = damaged.segment
        # Once: every question that meets it calls this again.
        if segment.segment_id not in self._found:
            _LOG.error(
                "a segment is damaged; restore it from a copy", file=segment.path.name, problem=damaged.problem, rows=segment.row_count
            )
        self._found[segment.segment_id] = damaged

    def forget_all_but(self, segment_ids: Collection[int]) -> None:
        """Only these segments are still there: what is remembered never grows beyond them."""
        # One entry at a time: another thread may add one meanwhile, and a table that is put in place of this one would lose it.
        for gone in set(self.segment_ids).difference(segment_ids):
            self._found.pop(gone, None)

    def refuse(self, segments: Iterable[Segment]) -> None:
        """Returns when none of the segments is known to be damaged.

        Raises:
            DamagedSegmentError: One is.
        """
        # In a store without damage a question pays nothing here.
        for segment in segments if self._found else ():
            # The first is enough: the question is refused as a whole.
            if damaged := self._known(segment):
                raise DamagedSegmentError(damaged)

    def find(self, segments: Iterable[Segment], error: str, until: float) -> DamagedSegmentError | None:
        """Looks for the damage that may have made a question fail: reads files until one is damaged.

        Args:
            segments: What the question read.
            error: The words of the database. Files that they name are looked at first, then those that are known to be damaged.
            until: `time.monotonic()` after which no further file is begun.
        """
        # Forgotten by age here, so the table is never larger than the segments that were read within `SOUND_S`.
        self._sound = {number: found for number, found in self._sound.items() if found[0] > time.monotonic() - SOUND_S}
        # False sorts before True: first what the error names, then what is known to be damaged, then the rest.
        for segment in sorted(segments, key=lambda each: (each.path.name not in error, each.segment_id not in self._found)):
            # A file that the error names is always read: it may have been damaged without a trace in its state, as by a bad disk.
            if segment.path.name not in error and self._was_sound(segment):
                continue
            # Between files and not within one: the question has failed already, only its words are at stake.
            if time.monotonic() > until:
                # The question then gets the database's own error, as if nothing had been looked for.
                _LOG.warning("the search for damage took too long and was ended; `treering store verify` checks every file")
                return None
            state = file_state(segment)  # before it is read, as in `damage_of`
            if damaged := damage_of(segment):
                self.mark(damaged)
                return DamagedSegmentError(damaged)
            # Only now: a file that could not be read to its end is not sound.
            self._sound[segment.segment_id] = (time.monotonic(), state)
        return None

    def _was_sound(self, segment: Segment) -> bool:
        """Whether its file was read a short time ago, was sound, and has not changed since."""
        return segment.segment_id in self._sound and self._sound[segment.segment_id][1] == file_state(segment)

    def _known(self, segment: Segment) -> Damaged | None:
        # One look-up: another thread may take the entry away at any moment.
        known = self._found.get(segment.segment_id)
        # Unchanged since: its bytes are not read again for each question.
        if known is None or known.state == file_state(segment):
            return known
        # It was written to or replaced. Its bytes decide, not the operator's word.
        damaged = damage_of(segment)
        if damaged:
            self.mark(damaged)
        else:
            # With a default: two questions may find the restored file at the same time.
            self._found.pop(segment.segment_id, None)
            _LOG.info("a damaged segment was restored", file=segment.path.name)
        return damaged


def file_state(segment: Segment) -> FileState | None:
    """The state of a segment's file; None when there is none."""
    try:
        found = segment.path.stat()
    except OSError:
        return None
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


def _time(nanos: int) -> str:
    return datetime.fromtimestamp(nanos // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
