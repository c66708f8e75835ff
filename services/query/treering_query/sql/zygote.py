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

# From linux/prctl.h.
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Forks a child for each socket that the parent sends."""
    # Before the first fork: children inherit it, and nothing can take it back.
    _give_up_new_privileges()
    control = socket.socket(fileno=int(sys.argv[1]))
    # Ctrl-C goes to the whole group of processes; the parent ends this one by its socket, after the queries.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ignored on purpose: the kernel reaps the children, none becomes a zombie, and nobody asks for their status.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Everything is imported: the first query pays for a fork only.
    control.send(b"r")
    while True:
        word, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        # The parent has closed its end, or is dead. Children end by their own sockets.
        if not word:
            return
        sock = socket.socket(fileno=descriptors[0])
        # One thread and no lock held: after a fork from a process with more threads, a lock of another one would be held for ever.
        if os.fork() == 0:
            # A child that keeps it could ask for forks, and the zygote would outlive the parent.
            control.close()
            _serve(sock)
        # Else this end would stay open here, and the parent would never see that the child has ended.
        sock.close()


def _give_up_new_privileges() -> None:
    """From here on no program that this process or a child might start has more rights than it: setuid bits mean nothing."""
    # `prctl` wants five arguments; the rest must be 0.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("PR_SET_NO_NEW_PRIVS is refused")


def _serve(sock: socket.socket) -> None:
    status = 1
    try:
        child.run(sock)
        status = 0
    finally:
        sys.stderr.flush()
        # No exit handlers and no flush of inherited buffers: they are the zygote's.
        os._exit(status)


if __name__ == "__main__":
    main()
