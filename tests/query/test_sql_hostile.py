"""SQL by strangers: nothing outside the tables is read, nothing is written, and the next query works."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pytest

from tests.hostile import ALL, chance
from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenSql, OpenStore
from tests.query.hostile_forms import forms
from tests.query.hostile_statements import ALLOWED, BOMBS, REFUSED
from tests.settling import settled
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering_query.sql import gate
from treering_query.sql.runner import SqlQuery, SqlRunner
from treering_runtime.errors import ServiceError

CANARY = "canary-3f9a1c"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


async def collect(
    runner: SqlRunner, text: str, timeout_ms: int = 10_000, max_rows: int = 1000, remaining: float | None = 20.0
) -> tuple[Any, Any | None]:
    query = SqlQuery.of(pb.ExecuteSqlRequest(query=text, timeout_ms=timeout_ms, max_rows=max_rows))
    data, summary = io.BytesIO(), None
    async for response in runner.run(query, remaining):
        data.write(response.arrow_ipc)
        if response.HasField("summary"):
            summary = response.summary
    return pa.ipc.open_stream(data.getvalue()).read_all(), summary


async def refusal(runner: SqlRunner, text: str, **limits: float) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await collect(runner, text, **limits)
    return caught.value


@pytest.fixture
async def sql(
    open_store: OpenStore, open_sql: OpenSql, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqlRunner]:
    monkeypatch.setenv("TREERING_CANARY", CANARY)
    (tmp_path / "canary.txt").write_text(CANARY)
    async with open_store() as store:
        await fill(store, 0, 200)
        await store.seal()
        await fill(store, 200, 300)
        async with open_sql(store, tmp_path / "store") as runner:
            yield runner


def hostile(tmp_path: Path) -> list[str]:
    """Every form of every seed, and some forms of forms; its files are the canary, a file that must not appear, and a real segment."""
    segment = next((tmp_path / "store" / "segments").glob("*.parquet"))
    places = {"out": tmp_path / "out", "file": tmp_path / "canary.txt", "segment": segment}
    random = chance("sql")
    found = [form for seed in lines(REFUSED) for form in forms(seed)]
    found += [random.choice(list(forms(random.choice(found)))) for _ in range(1_000 if ALL else 100)]
    return list(dict.fromkeys(form.format(**places) for form in found))


async def test_hostile_statements_are_refused_and_disturb_nothing(sql: SqlRunner, tmp_path: Path) -> None:
    """Through the whole service: one statement in ten of all forms, and all of them in `make hostile`."""
    segment = next((tmp_path / "store" / "segments").glob("*.parquet"))
    before = segment.read_bytes()
    statements = hostile(tmp_path)[:: 1 if ALL else 10]
    for text in statements:
        error = await refusal(sql, text)
        name = ErrorReason.Name(error.reason)
        assert name in {"ERROR_REASON_SQL_NOT_ALLOWED", "ERROR_REASON_SQL_ERROR", "ERROR_REASON_SQL_LIMIT"}, (text, error)
        assert CANARY not in error.message, text
        places = (text, str(tmp_path / "canary.txt"), str(segment), str(tmp_path / "out"))
        said = error.message
        for place in places:
            said = said.replace(place, "")
        assert str(tmp_path) not in said, (text, error)
    assert not (tmp_path / "out").exists()
    assert segment.read_bytes() == before
    table, _ = await collect(sql, "select count(*) as n from logs")
    assert table.to_pylist() == [{"n": 300}]


def passes(connection: duckdb.DuckDBPyConnection, text: str) -> bool:
    try:
        gate.check(connection, text)
    except gate.Refused:
        return False
    return True


def test_a_thousand_hostile_statements_stop_at_the_gate_or_mean_nothing(tmp_path: Path) -> None:
    """What the gate lets through is only what names unknown columns, functions or settings: nothing outside is behind any of them."""
    (tmp_path / "store" / "segments").mkdir(parents=True)
    (tmp_path / "store" / "segments" / "0000000001.parquet").touch()
    statements = hostile(tmp_path)
    assert len(statements) >= 1_000
    with duckdb.connect(":memory:") as connection:
        passed = [text for text in statements if passes(connection, text)]
    assert not [text for text in passed if str(tmp_path) in text], passed
    assert len(passed) < len(statements) // 20, passed


async def test_reading_statements_run(sql: SqlRunner) -> None:
    for text in lines(ALLOWED):
        table, summary = await collect(sql, text.replace("{{", "{").replace("}}", "}"))
        assert summary.row_count == table.num_rows, text


async def test_a_fault_of_the_database_is_ours_and_shows_no_code_and_no_path(sql: SqlRunner) -> None:
    with pytest.raises(RuntimeError, match=r"^SQL child: INTERNAL Error$"):  # the caller gets an id for it
        await collect(sql, "select reservoir_quantile(severity, 0.5, 100000000) from logs")
    table, _ = await collect(sql, "select count(*) as n from logs")
    assert table.to_pylist() == [{"n": 300}]


async def test_what_lies_under_the_views_cannot_be_read(sql: SqlRunner) -> None:
    for name in ("_hot", "_patterns", "logs_hot"):
        error = await refusal(sql, f"with {name} as (select 1) select * from (select 1), main.{name}")
        assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR


@pytest.mark.parametrize("number", range(len(BOMBS)))
async def test_bombs_are_stopped_and_the_next_query_works(sql: SqlRunner, number: Callable[[range], int]) -> None:
    try:
        await collect(sql, BOMBS[number], timeout_ms=2000)
    except ServiceError as error:
        name = ErrorReason.Name(error.reason)
        assert name in {"ERROR_REASON_SQL_LIMIT", "ERROR_REASON_SQL_ERROR"}, error  # noqa: PT017 - an answer in time is right too
    table, _ = await collect(sql, "select count(*) as n from logs")
    assert table.to_pylist() == [{"n": 300}]


@pytest.mark.parametrize("function", ["reservoir_quantile(x, 0.5, 100000000)", "list_aggregate([x], 'reservoir_quantile', 0.5, 100000000)"])
async def test_a_fault_of_the_database_is_ours_and_says_nothing_of_it(sql: SqlRunner, function: str) -> None:
    with pytest.raises(RuntimeError, match=r"^SQL child: INTERNAL Error$"):
        await collect(sql, f"select {function} from range(10) t(x)")
    await collect(sql, "select 1")


async def test_result_is_cut_at_its_rows_and_says_so(sql: SqlRunner) -> None:
    table, summary = await collect(sql, "select * from range(100000000)", max_rows=50_000)
    assert (table.num_rows, summary.truncated) == (50_000, True)
    table, summary = await collect(sql, "select * from range(50000)", max_rows=50_000)
    assert (table.num_rows, summary.truncated) == (50_000, False)


async def test_result_is_cut_at_its_bytes_and_says_so(sql: SqlRunner) -> None:
    table, summary = await collect(sql, "select repeat('x', 1000) from range(100000)", max_rows=10_000_000)
    assert summary.truncated
    assert table.nbytes <= 16 * 1024 * 1024
    assert summary.row_count == table.num_rows > 0


async def test_errors_say_line_and_position(sql: SqlRunner) -> None:
    for text, place in [
        ("select foo from logs", {"line": "1", "position": "8"}),
        ("select 1,\n  bar from logs", {"line": "2", "position": "3"}),
        ("select 1 from\n\nwhere", {"line": "3", "position": "1"}),
        ("select * from\n lgos", {"line": "2", "position": "2"}),
        ("select 1,\n 'a'::int", {"line": "2", "position": "5"}),
    ]:
        error = await refusal(sql, text)
        assert (error.reason, error.metadata) == (ErrorReason.ERROR_REASON_SQL_ERROR, place), text


async def test_deadline_of_the_call_and_time_of_the_query_are_told_apart(sql: SqlRunner) -> None:
    endless = "select count(*) from range(1000000) a, range(1000000) b, range(1000) c"
    assert (await refusal(sql, endless, timeout_ms=300)).metadata == {"limit": "time"}
    assert (await refusal(sql, endless, remaining=0.3)).reason == ErrorReason.ERROR_REASON_TIMED_OUT


def children() -> set[int]:
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


async def test_process_ends_when_the_caller_goes_away(sql: SqlRunner) -> None:
    before = children()
    query = SqlQuery.of(pb.ExecuteSqlRequest(query="select count(*) from range(1000000) a, range(1000000) b, range(1000) c"))
    task = asyncio.create_task(anext(sql.run(query, None)))
    while not (running := children() - before):  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    _, alive = await asyncio.to_thread(psutil.wait_procs, [psutil.Process(pid) for pid in running if psutil.pid_exists(pid)], 10)
    assert not alive


async def test_dead_zygote_is_replaced(sql: SqlRunner) -> None:
    sql._zygote._process.kill()
    sql._zygote._process.wait()
    table, _ = await collect(sql, "select 1 as one")
    assert table.to_pylist() == [{"one": 1}]


async def test_more_queries_than_may_wait_are_refused_with_a_time_to_retry(sql: SqlRunner) -> None:
    endless = "select count(*) from range(1000000) a, range(1000000) b, range(1000) c"
    tasks = [asyncio.create_task(refusal(sql, endless, timeout_ms=1000)) for _ in range(6)]
    await settled()
    error = await refusal(sql, "select 1")
    assert error.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert error.retry_after_s
    await asyncio.gather(*tasks)
    await collect(sql, "select 1")


async def test_child_knows_no_environment_and_no_grpc(sql: SqlRunner) -> None:
    process = psutil.Process(sql._zygote._process.pid)
    assert CANARY not in str(process.environ())
    assert not [item.path for item in process.memory_maps() if "grpc" in item.path]


async def test_view_of_users_shows_ids_as_text(
    open_store: OpenStore, open_sql: OpenSql, frame: MakeFrame, record: MakeRecord, tmp_path: Path
) -> None:
    async with open_store() as store:
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, [record(0, trace_id=bytes(range(16)), span_id=b"\xff" * 8, severity=10)])], 1)
        async with open_sql(store, tmp_path / "store") as runner:
            table, _ = await collect(runner, 'select trace_id, span_id, severity, severity_text, "offset" from logs')
    assert table.to_pylist() == [
        {"trace_id": bytes(range(16)).hex(), "span_id": "ff" * 8, "severity": 10, "severity_text": "INFO2", "offset": 0}
    ]


def test_request_beyond_limits_is_refused() -> None:
    for request in (
        pb.ExecuteSqlRequest(query="x" * 100_001),
        pb.ExecuteSqlRequest(query="select 1", max_rows=10_000_001),
        pb.ExecuteSqlRequest(query="select 1", timeout_ms=600_001),
        pb.ExecuteSqlRequest(query="select \0"),
    ):
        with pytest.raises(ServiceError, match=r"query|max_rows|timeout_ms"):
            within_limits(request)
