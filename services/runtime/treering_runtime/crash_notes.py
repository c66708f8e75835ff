"""What a sink was reading when its process died, and how often that has happened to the same records.

A file of sixteen slots. The first is the *note*: the run of offsets that is being read, or nothing. The others are *suspects*: runs during
whose reading the process ended, and how often. After a power cut an old note costs no more than some care.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import structlog

from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime.slots import Slot, Slots

_LOG = structlog.get_logger()

_LAYOUT = struct.Struct("<QQQI")
_SLOTS = 16

ALONE_AFTER = 2
"""Crashes after which each frame of a run is read alone, so that the next crash names one frame."""

UNREAD_AFTER = 5
"""Crashes after which a frame is set aside without being read again."""


@dataclass(frozen=True)
class Suspect:
    """A run of offsets during whose reading the process ended `crashes` times."""

    log_id: int
    first_offset: int
    end_offset: int
    crashes: int

    def overlaps(self, other: "Suspect") -> bool:
        """Whether both hold an offset."""
        return self.log_id == other.log_id and self.first_offset < other.end_offset and other.first_offset < self.end_offset

    def within(self, other: "Suspect") -> "Suspect":
        """The part of it that the other one holds as well."""
        first, end = max(self.first_offset, other.first_offset), min(self.end_offset, other.end_offset)
        return replace(self, first_offset=first, end_offset=end)

    def without(self, read: "Suspect") -> "Suspect | None":
        """What is left of it when a run has been read without a crash: runs are read in order, so what is above."""
        if not self.overlaps(read):
            return self
        if read.end_offset < self.end_offset:
            return replace(self, first_offset=read.end_offset)
        return replace(self, end_offset=read.first_offset) if read.first_offset > self.first_offset else None


class CrashNotes:
    """The notes of one sink. Belongs to the thread that reads frames; one run is read at a time.

    Args:
        path: The file; created when it is not there.
        settled: By log_id, the offset below which the sink is durably done: nothing below is read again.
    """

    def __init__(self, path: Path, settled: Mapping[int, int]) -> None:
        self._slots = Slots(path, _LAYOUT, _SLOTS)
        note, *suspects = (Suspect(*slot) if slot else None for slot in self._slots.load())
        # Durably done records are never read again: a suspect below them would only take a slot.
        self._suspects = [suspect for suspect in suspects if suspect and suspect.end_offset > settled.get(suspect.log_id, 0)]
        # A note that is still there was never cleared: the process died while it read these frames.
        if note:
            _LOG.warning(
                "the process ended while it read these records", log_id=str(note.log_id), first=note.first_offset, end=note.end_offset
            )
            self._crashed(note)
        # Note and suspects in one write: between two, a crash would count this one twice, or not at all.
        self._slots.write(0, [None, *self._padded()])

    def groups(self, log_id: int, frames: Sequence[DeliveredFrame]) -> Iterator[tuple[Sequence[DeliveredFrame], int]]:
        """The frames, those that may be to blame for crashes alone, the others together; and the number of crashes of each group."""
        together: list[DeliveredFrame] = []
        for frame in frames:
            crashes = self._crashes(log_id, frame)
            # Not suspected often enough to be read alone: one note for all of them costs one write.
            if crashes < ALONE_AFTER:
                together.append(frame)
                continue
            if together:
                yield together, 0
                together = []
            yield [frame], crashes
        # In the order of the log: what came before the suspect is read before it.
        if together:
            yield together, 0

    def _crashes(self, log_id: int, frame: DeliveredFrame) -> int:
        run = _run(log_id, [frame])
        return max((suspect.crashes for suspect in self._suspects if suspect.overlaps(run)), default=0)

    @contextmanager
    def reading(self, log_id: int, frames: Sequence[DeliveredFrame]) -> Iterator[None]:
        """Keeps a note while frames are read.

        When the reading ends well, they are no suspects any more. When it ends with an exception that nobody foresaw, that counts as a
        crash; one of the environment (memory, disk) says nothing about the frames.
        """
        run = _run(log_id, frames)
        # Before the first byte is looked at. It is not synced: it must survive the process, not the machine.
        self._note_down(run)
        try:
            yield
        # The environment failed and the frames are not to blame; they come again.
        except (MemoryError, OSError):
            raise
        # BaseException: a panic of a native library counts too.
        except BaseException:
            self._crashed(run)
            # Kept before the note is cleared: death in between counts twice, which costs care and no records.
            self._keep()
            raise
        else:
            self._passed(run)
        finally:
            self._note_down(None)

    def _passed(self, run: Suspect) -> None:
        # Written only where something changes: the usual run meets no suspect.
        if any(suspect.overlaps(run) for suspect in self._suspects):
            self._suspects = [left for suspect in self._suspects if (left := suspect.without(run))]
            self._keep()

    def _crashed(self, run: Suspect) -> None:
        """The culprit is most likely the same as before: where the run meets one that was suspected already."""
        known = max((suspect for suspect in self._suspects if suspect.overlaps(run)), key=lambda each: each.crashes, default=None)
        if known:
            self._suspects.remove(known)
            # Narrowed to the common part: each further crash brings the run nearer to the frame that is to blame.
            run = replace(known.within(run), crashes=known.crashes + 1)
        self._suspects.append(run)
        # Those with the most crashes stay: one that is dropped is only found later.
        self._suspects = sorted(self._suspects, key=lambda each: -each.crashes)[: _SLOTS - 1]

    def _note_down(self, run: Suspect | None) -> None:
        self._slots.write(0, [astuple(run) if run else None])

    def _keep(self) -> None:
        self._slots.write(1, self._padded())

    def _padded(self) -> list[Slot | None]:
        suspects = [astuple(suspect) for suspect in self._suspects]
        return [*suspects, *[None] * (_SLOTS - 1 - len(suspects))]

    def close(self) -> None:
        """Closes the file."""
        self._slots.close()


def _run(log_id: int, frames: Sequence[DeliveredFrame]) -> Suspect:
    return Suspect(log_id, frames[0].first_offset, frames[-1].first_offset + frames[-1].record_count, 1)
