"""A process that has everything loaded and does nothing but fork: `python -m treering_query.sql.zygote FD`.

It never loads grpc, holds no secret, no environment and no file, and has one thread, so that forking it is safe and takes a
millisecond. It ends when the parent closes its socket.
"""

import ctypes
import os
import signal
import socket
import sys

from treering_query.sql import child

_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Forks a child for each socket that the parent sends."""
    _give_up_new_privileges()
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"r")
    while True:
        word, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not word:
            return
        sock = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            control.close()
            _serve(sock)
        sock.close()


def _give_up_new_privileges() -> None:
    """From here on no program that this process or a child might start has more rights than it: setuid bits mean nothing."""
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("PR_SET_NO_NEW_PRIVS is refused")


def _serve(sock: socket.socket) -> None:
    status = 1
    try:
        child.run(sock)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
