"""Ends the connection of a peer. gRPC has no way to: a call whose answer is not taken from the wire stays, with the answer, for ever."""

import os
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import unquote

_DESCRIPTORS = Path("/dev/fd")
"""The open descriptors of this process, on Linux and on macOS."""


def hang_up(peer: str) -> bool:
    """Shuts down this process's connection to a peer of TCP, given as gRPC says it; returns whether there was one."""
    place = _place(peer)
    return place is not None and any(_shut_down(int(found.name), place) for found in _DESCRIPTORS.iterdir())


def _shut_down(descriptor: int, place: tuple[str, int]) -> bool:
    # On a duplicate: the descriptor may be closed at any moment, and its number may be another file's.
    with suppress(OSError):
        duplicate = os.dup(descriptor)
        try:
            connection = socket.socket(fileno=duplicate)
        except OSError:  # no socket: nobody else would close the duplicate
            os.close(duplicate)
            return False
        with connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6) and _normal(*connection.getpeername()[:2]) == place:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _place(peer: str) -> tuple[str, int] | None:
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return _normal(host.strip("[]"), int(port)) if kind in {"ipv4", "ipv6"} and port.isdecimal() else None


def _normal(host: str, port: int) -> tuple[str, int]:
    """An address of IPv4 that came over IPv6 is the same."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), port
