"""Nothing of ours goes through the proxy that the environment names."""

import ast
import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from treering.channels import connect, connect_async
from treering_embed.index.server import connect as connect_index
from treering_runtime import healthcheck
from treering_runtime.channels import Peer

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {"sdk/treering/channels.py", "sdk/treering/inner/channels.py", "services/runtime/treering_runtime/healthcheck.py"}
"""The files that make channels; the tests below use each of them."""


def calls_of_channel_makers(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in {"insecure_channel", "secure_channel"}:
            yield name


def test_channels_are_made_in_these_files_only() -> None:
    files = [file for folder in ("sdk", "cli", "services", "demo") for file in (ROOT / folder).rglob("*.py") if "_pb2" not in file.name]
    assert {str(file.relative_to(ROOT)) for file in files if any(calls_of_channel_makers(file))} == MAKERS


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """What a listener gets that the environment names as proxy for everything; its last byte has come when the fixture's list is read."""
    connections = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield connections
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in connections:
        connection.close()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nobody answers: a call without a proxy fails at once."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def ask(channel: grpc.Channel) -> grpc.StatusCode:
    with channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/treering.v1.QueryService/GetQueryStatus")(b"", timeout=20)
    return caught.value.code()


def ask_async(make: Callable[[], grpc.aio.Channel]) -> grpc.StatusCode:
    async def call() -> grpc.StatusCode:
        async with make() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/treering.v1.QueryService/GetQueryStatus")(b"", timeout=20)
        return caught.value.code()

    return asyncio.run(call())


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda address: ask(connect(address)), id="sdk"),
        pytest.param(lambda address: ask_async(lambda: connect_async(address)), id="sdk-asyncio"),
        pytest.param(lambda address: ask_async(lambda: Peer(address, grpc.ssl_channel_credentials()).connect()), id="services"),
    ],
)
def test_no_channel_asks_the_proxy_of_the_environment(
    proxy: list[socket.socket], closed_port: str, call: Callable[[Any], grpc.StatusCode]
) -> None:
    assert (call(closed_port), proxy) == (grpc.StatusCode.UNAVAILABLE, [])


def test_the_health_check_asks_no_proxy(proxy: list[socket.socket], closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "DEADLINE_S", 0.5)
    assert (healthcheck.check(closed_port).partition(":")[0], proxy) == ("DEADLINE_EXCEEDED", [])


def test_the_index_server_is_asked_without_a_proxy(proxy: list[socket.socket], closed_port: str) -> None:
    client = connect_index(f"http://{closed_port}", "")
    with pytest.raises(grpc.RpcError):
        client.get_collections()
    with pytest.raises(Exception, match="refused"):
        client.http.service_api.healthz()
    client.close()
    assert proxy == []
