"""A network that misbehaves between client, ingest and sinks: each record is in SQL once, and nobody waits for ever."""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.system.chaos_proxy import ChaosProxy, Cut
from treering import AsyncClient, Endpoints, LogRecord
from treering.upload_state import UploadResult
from treering.v1.ingest_pb2 import SinkStatus
from treering.v1.log_pb2 import Position

from .conftest import START_S, environment

pytestmark = pytest.mark.system

BATCH = 20
UPLOAD = {"linger_s": math.inf, "max_batch_records": BATCH, "acknowledge_within_s": 1.0}
"""A healthy answer takes milliseconds; the deadline is for connections that will never answer."""
POSITIONS = (0, 1, 24, 60, 150, 400, 700, 1_100, 1_900, 3_000, 4_500)
"""Bytes after which connections are cut: in the preface, in the headers, and in the batches, which take about 700 each."""


@asynccontextmanager
async def service(name: str, directory: Path, **settings: str) -> AsyncIterator[Any]:
    """One service alone, on free ports; yields where it answers, by its planes."""
    prefix = f"TREERING_{name.upper()}_"
    chosen = {"LISTEN": "127.0.0.1:0", "METRICS_LISTEN": "127.0.0.1:0", "DATA_DIR": str(directory)} | settings
    environ = environment(**{prefix + key: value for key, value in chosen.items()})
    with (directory.with_suffix(".log")).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"treering_{name}", env=environ, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        async with asyncio.timeout(START_S):
            yield json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


class Network:
    """ingest with two stores as its sinks, `query` and `other`, and a proxy before each of the three."""

    def __init__(self, ingest: Any, query: Any, other: Any, to_ingest: ChaosProxy, to_query: ChaosProxy, to_other: ChaosProxy) -> None:
        self.to_ingest, self.to_query, self.to_other = to_ingest, to_query, to_other
        self.direct = AsyncClient(Endpoints(ingest, query, query))
        self.other = AsyncClient(Endpoints(ingest, other, other))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        """A client behind the proxy, with a connection of its own."""
        async with AsyncClient(Endpoints(self.to_ingest.address, *self.direct.endpoints.all()[1:])) as client:
            yield client

    async def end(self) -> Position:
        """Where the log ends."""
        status = await self.direct.get_ingest_status()
        return Position(log_id=status.log_id, offset=status.end_offset_exclusive)

    async def sink(self, name: str) -> SinkStatus:
        """What ingest says of a sink."""
        status = await self.direct.get_ingest_status()
        return next(sink for sink in status.sinks if sink.name == name)

    async def until(self, name: str, condition: Callable[[Any], Any | bool]) -> SinkStatus:
        """Waits until ingest says so of a sink."""
        async with asyncio.timeout(START_S):
            while not condition(found := await self.sink(name)):
                pass
        return found

    async def assert_once(self, label: str, count: int, client: AsyncClient | None = None) -> None:
        """SQL counts each record of a label once."""
        client = client or self.direct
        query = f"select count(*) n, count(distinct message) d, count(distinct \"offset\") o from logs where service = '{label}'"
        result = await client.sql(query, min_positions=(await self.end(),), timeout=START_S)
        assert result.rows() == [{"n": count, "d": count, "o": count}], label


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    authority = Authority(tmp_path / "tls")
    shared = authority.files("sinks").settings("") | {"INNER_LISTEN": "127.0.0.1:0", "EMBED_ADDRESS": "unix:/no/such/directory/s"}
    async with (
        service("query", tmp_path / "query", **shared) as query,
        service("query", tmp_path / "other", **shared) as other,
        ChaosProxy(query["inner"]) as to_query,
        ChaosProxy(other["inner"]) as to_other,
        service(
            "ingest",
            tmp_path / "ingest",
            SINKS=f"query={to_query.address},other={to_other.address}",
            **authority.files("ingest").settings(""),
        ) as ingest,
        ChaosProxy(ingest["address"]) as to_ingest,
    ):
        found = Network(ingest["address"], query["address"], other["address"], to_ingest, to_query, to_other)
        async with found.direct, found.other:
            yield found


