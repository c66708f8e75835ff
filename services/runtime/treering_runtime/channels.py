"""Connections from one service to another, on the inner plane."""

import asyncio
import os
from dataclasses import dataclass

import grpc

from treering.inner import InnerAddress, InnerPlaneError
from treering.inner.channels import connect_async
from treering_runtime.limits import MAX_MESSAGE_BYTES

INTERNAL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),  # or `http_proxy` of the environment sends every record through a stranger, in clear
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""What every connection between services has; who opens one adds its own."""


class PeerAway(OSError):  # noqa: N818 - it says what is, as UNAVAILABLE does
    """Nobody can be connected to. The message names no path: callers from outside see it in answers."""


@dataclass(frozen=True)
class Peer:
    """Another service on its inner plane.

    Args:
        address: `unix:PATH` or host:port.
        credentials: For host:port; `InnerPlane.peer` has them.
    """

    address: str
    credentials: grpc.ChannelCredentials | None = None

    def connect(self, *options: tuple[str, int]) -> grpc.aio.Channel:
        """A new channel, with further options of gRPC. It connects with the first call, and never through a proxy.

        Raises:
            PeerAway: The directory of its socket is not there, or is not this user's alone.
        """
        try:
            return connect_async(self.address, self.credentials, (*INTERNAL_OPTIONS, *options))
        except InnerPlaneError as error:
            raise PeerAway("the directory of its socket is not one of this user's alone") from error
        except OSError as error:
            raise PeerAway(f"the directory of its socket cannot be opened: {error.strerror}") from error

    def directory(self) -> tuple[int, int] | None:
        """What stands where its socket's directory is; None where nothing does, and for host:port."""
        path = InnerAddress.parse(self.address).path
        try:
            found = os.stat(path.parent) if path else None  # noqa: PTH116 - of a path that may be long
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found else None


class PeerConnection:
    """A lasting connection to a peer. Made with its first use, and anew once the directory of the peer's socket is another one.

    Args:
        peer: Where it leads.
        options: Further options of gRPC.
    """

    def __init__(self, peer: Peer, *options: tuple[str, int]) -> None:
        self._peer = peer
        self._options = options
        self._channel: grpc.aio.Channel | None = None
        self._directory: tuple[int, int] | None = None
        self._closing: asyncio.Task[None] | None = None

    def channel(self) -> grpc.aio.Channel:
        """The channel as it is now.

        Raises:
            PeerAway: See `Peer.connect`.
        """
        # A directory that was removed and made again has another inode. The channel still leads to the old one.
        directory = self._peer.directory()
        if self._channel is None or directory != self._directory:
            # The new one first: when it cannot be made, this raises and the former one stays.
            former, self._channel = self._channel, self._peer.connect(*self._options)
            self._directory = directory
            if former:
                self._closing = asyncio.create_task(former.close())  # it leads to a directory that nobody serves any more
        return self._channel

    async def close(self) -> None:
        """Ends it; calls that run fail."""
        if self._closing:
            await self._closing
        if self._channel:
            await self._channel.close()
