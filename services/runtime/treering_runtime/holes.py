"""Holes: ranges of a log that a sink does without, because an operator decided so.

A sink that has part of a log never goes on behind records that the log does not have any more. `treering store skip` writes the hole into
the file `holes.json` of the sink's data directory: whoever may write there may decide that. The file is the order and the record of it: the
sink looks at it whenever a delivery begins with a gap, and marks the hole there once it has gone on behind it. From then on progress,
status, `treering verify` and answers name it.

So the file has two writers, the command and the sink, in two processes. Each reads it anew and replaces it while it holds the lock
`holes.lock`: none takes back what the other one wrote.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from filelock import FileLock, Timeout

from treering.v1 import log_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import ServiceError, StartError

HOLES_FILE = "holes.json"
_LOCK_FILE = "holes.lock"
_COMMAND_WAITS_S = 10.0
"""How long the command waits for its turn to write, seconds; the other one holds the lock for a sync of the disk."""
_VERSION = 2
_NAMED = 3
"""Holes that are named one by one in an answer; of further ones only the number is."""

_LOG = structlog.get_logger()


class Hole(NamedTuple):
    """Offsets of a log that a sink never gets."""

    log_id: int
    first_offset: int
    end_offset: int

    def __str__(self) -> str:
        """In words."""
        return f"offsets {self.first_offset} to {self.end_offset - 1} of log {self.log_id}"


class _Damaged(Exception):  # noqa: N818 - becomes one of two errors
    """The file of holes cannot be used; the message names it, the problem and the remedy."""

    def __init__(self, file: Path, problem: object) -> None:
        super().__init__(
            f"{file} cannot be used: {problem}. It says which records were left out on purpose: restore it; or delete it and repeat "
            "`treering store skip` where a delivery asks for it"
        )


class Holes:
    """The holes of one sink, read when the file has changed. Belongs to one event loop.

    Args:
        directory: The sink's data directory; None for a sink without holes.

    Raises:
        StartError: The file is damaged.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        # The stamp before the content: what is written in between makes another stamp, and is read at the next look.
        self._stamp = _stamp(directory)
        self._damage: _Damaged | None = None
        try:
            self._found = _read(directory) if directory else {}
        except _Damaged as damage:
            raise StartError(str(damage)) from None

    @property
    def messages(self) -> list[pb.Hole]:
        """Those behind which the sink has gone on, by log and offset."""
        return [
            pb.Hole(log_id=each.log_id, first_offset=each.first_offset, end_offset_exclusive=each.end_offset)
            for each in joined(self.gone_behind)
        ]

    @property
    def words(self) -> str:
        """What answers lack because of them, for people; empty without holes."""
        if not (holes := joined(self.gone_behind)):
            return ""
        count = sum(hole.end_offset - hole.first_offset for hole in holes)
        named = ", ".join(map(str, holes[:_NAMED])) + (f" and {len(holes) - _NAMED} more holes" if len(holes) > _NAMED else "")
        return f"{count:,} records are missing for good: {named}; an operator let the service go on without them (treering store skip)"

    @property
    def gone_behind(self) -> list[Hole]:
        """Those behind which the sink has gone on, as they were read last."""
        return [hole for hole, is_used in self._found.items() if is_used]

    def go_behind(self, hole: Hole) -> bool:
        """Whether an operator has made this hole; it is marked then, durably, before the sink goes on behind it.

        Raises:
            ServiceError: SEQUENCE_GAP: the file is damaged or cannot be written.
        """
        # What was read last may be old: the operator writes this file while the service runs.
        self._look()
        # Damage is told to each delivery that has a gap; one without a gap does not need this file and goes on.
        if self._damage:
            raise _gap(self._damage)
        # `is False`: a hole that is marked already is not written again, and one that nobody made is None.
        if self._directory and self._found.get(hole) is False:
            try:
                # Marked on disk before the sink goes on: progress behind a hole that no file names would look like lost records.
                # It does not wait for its turn, as this is the event loop: the delivery is refused, and begins again.
                _put(self._directory, hole, is_used=True, timeout_s=0)
            # Refused, here and below: without the mark the sink must not go on behind the hole.
            except Timeout:
                raise _gap(f"{self._directory / HOLES_FILE} is being written by another process; the delivery is tried again") from None
            except OSError as error:
                raise _gap(_Damaged(self._directory / HOLES_FILE, error.strerror)) from error
            except _Damaged as damage:
                raise _gap(damage) from None
            self._look()
        return hole in self._found

    def _look(self) -> None:
        """Reads the file if it is another one than before; damage is told once."""
        stamp = _stamp(self._directory)
        if stamp == self._stamp:
            return
        self._stamp, self._damage = stamp, None
        try:
            self._found = _read(self._directory) if self._directory else {}
        except _Damaged as damage:
            self._damage = damage
            _LOG.error("the file of holes is damaged", problem=str(damage))


