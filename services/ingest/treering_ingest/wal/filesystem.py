"""The few things that the log asks of a disk: one directory of flat files. A simulated disk implements the same."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from treering_runtime.fsync import fdatasync, fsync

_MAX_BUFFERS = 1024
"""IOV_MAX of Linux: buffers in one `writev`."""

_COPY_BYTES = 1024 * 1024
"""Bytes that are read and written at once."""

_CLOSED = -1
"""No descriptor: whatever is done with it is an error."""


class File(Protocol):
    """An open file. Every method may raise OSError."""

    def append(self, buffers: Sequence[bytes]) -> None:
        """Writes all buffers at the end. After an error a part of them may be there."""

    def read(self, position: int, length: int) -> bytes:
        """Up to `length` bytes from `position`; fewer only at the end of the file."""

    def size(self) -> int:
        """Bytes in the file."""

    def truncate(self, length: int) -> None:
        """Cuts the file to `length` bytes."""

    def sync(self) -> None:
        """Makes content and size durable."""

    def close(self) -> None:
        """Releases the file; makes nothing durable."""


class FileSystem(Protocol):
    """One directory. Names are plain file names. Every method may raise OSError."""

    path: Path

    def names(self) -> list[str]:
        """The files that are there, sorted."""

    def create(self, name: str) -> File:
        """An empty file, replacing an older one of that name."""

    def open(self, name: str, *, writable: bool = False) -> File:
        """A file that exists."""

    def rewrite(self, name: str, position: int) -> None:
        """Writes what is in a file from `position` on once more, the same bytes in the same places, and makes the file durable.

        After a failed sync the system may show bytes that never reached the disk and that no later sync would write.
        """

    def rename(self, old: str, new: str) -> None:
        """Moves a file over another name atomically."""

    def remove(self, name: str) -> None:
        """Deletes a file."""

    def sync_directory(self) -> None:
        """Makes created, renamed and removed names durable."""


class PosixFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, buffers: Sequence[bytes]) -> None:
        """As the protocol says."""
        # In parts: Linux refuses more buffers in one call (EINVAL). Nobody reads the first part alone: readers stop at what is synced.
        for start in range(0, len(buffers), _MAX_BUFFERS):
            self._append(buffers[start : start + _MAX_BUFFERS])

    def _append(self, buffers: Sequence[bytes]) -> None:
        wanted = sum(map(len, buffers))
        # One system call for all buffers of a group: header and payload of each batch are never joined in memory.
        written = os.writev(self._descriptor, buffers)
        if written == wanted:
            return
        # The system may write less than was asked, for example when a disk is nearly full. The next call then names the reason.
        # The copy is made in this rare case only.
        rest = memoryview(b"".join(buffers))[written:]
        # An error in here leaves a part of the group in the file: the caller cuts it off, or gives the file up.
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self, position: int, length: int) -> bytes:
        """As the protocol says."""
        # `pread` and `fstat`, not `lseek`: a reader on another thread must not move the writer's position.
        # Whole, but at the end of the file: a regular file is never read in part below 2 GiB, and no caller asks for so much.
        return os.pread(self._descriptor, length, position)

    def size(self) -> int:
        """As the protocol says."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, length: int) -> None:
        """As the protocol says."""
        # The next append begins at the new end, because the file was opened with O_APPEND.
        os.ftruncate(self._descriptor, length)

    def sync(self) -> None:
        """As the protocol says."""
        # Times of access and change may stay behind; the size is written with the content where it has changed.
        fdatasync(self._descriptor)

    def close(self) -> None:
        """As the protocol says."""
        # Only `sync` promises anything. What was written and not synced may still be lost after a close without an error.
        # Forgotten first: its number may be another file's by the next call, and nothing of that may be closed or written.
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)


class PosixFileSystem:
    """A directory of the operating system; files are private to their owner."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """As the protocol says."""
        # Sorted here: the order in which a directory lists its names is that of the file system.
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file())

    def create(self, name: str) -> File:
        """As the protocol says."""
        # O_APPEND: every write goes to the end, also after a `truncate` took a partial write back.
        # O_TRUNC: what an earlier attempt left under a temporary name is gone.
        return PosixFile(os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def open(self, name: str, *, writable: bool = False) -> File:
        """As the protocol says."""
        # O_CLOEXEC here and everywhere: a child process that inherits a descriptor would keep a deleted segment's space.
        mode = os.O_RDWR | os.O_APPEND if writable else os.O_RDONLY
        return PosixFile(os.open(self.path / name, mode | os.O_CLOEXEC))

    def rewrite(self, name: str, position: int) -> None:
        """As the protocol says."""
        # not O_APPEND: with it, Linux appends whatever position is given
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC)
        try:
            # The same bytes in the same places: this changes nothing that can be read, and makes the system write the pages again.
            # In pieces: after a crash with long sync intervals this may be most of a segment.
            while content := os.pread(descriptor, _COPY_BYTES, position):
                position += os.pwrite(descriptor, content, position)
            # Also makes an earlier cut of the file durable: its size is synced with it.
            fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """As the protocol says."""
        # rename(2) replaces the target atomically; whether it survives a power cut is decided by `sync_directory` alone.
        (self.path / old).replace(self.path / new)

    def remove(self, name: str) -> None:
        """As the protocol says."""
        # A delivery that has the file open reads on: Linux frees the space with the last descriptor.
        (self.path / name).unlink()

    def sync_directory(self) -> None:
        """As the protocol says."""
        # A name is durable only when its directory is: without this, a synced file may be gone after a power cut.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fsync(descriptor)
        finally:
            os.close(descriptor)
