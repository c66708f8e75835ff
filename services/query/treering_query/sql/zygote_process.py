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
        # `-I`: no module from the working directory or from the user's own site-packages.
        command = [sys.executable, "-I", "-m", "treering_query.sql.zygote", str(theirs.fileno())]
        with theirs:
            # An empty environment: tokens and paths of the service are not there to be read by SQL.
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL, close_fds=True)  # noqa: S603
        # For the start only; a fork takes a millisecond.
        self._control.settimeout(timeout_s)
        try:
            # Empty when it died: nobody has the other end open then.
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
        # Returns before the fork. If the zygote dies in between, the caller sees its own socket end.
        socket.send_fds(self._control, [b"f"], [sock.fileno()])

    def close(self) -> None:
        """Ends it."""
        # It ends by itself when it reads the end of this socket; the kill is for one that hangs.
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
