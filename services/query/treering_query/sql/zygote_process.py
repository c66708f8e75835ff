"""The parent's side of the zygote: starts it, asks it to fork, ends it."""

import socket
import subprocess
import sys

from treering_query import limits
from treering_runtime.errors import StartError

_END_S = 5.0
"""How long it may take to end when its socket is closed, seconds; then it is killed."""


class Zygote:
    """The process that forks; see `zygote`.

    Args:
        timeout_s: How long it may take to come up, seconds.

    Raises:
        StartError: It does not come up; nothing of it is left.
    """

    def __init__(self, timeout_s: float = limits.ZYGOTE_START_S) -> None:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "treering_query.sql.zygote", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL, close_fds=True)  # noqa: S603
        self._control.settimeout(timeout_s)
        try:
            word = self._control.recv(1)
        except TimeoutError:
            word = b""
        if word != b"r":
            self._process.kill()
            self.close()
            raise StartError(f"the process that forks SQL queries does not start within {timeout_s:g} s; its own words are above")
        self._control.settimeout(None)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def fork(self, sock: socket.socket) -> None:
        """Makes a child that serves `sock`.

        Raises:
            OSError: The process is gone.
        """
        socket.send_fds(self._control, [b"f"], [sock.fileno()])

    def close(self) -> None:
        """Ends it."""
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
