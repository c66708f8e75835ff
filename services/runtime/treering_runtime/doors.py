"""Where a server lets callers in: a port, with TLS or without, or a Unix socket."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from treering.inner import InnerPlaneError, SocketPlace, socket_address
from treering_runtime.errors import AddressTakenError, StartError


class Door(Protocol):
    """One way in."""

    def open(self, server: grpc.aio.Server) -> str:
        """Binds, and returns the address that clients use.

        Raises:
            StartError: The address is taken or cannot be used.
        """

    def close(self) -> None:
        """Gives back what `open` took; the server has stopped."""


@dataclass(frozen=True)
class Port:
    """host:port; port 0 takes a free one.

    Args:
        listen: The address.
        credentials: For TLS; None serves in clear.
        setting: How errors call the address.
    """

    listen: str
    credentials: grpc.ServerCredentials | None = None
    setting: str = "listen"

    def open(self, server: grpc.aio.Server) -> str:
        """Binds."""
        try:
            port = server.add_secure_port(self.listen, self.credentials) if self.credentials else server.add_insecure_port(self.listen)
        # gRPC raises one RuntimeError for every reason, so the words name the likely ones.
        except RuntimeError as error:
            taken = "the address is in use or not of this machine; choose another one"
            raise AddressTakenError(f"{self.setting}={self.listen}: {taken}") from error
        return f"{self.listen.rpartition(':')[0]}:{port}"

    def close(self) -> None:
        """Has nothing to give back."""


class Socket:
    """A Unix socket in a directory that is this user's alone.

    Args:
        path: Of the socket; its directory is made when it is not there.
        setting: How errors call it.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self._path = path
        self._setting = setting
        self._place: SocketPlace | None = None

    def open(self, server: grpc.aio.Server) -> str:
        """Takes the place of a socket that a killed process left, never that of a living one."""
        try:
            self._place = place = SocketPlace.made(self._path)
            # Locked until it is bound and closed to others: two processes that start at once must not both find the place free.
            with place.locked():
                place.prepare()
                # gRPC itself makes the socket; its mode is that of the umask until the next line.
                server.add_insecure_port(place.target)
                place.close_to_others()
        except InnerPlaneError as error:
            raise StartError(f"{self._setting}: {error}") from error
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or "no socket can be made there, for example because its file system has none"
            raise StartError(f"{self._setting}: {self._path}: {why}; name a place that this user may write, unix:PATH") from error
        return socket_address(self._path)

    def close(self) -> None:
        """Gives the directory back. gRPC has removed the socket; the directory stays, others may be about to connect there."""
        if self._place:
            self._place.close()
            self._place = None
