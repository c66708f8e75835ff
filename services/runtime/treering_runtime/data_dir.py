"""A directory that one process owns: created privately, locked, and stamped with the version of what is in it.

The operator names a directory. It may be a link. When it belongs to this user and nobody else may write there, it is the service's own.
When others may (a shared temporary directory, a volume that is handed over open to all), whatever stands there may be a trap: then the
service owns a directory of its own inside, named after the service, and takes nothing but a directory that is really its own.
"""

import contextlib
import json
import os
import shlex
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from treering_runtime.errors import DirectoryInUseError, StartError
from treering_runtime.fsync import fsync

FORMAT_FILE = "FORMAT"
"""JSON: {"kind": what is in the directory, "version": the format's number}."""

MAX_PATH_BYTES = 487
"""Longest absolute path of a data directory, bytes, links resolved: SQLite opens no file whose path is over 511, and its longest here is
`/registry.sqlite-journal`."""

_MISREAD = "?\\"
"""DuckDB puts the name of its log in front of a question mark, and takes a backslash for a slash."""


class DataDir:
    """An open data directory; `path` is where its files are, and `close` unlocks it.

    Args:
        path: The directory that was named; created with its parents, mode 0700.
        kind: What is kept there, for example `treering-ingest`; a directory of its own is called `ingest` then.
        version: The newest format this program knows. Newer ones are refused. Of an older one `version` tells; what is left to migrate is
            the caller's to find out, from the content, at each start: the directory is stamped anew at once.

    Raises:
        StartError: It is in use, not writable, of another kind, or of a newer format; or the place of its own directory is taken by a link
            or by what others own or may write.
    """

    def __init__(self, path: Path, kind: str, version: int) -> None:
        self.path = own_directory(path, kind.rpartition("-")[2])
        # `flock`, not the file's existence: the kernel unlocks when the process dies, whatever way.
        self._lock = FileLock(self.path / "LOCK", mode=0o600)
        path = self.path
        try:
            # The lock before the stamp: two processes that start at once must not both find no stamp and both write one.
            self._lock.acquire(timeout=0)
            self.version = _stamp(path / FORMAT_FILE, kind, version)
        except Timeout:
            raise DirectoryInUseError(f"{path} is in use by another process; stop that one or give another data directory") from None
        except OSError as error:
            # Unlocked here: this object is never returned, so nobody else could.
            self._lock.release()
            raise _unusable(path, error) from error
        except StartError:
            self._lock.release()
            raise

    def close(self) -> None:
        """Unlocks the directory."""
        self._lock.release()


def _stamp(file: Path, kind: str, version: int) -> int:
    if not file.exists():
        # With the lock held, and atomically: a crash leaves no stamp or a whole one.
        write_atomically(file, json.dumps({"kind": kind, "version": version}).encode())
        return version
    try:
        found = json.loads(file.read_text())
        found_kind, found_version = str(found["kind"]), int(found["version"])
    # Damaged is not empty: a directory whose stamp cannot be read may hold a store, and beginning anew would hide it.
    except (ValueError, KeyError, TypeError):
        raise StartError(f"{file} is damaged; restore it, or move the directory away to start afresh") from None
    # The kind before the version: versions of different services are different numbers.
    if found_kind != kind:
        raise StartError(f"{file.parent} holds {found_kind}, not {kind}; give each service a directory of its own")
    if found_version > version:
        raise StartError(f"{file.parent} has format {found_version}, this program knows up to {version}; use a newer Treering")
    # Before the first byte of the newer format: a program that knows the older one alone might delete what it does not know.
    if found_version < version:
        write_atomically(file, json.dumps({"kind": kind, "version": version}).encode())
    return found_version


def own_directory(named: Path, name: str) -> Path:
    """The private directory of a service: the one that was named, or `name` inside, where others may write in the named one.

    Raises:
        StartError: It cannot be made, or is a link, or others own it or may write there; or its path is one that a database cannot open.
    """
    # Before `mkdir`: a path that cannot be used must leave nothing behind.
    _check_path(named)
    try:
        make_directory(named)
        # Named directories may be links; `stat` follows them. What we make inside is looked at with `lstat` below, because there
        # a link is somebody else's work.
        if _is_private(named.stat()):
            return named
        own = named / name
        # Others may write here. Files of a former version must be moved by their owner before this service begins anew inside.
        _refuse_files_in_the_open(named, own)
        with contextlib.suppress(FileExistsError):  # a link to nowhere; it is refused below
            make_directory(own)
        if _is_private(own.lstat()):
            return own
    except OSError as error:
        raise _unusable(named, error) from error
    raise StartError(
        f"{own} is a link, or others own it or may write there; look who put it there and take it away "
        "(chmod go-w if it is yours), or name another data directory"
    )


def _check_path(named: Path) -> None:
    """Refuses, before anything is made, a path that one of the databases would take for another one, or not open."""
    path = str(named.absolute())
    bad = next((each for each in _MISREAD if each in path), None)
    if bad:
        raise StartError(f"data_dir={path}: a path with {bad} is not supported, the database takes it for another one; use another name")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise StartError(
            f"data_dir={path!a}: the path holds bytes that are not UTF-8, or the locale does not allow what they are; "
            "use another name, or a locale such as C.UTF-8"
        ) from None
    # The named path and the resolved one: SQLite resolves links itself, and its limit holds for the result.
    size = max(len(os.fsencode(each)) for each in (path, named.resolve()))
    if size > MAX_PATH_BYTES:
        raise StartError(f"data_dir={path}: the path has {size} bytes, the limit is {MAX_PATH_BYTES}; use a shorter one")


def _refuse_files_in_the_open(named: Path, own: Path) -> None:
    """A service of a former version kept its files in the named directory, whoever might write there: beginning anew would lose them."""
    try:
        # `lstat`: what stands here may be a link that somebody laid in the open directory.
        owner = (named / FORMAT_FILE).lstat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise StartError(f"{named} holds files of a service of user {owner}; run the service as that user, or name another data directory")
    # what others laid beside them stays where it is
    outer, inner = shlex.quote(str(named)), shlex.quote(str(own))
    move = f"mkdir -m 700 {inner} && find {outer} -mindepth 1 -maxdepth 1 -user {owner} ! -path {inner} -exec mv -t {inner} {{}} +"
    raise StartError(
        f"others own {named} or may write there, and it holds a service's files; close it, or move them into a directory of their own: "
        f"chmod go-w {outer}; or {move}"
    )


def _is_private(status: os.stat_result) -> bool:
    """Whether it is a directory that this user owns and where nobody else may write."""
    # The effective user, because file access is checked by it.
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _unusable(path: Path, error: OSError) -> StartError:
    return StartError(f"{path} cannot be used: {error.strerror}; check that this user owns it and may write there")


def write_atomically(file: Path, content: bytes) -> None:
    """Replaces a small file so that a crash leaves the old or the new one, both on disk: data, rename, directory."""
    # Content, then name, then directory: in another order a power cut could leave an empty file under the name.
    # In the same directory: a rename is atomic only within one file system.
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
    # Parents first, each synced: a directory whose own name is lost takes with it what was synced inside.
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes created, renamed and deleted names in a directory durable."""
    # A name is data of its directory: only an fsync of the directory makes it survive a power cut.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
