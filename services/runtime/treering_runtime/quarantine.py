"""Quarantine: records that a sink cannot read are set aside, so that one of them never stops the log.

Errors have three kinds. Of the *data* (`ValueError`: the bytes are not what they should be): the frames are bisected down to the record,
and what cannot be read is set aside with its raw bytes and the reason. Of the *environment* (memory, disk): the delivery fails, and is
tried again for ever. *Everything else*, the death of the process included, counts as a crash of what was being read: after `ALONE_AFTER`
crashes its frames are read alone, after `UNREAD_AFTER` the frame is set aside unread.

A sink stores what was set aside in the transaction that stores its progress: stored + quarantined = acknowledged.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime import wire
from treering_runtime.crash_notes import UNREAD_AFTER, CrashNotes
from treering_runtime.limits import MAX_COPIED_RESOURCE_BYTES, MAX_REASON_CHARACTERS

T = TypeVar("T")


@dataclass(frozen=True)
class Quarantined:
    """Records that were set aside: one, or all of a frame that does not fall into records or was not read."""

    log_id: int
    first_offset: int
    record_count: int
    arrival_time_unix_nano: int
    reason: str
    payload: bytes
    """A serialised LogBatch, as it came: whole, or the part of it that is this record, with the resource of its batch."""

    @property
    def key(self) -> tuple[int, int]:
        """What identifies it: log and first offset."""
        return self.log_id, self.first_offset

    def as_frame(self) -> DeliveredFrame:
        """What the log delivered, to be read again."""
        return DeliveredFrame(
            first_offset=self.first_offset,
            record_count=self.record_count,
            arrival_time_unix_nano=self.arrival_time_unix_nano,
            payload=self.payload,
        )


def records_by_log(items: Sequence[Quarantined]) -> Counter[int]:
    """How many records these are, by log_id."""
    counts: Counter[int] = Counter()
    for item in items:
        counts[item.log_id] += item.record_count
    return counts


@dataclass(frozen=True)
class Change:
    """What one transaction does to a quarantine."""

    set_aside: Sequence[Quarantined] = ()
    read_again: Sequence[Quarantined] = ()
    """What was set aside before; it leaves, but for what is in `set_aside` again."""

    def applied_to(self, counts: Mapping[int, int]) -> Counter[int]:
        """Quarantined records by log_id after the change, from those before it."""
        after = Counter(counts)
        # Subtracted before added: what could not be read again is in both, and stays counted.
        after.subtract(records_by_log(self.read_again))
        after.update(records_by_log(self.set_aside))
        return after


@dataclass(frozen=True)
class QuarantineSelection:
    """Which of the records that were set aside are meant."""

    log_id: int = 0
    """0 = every log."""
    first_offset: int = 0
    end_offset: int = 0
    """0 = no end."""


class FrameReader(Generic[T]):
    """Reads frames with a function that knows nothing of quarantine. Belongs to one thread.

    Args:
        read: Reads frames of one log, from an offset on. A pure function of the frames; raises ValueError when they are at fault.
        notes: Where crashes are remembered.
    """

    def __init__(self, read: Callable[[int, Sequence[DeliveredFrame], int], T], notes: CrashNotes) -> None:
        self._read = read
        self._notes = notes

    def take(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> tuple[list[T], list[Quarantined]]:
        """Reads delivered frames at or above the offset `skip_below`: what was read, in order, and what is set aside.

        Raises:
            MemoryError, OSError, RuntimeError: Nothing was read; to be tried again.
        """
        parts: list[T] = []
        bad: list[Quarantined] = []
        for group, crashes in self._notes.groups(log_id, frames):
            # Not read at all: by now it is more likely that these bytes end the process than that something else does.
            if crashes >= UNREAD_AFTER:
                for frame in group:
                    bad += _set_aside(log_id, frame, skip_below, f"not read: the service ended {crashes} times while it read this")
                continue
            # The note covers the bisection too: a crash in a half is a crash of this group.
            with self._notes.reading(log_id, group):
                self._bisect(log_id, group, skip_below, parts, bad)
        return parts, bad

    def again(self, items: Sequence[Quarantined]) -> tuple[list[T], list[Quarantined]]:
        """Reads what was set aside once more, whatever it did before. A crash now is the caller's wish, and is not remembered."""
        parts: list[T] = []
        bad: list[Quarantined] = []
        for item in items:
            # One item at a time: items of one page may be of several logs, and are no neighbours.
            self._bisect(item.log_id, [item.as_frame()], 0, parts, bad)
        return parts, bad

    def _bisect(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int, parts: list[T], bad: list[Quarantined]) -> None:
        try:
            parts.append(self._read(log_id, frames, skip_below))
        # Only ValueError says that the bytes are at fault. Anything else goes up, and nothing is set aside for it.
        except ValueError as error:
            pieces = _smaller(frames, skip_below)
            # Nothing smaller to read. A frame that does not fall into records is set aside whole.
            if pieces is None:
                bad += _set_aside(log_id, frames[0], skip_below, str(error))
            # First half first: `parts` stay in the order of the log, on which first offsets of patterns rely.
            for piece in pieces or ():
                self._bisect(log_id, piece, skip_below, parts, bad)
        except Exception:
            raise
        except BaseException as error:  # a panic of a native library is no Exception, and must not pass for the end of the process
            raise RuntimeError(f"{type(error).__name__} while frames were read") from error


