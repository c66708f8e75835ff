"""The objects of segments as files of one directory."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from treering_query.sealed.checksums import checksum_of
from treering_query.sealed.segment_store import ObjectExistsError, Stored
from treering_runtime.data_dir import sync_directory
from treering_runtime.fsync import fsync

_TEMPORARY = ".tmp"
"""Added to the name of a file that is being written."""


class LocalSegments:
    """Satisfies `SegmentStore`. The directory may be missing as long as nothing is put into it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._directory)

    def put_new(self, name: str, write: Callable[[Path], object]) -> Stored:
        """As the protocol says."""
        path = self._directory / name
        # The data directory is locked by this process, and one thread changes it: nobody takes the name between here and the rename.
        if path.exists():
            raise ObjectExistsError(f"{path} is there already")
        # Under a name that the catalog never has. A crash from here to the commit leaves a file that the next start deletes.
        temporary = self._temporary(name)
        # The writer closes the file and does not sync it: an error of the disk may show only in the next line.
        write(temporary)
        # Before the rename: after a power cut a name that is there would otherwise stand for bytes that are not.
        _sync_file(temporary)
        # From the file and not from memory: this is what every later check reads. Before the commit, as the catalog keeps it.
        checksum = checksum_of(temporary)
        size_bytes = temporary.stat().st_size
        # Atomic: there is a whole object under the name, or none.
        temporary.replace(path)
        # The name is an entry of the directory, with a life of its own: without this sync a catalog that survives could name a file that
        # did not.
        sync_directory(self._directory)
        return Stored(size_bytes, checksum)

    def open(self, name: str) -> Path:
        """As the protocol says; reads nothing."""
        return self._directory / name

    def read_range(self, name: str, first: int, end: int | None = None) -> bytes:
        """As the protocol says."""
        with (self._directory / name).open("rb") as file:
            file.seek(first)
            return file.read(-1 if end is None else max(0, end - first))

    def listed(self) -> Mapping[str, int]:
        """As the protocol says."""
        # In a copy the directory may be missing: each segment is then reported as missing, by name.
        if not self._directory.is_dir():
            return {}
        with os.scandir(self._directory) as entries:
            return {entry.name: _size_of(entry) for entry in entries}

    def delete(self, name: str) -> None:
        """As the protocol says."""
        (self._directory / name).unlink(missing_ok=True)
        self._temporary(name).unlink(missing_ok=True)

    def _temporary(self, name: str) -> Path:
        return self._directory / (name + _TEMPORARY)


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    # A link to nowhere.
    except FileNotFoundError:
        return 0


def _sync_file(path: Path) -> None:
    # Reading is enough: fsync writes all dirty pages of the file, whichever descriptor made them dirty.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