async def upload(client: AsyncClient, label: str, count: int, producer_id: str = "") -> UploadResult:
    uploader = client.uploader(producer_id, **UPLOAD)
    async with asyncio.timeout(START_S):
        for number in range(count):
            await uploader.send(LogRecord(service=label, message=f"record {number} of {label}"))
        return await uploader.close()


@pytest.mark.parametrize("how", [Cut.CLOSE, Cut.RESET])
async def test_connections_of_clients_that_are_cut_anywhere_lose_and_repeat_nothing(network: Network, how: Cut) -> None:
    for position in POSITIONS:
        network.to_ingest.cuts.extend([(position, how), (position + 77, how)])
        async with network.client() as client:
            result = await upload(client, f"cut-{position}", 10 * BATCH)
        assert (result.accepted, result.uncertain) == (10 * BATCH, 0)
        network.to_ingest.cuts.clear()
    for position in POSITIONS:
        await network.assert_once(f"cut-{position}", 10 * BATCH)


async def test_a_half_open_connection_is_given_up_and_the_upload_resumes(network: Network) -> None:
    network.to_ingest.cuts.append((3_000, Cut.HALF_OPEN))
    async with network.client() as client:
        result = await upload(client, "half-open", 10 * BATCH)
    assert (result.accepted, result.uncertain) == (10 * BATCH, 0)
    assert network.to_ingest.connections == 2
    await network.assert_once("half-open", 10 * BATCH)


async def test_deliveries_that_are_cut_anywhere_lose_and_repeat_nothing(network: Network) -> None:
    network.to_query.cuts.extend((position, how) for position in (400, 1_100, 3_000, 9_000) for how in (Cut.CLOSE, Cut.RESET))
    network.to_query.drop()  # ingest may have connected before there were cuts
    async with network.client() as client:
        for round_number in range(6):
            await upload(client, f"round-{round_number}", 20 * BATCH)
    for round_number in range(6):
        await network.assert_once(f"round-{round_number}", 20 * BATCH)
        await network.assert_once(f"round-{round_number}", 20 * BATCH, network.other)
    assert network.to_query.connections > 5


async def test_repeated_and_overlapping_uploads_are_stored_once(network: Network) -> None:
    accepted = 0
    for count in (5, 5, 12, 12, 20, 20):
        network.to_ingest.cuts.append((900, Cut.RESET))
        async with network.client() as client:
            accepted += (await upload(client, "overlap", count * BATCH, producer_id="the same")).accepted
    await network.assert_once("overlap", 20 * BATCH)
    assert accepted <= 20 * BATCH


async def test_a_sink_that_hangs_is_found_by_deadline_holds_up_nobody_and_catches_up(network: Network) -> None:
    await network.until("query", lambda sink: sink.connected)
    network.to_query.stop()
    async with network.client() as client:
        result = await upload(client, "hung", 50 * BATCH)
    assert result.accepted == 50 * BATCH
    await network.assert_once("hung", 50 * BATCH, network.other)
    found = await network.until("query", lambda sink: not sink.connected)
    assert found.visible_end_offset < result.end_offset
    found = await network.until("query", lambda sink: "hangs" in sink.last_error)
    network.to_query.go_on()
    await network.assert_once("hung", 50 * BATCH)
    await network.until("query", lambda sink: sink.connected and not sink.last_error)


async def test_a_slow_sink_makes_nothing_else_slow(network: Network) -> None:
    await network.until("query", lambda sink: sink.connected)
    network.to_query.delay_s, network.to_query.chunk_bytes = 0.05, 64
    async with network.client() as client:
        result = await upload(client, "slow", 50 * BATCH)
    await network.assert_once("slow", 50 * BATCH, network.other)
    behind = await network.sink("query")
    assert behind.visible_end_offset < result.end_offset
    network.to_query.delay_s, network.to_query.chunk_bytes = 0.0, 16 * 1024
    await network.assert_once("slow", 50 * BATCH)
