import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from treering_runtime.healthcheck import check, main
from treering_runtime.server import Server

INGEST = "treering.v1.IngestService"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server("127.0.0.1:0", [INGEST], CollectorRegistry())
    await server.start(ready=False)
    yield server
    await server.stop(0)


async def test_it_follows_the_health_of_one_service(server: Server) -> None:
    assert await asyncio.to_thread(check, server.address, INGEST) == "NOT_SERVING"
    await server.set_ready(INGEST, ready=True)
    assert await asyncio.to_thread(check, server.address, INGEST) == "SERVING"
    assert await asyncio.to_thread(check, server.address) == "NOT_SERVING"


async def test_the_exit_code_says_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, [server.address]) == 1
    await server.set_ready("", ready=True)
    assert await asyncio.to_thread(main, [server.address]) == 0
    assert await asyncio.to_thread(main, [server.address, "treering.v1.Unknown"]) == 1
    assert capsys.readouterr().out.splitlines() == ["NOT_SERVING", "SERVING", "NOT_FOUND: "]


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"]])
def test_a_wrong_call_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")
