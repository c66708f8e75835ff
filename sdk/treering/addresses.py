"""What an address of a service may be."""

import re

_HOST_PORT = re.compile(r"(?:\[[^\s\]]+\]|[^\s/:\[\]]+):(\d{1,5})")
_TARGET = re.compile(r"(?:unix|unix-abstract|vsock|dns|ipv4|ipv6|xds):\S+")
_MAX_PORT = 65_535


def check_address(value: str) -> str:
    """Returns an address that can be connected to: host:port, or a target with a scheme of gRPC's, for example unix:/run/treering.sock.

    Raises:
        ValueError: It is neither. gRPC would take 443 for a missing port, and the rest of a division for one that is too large.
    """
    host_port = _HOST_PORT.fullmatch(value)
    # A target of gRPC's is left to gRPC; only its scheme is known here.
    if 0 < int(host_port[1]) <= _MAX_PORT if host_port else _TARGET.fullmatch(value):
        return value
    raise ValueError(f"invalid address {value!r}; use host:port with a port from 1 to {_MAX_PORT}, for example 127.0.0.1:4701")
