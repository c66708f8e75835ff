"""Connections to an inner plane."""

import weakref
from collections.abc import Sequence
from typing import Protocol, TypeVar

import grpc

from treering.inner.addresses import InnerAddress, InnerPlaneError
from treering.inner.places import SocketPlace
from treering.inner.version import AGENT

Options = Sequence[tuple[str, int | str]]
_Channel = TypeVar("_Channel")
_Made_co = TypeVar("_Made_co", covariant=True)
_OWN: Options = (("grpc.use_local_subchannel_pool", 1), ("grpc.secondary_user_agent", AGENT))
"""Descriptors are numbers that are used again: a pool would hand the connection of one directory to another. Besides, a new channel tries
at once, whatever the one before met. The user agent says which version of the inner plane every call speaks."""


class _Insecure(Protocol[_Made_co]):
    def __call__(self, target: str, *, options: Options) -> _Made_co: ...


class _Secure(Protocol[_Made_co]):
    def __call__(self, target: str, credentials: grpc.ChannelCredentials, *, options: Options) -> _Made_co: ...


def connect(address: str, credentials: grpc.ChannelCredentials | None = None, options: Options = ()) -> grpc.Channel:
    """A channel for blocking calls to `unix:PATH`, or with credentials to host:port. It connects with the first call.

    Raises:
        InnerPlaneError: The address cannot be used like this, or the socket's directory is not this user's alone.
        OSError: The directory is not there, or this user may not open it.
    """
    return _opened(address, credentials, (*options, *_OWN), grpc.insecure_channel, grpc.secure_channel)


def connect_async(address: str, credentials: grpc.ChannelCredentials | None = None, options: Options = ()) -> grpc.aio.Channel:
    """The same for asyncio."""
    return _opened(address, credentials, (*options, *_OWN), grpc.aio.insecure_channel, grpc.aio.secure_channel)


def _opened(
    text: str,
    credentials: grpc.ChannelCredentials | None,
    options: Options,
    insecure: _Insecure[_Channel],
    secure: _Secure[_Channel],
) -> _Channel:
    address = InnerAddress.parse(text)
    if not address.path:
        # Never in clear over a network, whatever the caller forgot.
        if not credentials:
            raise InnerPlaneError(f"{text}: the inner plane is reached over the network by mutual TLS alone; give its three files")
        return secure(text, credentials, options=options)
    # Opened and checked before the channel exists: it connects later, to the directory that was checked.
    place = SocketPlace(address.path)
    channel = insecure(place.target, options=options)
    weakref.finalize(channel, place.close)  # the channel may connect again as long as it lives
    return channel
