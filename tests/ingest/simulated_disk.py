"""A disk in memory that forgets what was not synced, as a power cut makes a real one do.

What the operating system holds and what the disk holds are kept apart. A power cut leaves, of everything that was not synced, any part:
each sector of 512 bytes in any of the versions that it has had since the last sync, each file in any of the sizes, each name in any of the
states, independently of each other. That is more than any one file system does, and so it covers all of them.

A failed sync is final for what it was about to write: as on Linux, part of it reaches the disk, the rest is marked clean, reads still
return it, and a later sync that succeeds says nothing about it.
"""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECTOR = 512


class PowerCutError(Exception):
    """The machine is off."""


class _Content:
    """One file: what reads see, what is on disk, and what has changed in between."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = {}
        self.durable_size = 0
        self.changed = {}
        self.sizes = []

    def write(self, position: Any, data: Any) -> None:
        end = position + len(data)
        if end > len(self.seen):
            self.seen.extend(bytes(end - len(self.seen)))
        self.seen[position:end] = data
        for sector in range(position // SECTOR, -(-end // SECTOR)):
            self.changed.setdefault(sector, []).append(bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR]))
        self.sizes.append(len(self.seen))

    def truncate(self, length: Any) -> None:
        del self.seen[length:]
        self.sizes.append(length)

    def settle(self) -> None:
        """All of it reaches the disk."""
        for sector in self.changed:
            self.durable[sector] = bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR])
        self.durable_size = len(self.seen)
        self.durable = {sector: kept[: self.durable_size - sector * SECTOR] for sector, kept in self.durable.items()}
        self.changed, self.sizes = {}, []

    def settle_partly(self, chance: Any) -> None:
        """Any part of it reaches the disk, in any version; the rest is forgotten, though reads still return it."""
        for sector, versions in self.changed.items():
            kept = chance.choice([None, *versions])
            if kept is not None:
                self.durable[sector] = kept
        self.durable_size = chance.choice([self.durable_size, *self.sizes])
        self.changed, self.sizes = {}, []

    def cut(self, chance: Any) -> None:
        """What a new start finds after a power cut."""
        self.settle_partly(chance)
        sectors = -(-self.durable_size // SECTOR)
        content = b"".join(self.durable.get(sector, b"").ljust(SECTOR, b"\0") for sector in range(sectors))
        self.seen = bytearray(content[: self.durable_size])
        self.durable = {sector: bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR]) for sector in range(sectors)}


class _OpenFile:
    def __init__(self, disk: "SimulatedDisk", content: Any) -> None:
        self._disk, self._content, self._life = disk, content, disk.life

    def _check(self) -> None:
        assert self._life == self._disk.life, "a file that was opened before the power cut is used after it"

    def append(self, buffers: Any) -> None:
        self._check()
        data = b"".join(buffers)
        self._disk.write(self._content, len(self._content.seen), data)

    def read(self, position: Any, length: Any) -> bytes:
        self._check()
        return bytes(self._content.seen[position : position + length])

    def size(self) -> int:
        self._check()
        return len(self._content.seen)

    def truncate(self, length: Any) -> None:
        self._check()
        self._disk.step()
        self._content.truncate(length)

    def sync(self) -> None:
        self._check()
        self._disk.sync(self._content)

    def close(self) -> None:
        """Nothing is held."""


class SimulatedDisk:
    """One directory on such a disk; a `FileSystem` of the log.

    Faults are armed by setting a property; each but `free_bytes` happens once.

    Attributes:
        free_bytes: Bytes that may still be written; None = plenty. A write beyond it ends in the middle with ENOSPC.
        write_error_after: The next write ends after so many bytes with EIO.
        sync_error_after: After so many further syncs (of files or of the directory) one fails with EIO.
        power_for: After so many further steps (writes, syncs, names) the power fails in the middle of one.
    """

    def __init__(self, seed: Callable[[range], int] | int = 0) -> None:
        self.path = Path("simulated")
        self.chance = random.Random(seed)
        self.life = 0
        self.free_bytes = None
        self.write_error_after = None
        self.sync_error_after = None
        self.power_for = None
        self._names = {}
        self._durable_names = {}
        self._changed_names = {}

    def names(self) -> list[Any]:
        return sorted(self._names)

    def create(self, name: str) -> _OpenFile:
        self.step()
        if name in self._names:
            self._names[name].truncate(0)
        else:
            self._name(name, _Content())
        return _OpenFile(self, self._names[name])

    def open(self, name: str, *, writable: bool = False) -> _OpenFile:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return _OpenFile(self, self._names[name])

    def rewrite(self, name: str, position: Any) -> None:
        content = self._names[name]
        if position < len(content.seen):
            self.step()
            content.write(position, bytes(content.seen[position:]))
        self.sync(content)

    def rename(self, old: Any, new: Any) -> None:
        self.step()
        self._name(new, self._names[old])
        self._name(old, None)

    def remove(self, name: str) -> None:
        self.step()
        assert name in self._names
        self._name(name, None)

    def sync_directory(self) -> None:
        self._count_sync(self._settle_names_partly)
        self._durable_names = dict(self._names)
        self._changed_names = {}

    def _name(self, name: str, content: _Content | None) -> None:
        self._changed_names.setdefault(name, []).append(content)
        if content is None:
            del self._names[name]
        else:
            self._names[name] = content

    def write(self, content: Any, position: int, data: bytes) -> None:
        """Writes, or a part of it and then the fault that is armed."""
        fits = len(data)
        error = None
        if self.free_bytes is not None and fits > self.free_bytes:
            fits, error = self.free_bytes, errno.ENOSPC
        if self.write_error_after is not None:
            fits, error = min(fits, self.write_error_after), errno.EIO
            self.write_error_after = None
        if self.free_bytes is not None:
            self.free_bytes -= fits
        if self._is_last_step():
            content.write(position, data[: self.chance.randint(0, fits)])
            raise PowerCutError
        content.write(position, data[:fits])
        if error:
            raise OSError(error, "a fault that was asked for")

    def sync(self, content: Any) -> None:
        """Makes a file's content durable, or a part of it and then the fault that is armed."""
        self._count_sync(lambda: content.settle_partly(self.chance))
        content.settle()

    def _count_sync(self, fail: Any) -> None:
        self.step()
        if self.sync_error_after is None:
            return
        self.sync_error_after -= 1
        if self.sync_error_after < 0:
            self.sync_error_after = None
            fail()
            raise OSError(errno.EIO, "a fault that was asked for")

    def step(self) -> None:
        """One more thing that a power cut may come before."""
        if self._is_last_step():
            raise PowerCutError

    def _is_last_step(self) -> bool:
        if self.power_for is None:
            return False
        self.power_for -= 1
        return self.power_for < 0

    def _settle_names_partly(self) -> None:
        for name, states in self._changed_names.items():
            kept = self.chance.choice([self._durable_names.get(name), *states])
            if kept is None:
                self._durable_names.pop(name, None)
            else:
                self._durable_names[name] = kept
        self._changed_names = {}

    def heal(self) -> None:
        """Takes back every fault that is armed."""
        self.free_bytes = self.write_error_after = self.sync_error_after = self.power_for = None

    def cut_power(self) -> None:
        """What was not synced is lost in part; open files are gone; faults that were armed are forgotten."""
        self.life += 1
        self.heal()
        self._settle_names_partly()
        self._names = dict(self._durable_names)
        for content in {id(content): content for content in self._names.values()}.values():
            content.cut(self.chance)

    def lose_all_unsynced(self) -> None:
        """The plainest power cut: nothing that was not synced is left."""

        class Nothing(random.Random):
            def choice(self, seq: Any) -> Any:
                return seq[0]

        chance, self.chance = self.chance, Nothing()
        self.cut_power()
        self.chance = chance