def _set_aside(log_id: int, frame: DeliveredFrame, skip_below: int, reason: str) -> list[Quarantined]:
    """The frame from an offset on. Its records below it were taken before: set aside with it, they would be stored twice one day."""
    taken = max(0, skip_below - frame.first_offset)
    if taken >= frame.record_count:
        return []
    payload = frame.payload
    # What does not fall into records stays whole, and is read again only if it has as many as are counted here.
    if taken and (parts := _parts(frame)):
        payload = parts.resource + b"".join(parts.records[taken:])
    first, count = frame.first_offset + taken, frame.record_count - taken
    return [Quarantined(log_id, first, count, frame.arrival_time_unix_nano, reason[:MAX_REASON_CHARACTERS], payload)]


def _smaller(frames: Sequence[DeliveredFrame], skip_below: int) -> list[Sequence[DeliveredFrame]] | None:
    """The frames in halves, one frame in halves of its records; None where nothing smaller can be read."""
    # Frames first, then the records of the one frame that is left: most frames of a range are good and stay whole.
    pieces: Sequence[DeliveredFrame] | None = frames
    if len(frames) == 1:
        # One that is left of several is read by itself: what could not be read may be a neighbour that was taken before.
        pieces = _records(frames[0], skip_below) if frames[0].record_count > 1 else None
    if pieces is None:
        return None
    middle = len(pieces) // 2
    return [half for half in (pieces[:middle], pieces[middle:]) if half]


class _Parts(NamedTuple):
    """A frame's payload, taken apart, the bytes as they came."""

    records: list[bytes]
    resource: bytes


def _parts(frame: DeliveredFrame) -> _Parts | None:
    """The payload in parts; None when it does not fall into one record for each offset."""
    try:
        # By their tag, not by a parser: the bytes of each record stay as the sender wrote them, readable or not.
        fields = list(wire.fields(frame.payload))
    # Both say that the bytes do not fall into fields: then nobody can tell where a record begins.
    except (ValueError, IndexError):
        return None
    records = [field for tag, field in fields if tag == wire.RECORD_TAG]
    # Without one record for each offset, nobody knows which bytes have which offset.
    if len(records) != frame.record_count:
        return None
    return _Parts(records, b"".join(field for tag, field in fields if tag == wire.RESOURCE_TAG))


def _records(frame: DeliveredFrame, skip_below: int) -> list[DeliveredFrame] | None:
    """The frame as one frame for each record that is wanted, the bytes as they came; None when it cannot be taken apart."""
    parts = _parts(frame)
    # What holds for the whole batch goes with each record: without it, a record that can be read later would be another one than was sent.
    if parts is None or len(parts.resource) * len(parts.records) > MAX_COPIED_RESOURCE_BYTES:
        return None
    # Each record is a message of one element: it can be read, and set aside, like a frame.
    return [
        DeliveredFrame(
            first_offset=offset, record_count=1, arrival_time_unix_nano=frame.arrival_time_unix_nano, payload=parts.resource + record
        )
        for offset, record in enumerate(parts.records, frame.first_offset)
        # The others were taken by an earlier delivery.
        if offset >= skip_below
    ]
