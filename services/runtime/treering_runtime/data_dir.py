"""A directory that one process owns: created privately, locked, and stamped with the version of what is in it."""

import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from treering_runtime.errors import StartError
from treering_runtime.fsync import fsync

FORMAT_FILE = "FORMAT"
"""JSON: {"kind": what is in the directory, "version": the format's number}."""


class DataDir:
    """An open data directory; `close` unlocks it.

    Args:
        path: The directory; created with its parents, mode 0700.
        kind: What is kept there, for example `treering-ingest`.
        version: The newest format this program knows. Older ones are the caller's to migrate; newer ones are refused.

    Raises:
        StartError: It is in use, not writable, of another kind, or of a newer format.
    """

    def __init__(self, path: Path, kind: str, version: int) -> None:
        self.path = path
        self._lock = FileLock(path / "LOCK", mode=0o600)
        try:
            make_directory(path)
            self._lock.acquire(timeout=0)
            self.version = _stamp(path / FORMAT_FILE, kind, version)
        except Timeout:
            raise StartError(f"{path} is in use by another process; stop that one or give another data directory") from None
        except OSError as error:
            self._lock.release()
            raise StartError(f"{path} cannot be used: {error.strerror}; check that this user owns it and may write there") from error
        except StartError:
            self._lock.release()
            raise

    def close(self) -> None:
        """Unlocks the directory."""
        self._lock.release()


def _stamp(file: Path, kind: str, version: int) -> int:
    if not file.exists():
        write_atomically(file, json.dumps({"kind": kind, "version": version}).encode())
        return version
    try:
        found = json.loads(file.read_text())
        found_kind, found_version = str(found["kind"]), int(found["version"])
    except (ValueError, KeyError, TypeError):
        raise StartError(f"{file} is damaged; restore it, or move the directory away to start afresh") from None
    if found_kind != kind:
        raise StartError(f"{file.parent} holds {found_kind}, not {kind}; give each service a directory of its own")
    if found_version > version:
        raise StartError(f"{file.parent} has format {found_version}, this program knows up to {version}; use a newer Treering")
    return found_version


def write_atomically(file: Path, content: bytes) -> None:
    """Replaces a small file so that a crash leaves the old or the new one, both on disk: data, rename, directory."""
    temporary = file.with_name(file.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as out:
        # one write may take a part only: of the rest of a disk, or of 2 GiB
        rest = memoryview(content)
        while rest:
            rest = rest[out.write(rest) :]
        fsync(descriptor)
    temporary.replace(file)
    sync_directory(file.parent)


def make_directory(path: Path) -> None:
    """Creates a private directory with its parents, each name on disk: what is synced inside a directory is lost with its name."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes created, renamed and deleted names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
