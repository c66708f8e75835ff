"""A small file of equal slots, each with a checksum, for notes that have to survive the death of a process.

Its user writes all slots at the start, so that writing later needs no space. Nothing is synced: what a process wrote survives its death.
After a power cut a slot may be old, or empty; whoever keeps notes in it has to be right with both. A slot whose checksum is wrong is empty.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

Slot = tuple[int, ...]

_CLOSED = -1
"""No descriptor: whatever is done with it is an error."""


class Slots:
    """The slots of one file. Belongs to one thread.

    Args:
        path: The file; created when it is not there.
        layout: The numbers of a slot.
        count: How many slots there are.
    """

    def __init__(self, path: Path, layout: struct.Struct, count: int) -> None:
        self._layout = layout
        self._slot_bytes = layout.size + 4
        self._count = count
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def load(self) -> list[Slot | None]:
        """All slots; None for an empty one."""
        size = self._slot_bytes
        # A file that is shorter, for example after a power cut, has empty slots at its end.
        raw = os.pread(self._descriptor, size * self._count, 0).ljust(size * self._count, b"\0")
        return [self._unpacked(raw[start : start + size]) for start in range(0, len(raw), size)]

    def write(self, first: int, slots: Sequence[Slot | None]) -> None:
        """Writes slots from number `first` on, in one step."""
        # One system call: a process that is killed has written all of the slots or none of them.
        os.pwrite(self._descriptor, b"".join(map(self._packed, slots)), first * self._slot_bytes)

    def close(self) -> None:
        """Closes the file."""
        # Forgotten first: its number may be another file's by the next call, and nothing of that may be closed or written.
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def _packed(self, slot: Slot | None) -> bytes:
        # Empty slots are zeros, checksum and all, so a file that was never written reads as empty.
        if slot is None:
            return bytes(self._slot_bytes)
        content = self._layout.pack(*slot)
        return content + zlib.crc32(content).to_bytes(4, "little")

    def _unpacked(self, raw: bytes) -> Slot | None:
        content, checksum = raw[: self._layout.size], int.from_bytes(raw[self._layout.size :], "little")
        # A slot of zeros was never written: it must not count as a note of zeros.
        return self._layout.unpack(content) if checksum and zlib.crc32(content) == checksum else None
