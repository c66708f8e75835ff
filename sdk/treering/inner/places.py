"""The place of a Unix socket: a directory that is ours alone, held open, and a name in it."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from treering.inner.addresses import InnerPlaneError

_OPEN_FILES = Path("/proc/self/fd")
_LONGEST_PATH = 107
"""Bytes of a socket's path, without the zero byte at its end. Darwin has 103; there is no /proc either, so the path is used as it is."""

_CLOSED = -1
"""No descriptor: whatever is done with it is an error."""


class SocketPlace:
    """A socket's directory, open and checked, and the socket's name.

    The directory is reached through its open descriptor from then on. So its path may be of any length, and what was checked is what is
    used, also by a connection that is made again later: nobody can put another directory in its place.

    Args:
        path: Of the socket. Its directory must be there.

    Raises:
        InnerPlaneError: The directory is a link, belongs to others, or is open to them.
        FileNotFoundError: There is no such directory.
        PermissionError: This user may not open it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open_private(path.parent)

    @classmethod
    def made(cls, path: Path) -> Self:
        """The place of a socket that will be served; makes the directory, with mode 0700, where there is none.

        Raises:
            InnerPlaneError: As above.
            OSError: It cannot be made.
        """
        # Parents may be anybody's; what is checked is the directory of the socket itself.
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # it is checked next, whoever made it
            path.parent.mkdir(mode=0o700)
        return cls(path)

    @property
    def target(self) -> str:
        """What gRPC takes for the socket.

        Raises:
            InnerPlaneError: The path is too long for this system.
        """
        return f"unix:{self._reachable()}"

    def prepare(self) -> None:
        """Removes a socket that a killed process left, so that a new one can be bound. Others must be kept from the same: see `locked`.

        Raises:
            InnerPlaneError: Somebody listens there, or what stands there is no socket.
        """
        try:
            # By the open directory, not by the path: the look, the removal and the binding are of the same place.
            found = os.stat(self.path.name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        # Never removed unless it is a socket: a wrong setting must not delete a file.
        if not stat.S_ISSOCK(found.st_mode):
            raise InnerPlaneError(f"{self.path} is no socket; look what it is and take it away, or name another place")
        # A living one is refused: unlinked, it would go on with nobody able to reach it.
        if self._is_listened_on():
            raise InnerPlaneError(f"{self.path} is in use by another process; stop that one, or name another place")
        os.unlink(self.path.name, dir_fd=self._descriptor)

    def close_to_others(self) -> None:
        """Gives the socket mode 0600: the directory keeps others out, and this does once more."""
        os.chmod(self.path.name, 0o600, dir_fd=self._descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from preparing in the same directory: between the look and the binding nobody else may bind."""
        # The lock of the open directory: it needs no file, and the kernel gives it back when the process dies.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives the directory back; a channel or server that uses `target` must be closed before."""
        # Forgotten first: its number may be another file's by the next call, and nothing of that may be closed or written.
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def _reachable(self) -> Path:
        # The kernel's link to the open directory: short whatever the path is, and of the directory that was checked.
        if _OPEN_FILES.is_dir():
            return _OPEN_FILES / str(self._descriptor) / self.path.name
        if len(os.fsencode(self.path)) > _LONGEST_PATH:
            raise InnerPlaneError(f"{self.path} is longer than {_LONGEST_PATH} bytes, which no socket's path may be; name a shorter one")
        return self.path

    def _is_listened_on(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            # Not blocking: a service whose queue is full would hold up the start of this one.
            probe.setblocking(False)
            # a full queue is a living process, too
            return probe.connect_ex(os.fspath(self._reachable())) not in {errno.ECONNREFUSED, errno.ENOENT}


def _open_private(directory: Path) -> int:
    """Opens a directory and returns its descriptor, if it is really this user's and closed to everybody else."""
    # O_NOFOLLOW, and then `fstat` of what was opened: between a look at a path and its opening it could be replaced.
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise InnerPlaneError(f"{directory} is a link or no directory; take it away, or name another place") from None
        raise
    status = os.fstat(descriptor)
    problem = _openness(directory, status)
    # A descriptor that is not used must not stay open.
    if problem:
        os.close(descriptor)
        raise InnerPlaneError(f"{directory} {problem}")
    return descriptor


def _openness(directory: Path, status: os.stat_result) -> str:
    """What is wrong with a directory that others could come into; empty when they cannot."""
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}, not to this one, {os.geteuid()}; run this as that user, or name another place"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"is open to others; close it: chmod 700 {directory}; or name a directory inside, which is made closed"
    return ""
