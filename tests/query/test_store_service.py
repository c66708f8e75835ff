"""The store's rpcs as a client meets them: over a real connection, through the boundary."""

import asyncio
import io
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.query.conftest import Asking, Fill, Serving
from treering.errors import SqlError, TreeringError
from treering.selection import log_filter
from treering.v1.log_pb2 import Position
from treering_query.retention.upkeep import Policy
from treering_query.store.store import Store


@pytest.fixture
def half_sealed(fill: Fill) -> Callable[[Store], Coroutine[Any, Any, None]]:
    async def make(store: Store) -> None:
        await fill(store, 0, 200)
        await store.seal()
        await fill(store, 200, 300)

    return make


async def exported(client: Asking, **filters: list[Any] | str) -> pa.Table:
    data, rows = io.BytesIO(), None
    async for part in client.export_logs(filter=log_filter(**filters)):
        data.write(part.arrow_ipc)
        if part.HasField("summary"):
            rows = part.summary.row_count
    table = pa.ipc.open_stream(data.getvalue()).read_all()
    assert rows == table.num_rows
    return table


async def test_answers_over_the_wire(serving: Serving, half_sealed: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async with serving() as (store, client):
        await half_sealed(store)
        found = await client.aggregate_logs(by=["service"], metric=["count", "p50:ms"])
        assert {row.groups[0].value: row.values[0].value for row in found.rows} == {f"svc{number}": 60 for number in range(5)}
        assert (await client.sql("select count(*) as n from logs")).rows() == [{"n": 300}]
        status = await client.get_query_status()
        assert (status.record_count, status.hot_record_count, status.segment_count, status.pattern_count) == (300, 100, 1, 5)
        with pytest.raises(SqlError, match="only a single SELECT is allowed; this is COPY"):
            await client.sql("copy logs to 'x.csv'")
        with pytest.raises(TreeringError, match="limit: 100001 is over 100000"):
            await client.aggregate_logs(limit=100_001)


async def test_export_holds_every_record_once(serving: Serving, half_sealed: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async with serving() as (store, client):
        assert (await exported(client)).num_rows == 0
        await half_sealed(store)
        table = await exported(client)
        assert sorted(table.column("offset").to_pylist()) == list(range(300))
        assert set(table.column("severity_text").to_pylist()) == {"INFO", "WARN", "ERROR"}
        some = await exported(client, services=["svc1"], contains="USER 1")
        assert set(some.column("message").to_pylist()) == {
            f"user {number} logged in" for number in range(300) if number % 5 == 1 and str(number)[0] == "1"
        }


async def run_export(client: Asking, *options: str) -> tuple[int | None, str, str]:
    line = (sys.executable, "-m", "treering_cli", "export", "--query", client.endpoints.query, *options)
    process = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
async def test_command_line_exports_into_a_file(
    serving: Serving, half_sealed: Callable[[Store], Coroutine[Any, Any, None]], tmp_path: Path, form: str
) -> None:
    async with serving() as (store, client):
        await half_sealed(store)
        _, output, _ = await run_export(client, "--json", "--format", form, "--out", str(tmp_path / "out"), "--service", "svc2")
        said = json.loads(output)
    (file,) = (tmp_path / "out").iterdir()
    assert (said["file"], said["records"], said["size_bytes"]) == (str(file), 60, file.stat().st_size)
    kind = "json" if form == "jsonl" else form
    with duckdb.connect() as bare:
        found = bare.sql(f"select count(*), count(distinct \"offset\"), min(severity_text) from read_{kind}('{file}')").fetchall()
    assert found == [(60, 60, "ERROR")]


async def test_command_line_leaves_no_half_of_an_export(
    serving: Serving, half_sealed: Callable[[Store], Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with serving() as (store, client):
        await half_sealed(store)
        assert (await run_export(client, "--format", "csv", "--out", str(out)))[0] == 0
        before = (out / "logs.csv").read_bytes()
        store.view.segments[0].path.write_bytes(b"")
        code, _, errors = await run_export(client, "--format", "csv", "--out", str(out))
        assert (code, "Traceback" in errors) == (1, False)
        assert f"{store.view.segments[0].path.name} is damaged" in errors
    assert [file.name for file in out.iterdir()] == ["logs.csv"]
    assert (out / "logs.csv").read_bytes() == before


async def test_export_reads_on_what_retention_deletes_meanwhile(serving: Serving, fill: Fill) -> None:
    async def nobody(pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
        """Stands for the embed service."""

    async with serving() as (store, client):
        for start in range(0, 3_000, 1_000):
            await fill(store, start, start + 1_000)
            await store.seal()
        parts = client.export_logs()
        data = [(await anext(parts)).arrow_ipc]
        assert await store.keep_up(Policy(age_s=1), 2_000_000_000 * 10**9, nobody) == 3
        data += [part.arrow_ipc async for part in parts]
        assert pa.ipc.open_stream(b"".join(data)).read_all().num_rows == 3_000
        assert (await exported(client)).num_rows == 0


async def test_export_that_is_left_gives_its_segments_back(
    serving: Serving, half_sealed: Callable[[Store], Coroutine[Any, Any, None]]
) -> None:
    async with serving() as (store, client):
        await half_sealed(store)
        parts = client.export_logs()
        await anext(parts)
        await parts.aclose()
        async with asyncio.timeout(60):
            while store._published.held():  # noqa: ASYNC110 - the server hears of it from the connection
                await asyncio.sleep(0)


async def test_thirty_two_clients_are_answered_while_records_arrive(serving: Serving, fill: Fill) -> None:
    async with serving() as (store, client):
        await fill(store, 0, 100)

        async def ask(number: int) -> int:
            if number % 8 == 0:
                return (await client.sql("select count(*) as n from logs")).rows()[0]["n"]
            return int((await client.aggregate_logs(filter=log_filter(contains="logged"))).rows[0].values[0].value)

        arriving = asyncio.create_task(fill(store, 100, 3000))
        counts = await asyncio.gather(*(ask(number) for number in range(32)))
        await arriving
        assert all(100 <= count <= 3000 for count in counts)
        assert await ask(1) == 3000
