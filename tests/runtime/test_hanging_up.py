"""A connection is ended by its peer's name, and no other one is."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from treering_runtime.hanging_up import hang_up


@pytest.fixture(
    params=[("127.0.0.1", "ipv4:127.0.0.1:{}"), ("::1", "ipv6:%5B::1%5D:{}"), ("mapped", "ipv4:127.0.0.1:{}")], ids=lambda each: each[0]
)
def connections(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Two clients, what the server has of each, and how gRPC would call a client."""
    host, form = request.param
    if host == "mapped":
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        host = "127.0.0.1"
    else:
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    made = []
    for _ in range(2):
        client = socket.create_connection((host, listening.getsockname()[1]))
        made.append((client, listening.accept()[0]))
    yield [(client, served, form.format(client.getsockname()[1])) for client, served in made]
    for each in [listening, *(end for pair in made for end in pair)]:
        each.close()


def test_one_connection_ends_and_others_stay(connections: list[Any]) -> None:
    (first, _, name), (second, served, _) = connections
    assert hang_up(name)
    assert first.recv(1) == b""
    served.sendall(b"x")
    assert second.recv(1) == b"x"


@pytest.mark.parametrize("peer", ["unix:", "unix:/run/s", "ipv4:127.0.0.1:1", "ipv4:127.0.0.1", "", "ipv4:127.0.0.1:x"])
def test_of_whom_there_is_no_connection_nothing_ends(connections: list[Any], peer: str) -> None:
    (_, served, _), *_ = connections
    assert not hang_up(peer)
    served.sendall(b"x")
    assert connections[0][0].recv(1) == b"x"


def test_looking_for_a_connection_leaves_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        before = psutil.Process().num_fds()
        for _ in range(5):
            assert not hang_up("ipv4:192.0.2.1:9")
        assert psutil.Process().num_fds() == before
