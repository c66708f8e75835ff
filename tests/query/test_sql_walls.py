"""The walls behind the gate: a statement that slipped through it still reaches nothing."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from tests.query.conftest import OpenSql, OpenStore
from treering_query.sql import child, gate, runner, wire, zygote_process
from treering_query.sql.zygote_process import Zygote
from treering_runtime.errors import StartError

MIB = 1024 * 1024


@pytest.fixture
def behind_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "segment.parquet").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    request = wire.Request("", str(tmp_path), ("segment.parquet",), (), False, 10, 10 * MIB, 128 * MIB, 1, 5.0)
    connection = child._open(request)
    child._lock(connection, request)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('canary.txt')",
        "select * from 'canary.csv'",
        "select * from glob('*')",
        "select * from read_text('segment.parquet/../canary.txt')",
        "copy (select 1) to 'out.csv'",
        "attach 'out.duckdb' as x",
        "export database 'out'",
        "install httpfs",
        "load 'x.duckdb_extension'",
        "set enable_external_access = true",
        "set allowed_paths = ['/']",
        "set allowed_directories = ['/']",
        "set memory_limit = '100GB'",
        "reset lock_configuration",
    ],
)
def test_nothing_outside_is_reached(behind_the_gate: Any, statement: str, tmp_path: Path) -> None:
    for name in ("canary.txt", "canary.csv"):
        (tmp_path / name).write_text("secret\n1")
    with pytest.raises(duckdb.Error) as caught:
        behind_the_gate.execute(statement).fetchall()
    assert "secret" not in str(caught.value)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("out")]


def test_environment_of_the_child_is_not_a_function(behind_the_gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_CANARY", "secret")
    with pytest.raises(duckdb.Error):
        behind_the_gate.execute("select getenv('TREERING_CANARY')").fetchall()


@pytest.mark.parametrize("kind", ["INTERNAL", "Internal", "FATAL", "IO", "Settings", "Serialization", "Something new"])
def test_what_the_database_says_of_itself_is_not_passed_on(behind_the_gate: Any, kind: str) -> None:
    said = duckdb.Error(json.dumps({"exception_type": kind, "exception_message": "at /usr/lib/duckdb.so+0x4711\nstack trace"}))
    assert child._explain(said, "select 1", behind_the_gate) == ("INTERNAL", f"{kind} Error", {})


@pytest.mark.parametrize(
    ("statement", "reason", "words"),
    [
        ("copy logs to 'x.csv'", "SQL_NOT_ALLOWED", "only a single SELECT is allowed; this is COPY"),
        ("-- why\n/* not */ drop view logs", "SQL_NOT_ALLOWED", "this is DROP"),
        ("select 1; select 2", "SQL_NOT_ALLOWED", "these are 2 statements"),
        ("with x as (delete from logs returning *) from x", "SQL_NOT_ALLOWED", "this holds a DELETE"),
        ("from 'a.csv'", "SQL_NOT_ALLOWED", "only the tables logs, patterns and templates"),
        ("from lgos", "SQL_ERROR", "lgos does not exist"),
        (" ", "SQL_ERROR", "the query is empty"),
        ("selct 1", "SQL_ERROR", "syntax error"),
    ],
)
def test_the_gate_says_why(statement: str, reason: str, words: str) -> None:
    with duckdb.connect(":memory:") as connection, pytest.raises(gate.Refused) as caught:
        gate.check(connection, statement)
    assert caught.value.reason == reason
    assert words in caught.value.message


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has no_new_privs")
def test_processes_of_queries_can_gain_no_privileges() -> None:
    zygote = Zygote()
    try:
        status = Path(f"/proc/{zygote.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
    finally:
        zygote.close()


def test_zygote_that_never_comes_up_is_ended_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep 1000\n")
    stuck.chmod(0o700)
    monkeypatch.setattr(zygote_process.sys, "executable", str(stuck))
    before = psutil.Process().children()
    with pytest.raises(StartError, match=r"does not start within 0\.2 s"):
        Zygote(timeout_s=0.2)
    assert psutil.Process().children() == before


async def test_queries_that_miss_the_zygote_at_once_start_one_in_its_place(
    open_store: OpenStore, open_sql: OpenSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store, open_sql(store, tmp_path / "store") as sql:
        started = []
        monkeypatch.setattr(runner, "Zygote", lambda: started.append(Zygote()) or started[-1])
        sql._zygote._process.kill()
        sql._zygote._process.wait()
        together = threading.Barrier(4)

        def ask() -> None:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                together.wait()
                sql._ask_zygote(theirs)

        with ThreadPoolExecutor(4) as threads:
            for asked in [threads.submit(ask) for _ in range(4)]:
                asked.result()
        assert len(started) == 1