def _gap(problem: _Damaged | str) -> ServiceError:
    return ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_GAP, f"records are missing, and {problem}")


def _stamp(directory: Path | None) -> object:
    try:
        found = (directory / HOLES_FILE).stat() if directory else None
    except OSError:
        return None
    # A stamp, not a time: the file is replaced whole, so its inode differs even within one tick of the clock.
    return found and (found.st_ino, found.st_mtime_ns, found.st_size)


def read_holes(directory: Path) -> list[Hole]:
    """All holes of a sink's data directory, in the order in which they were made.

    Raises:
        StartError: The file is damaged.
    """
    try:
        return list(_read(directory))
    except _Damaged as damage:
        raise StartError(str(damage)) from None


def _read(directory: Path) -> dict[Hole, bool]:
    """Holes, and whether the sink has gone on behind them; those of an earlier version have."""
    file = directory / HOLES_FILE
    try:
        listed, base = _entries(json.loads(file.read_text()))
        found = {_hole(each, base): bool(each.get("gone_behind", True)) for each in listed}
    # An absent file means no holes; one that cannot be read may hold some.
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _Damaged(file, error.strerror) from error
    # RecursionError: `json` follows brackets as deep as they go, and anybody may have edited this file.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Damaged(file, f"it is no list of holes ({type(error).__name__})") from None
    return found


def _entries(content: Any) -> tuple[list[Any], int]:
    """The holes that a file lists, and the base of their log ids: a bare list is of an earlier version, which wrote them in hex."""
    if isinstance(content, list):
        return content, 16
    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']} is not known")
    return content["holes"], 10


def _hole(listed: dict[str, str | int], base: int) -> Hole:
    hole = Hole(int(str(listed["log_id"]), base), int(listed["first_offset"]), int(listed["end_offset"]))
    # Checked here, as arithmetic on holes counts records by their ends.
    if not 0 <= hole.first_offset < hole.end_offset:
        raise ValueError("a hole that holds nothing")
    return hole


def _write(directory: Path, holes: dict[Hole, bool]) -> None:
    listed = [
        {"log_id": str(hole.log_id), "first_offset": hole.first_offset, "end_offset": hole.end_offset, "gone_behind": is_used}
        for hole, is_used in holes.items()
    ]
    write_atomically(directory / HOLES_FILE, json.dumps({"version": _VERSION, "holes": listed}, indent=1).encode() + b"\n")


def _put(directory: Path, hole: Hole, *, is_used: bool, timeout_s: float) -> None:
    """Writes a hole into the file, durably; one that is marked there stays so, and so do all others.

    Raises:
        _Damaged: The file cannot be read.
        OSError: It cannot be written.
        Timeout: Another process writes it, and has not ended within `timeout_s` seconds.
    """
    with _written_by_nobody_else(directory, timeout_s):
        # Read with the lock held: what the other one wrote until now is in it.
        holes = _read(directory)
        if hole not in holes or (is_used and not holes[hole]):
            _write(directory, holes | {hole: is_used})


@contextmanager
def _written_by_nobody_else(directory: Path, timeout_s: float) -> Iterator[None]:
    # A file of its own: the file of holes is replaced by each write, and a lock on it would go with the old one. The kernel unlocks when a
    # process dies, whatever way.
    with FileLock(directory / _LOCK_FILE, mode=0o600).acquire(timeout=timeout_s):
        yield


def add_hole(directory: Path, hole: Hole) -> None:
    """Makes a hole, durably. One that is there already changes nothing.

    Raises:
        StartError: The file is damaged, or another process has been writing it for too long.
    """
    try:
        # Not marked: only the sink itself says that it went on behind it.
        _put(directory, hole, is_used=False, timeout_s=_COMMAND_WAITS_S)
    except _Damaged as damage:
        raise StartError(str(damage)) from None
    except Timeout:
        raise StartError(f"{directory / HOLES_FILE} is being written by another process; end that one or try again") from None


def joined(holes: Iterable[Hole]) -> list[Hole]:
    """The same offsets in holes that do not overlap, by log and offset: a gap that grew before it was skipped is there twice."""
    whole: list[Hole] = []
    # Sorted by log and first offset, so only the newest of the result can meet the next one.
    for hole in sorted(holes):
        if whole and whole[-1].log_id == hole.log_id and hole.first_offset <= whole[-1].end_offset:
            whole[-1] = whole[-1]._replace(end_offset=max(whole[-1].end_offset, hole.end_offset))
        else:
            whole.append(hole)
    return whole


def skipped_count(holes: Sequence[Hole], log_id: int, below: int) -> int:
    """How many records of a log below an offset are in holes."""
    own = [hole for hole in joined(holes) if hole.log_id == log_id and hole.first_offset < below]
    return sum(min(hole.end_offset, below) - hole.first_offset for hole in own)
