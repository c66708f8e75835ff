"""A hostile environment: a proxy that listens, a directory that others may write, what is left of a killed `up`."""

import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.conftest import Up

from .conftest import START_S, cli, environment, start_up

pytestmark = pytest.mark.system

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SECRET = "the secret of the house is under the mat"


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts instances, and makes sure that nothing is left of them."""
    made = []

    def start(data_dir: Path, **settings: str) -> Up:
        made.append(start_up(data_dir, **settings))
        return made[-1]

    yield start
    for up in made:
        up.kill()


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of a listener, and the connections that it got."""
    connections = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in connections:
        connection.close()


def test_not_one_byte_goes_to_the_proxy_of_the_environment(
    started: Any, tmp_path: Path, proxy: tuple[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, connections = proxy
    for name in PROXIES:
        monkeypatch.setenv(name, address)
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    up = started(tmp_path / "data")
    up.json("send", "-", "--service", "house", "--wait", given=f"{SECRET}\n")
    assert up.sql("select message from logs") == [{"message": SECRET}]
    found = up.json("search", "where is the key hidden", "--mode", "semantic", "--json")["results"]
    assert [result["pattern"] for result in found] == [SECRET]
    assert up.json("status", "--json")["ingest"]["sinks"][0]["connected"]
    assert up.json("verify", "--json")
    assert up.stop() == 0
    assert connections == []


def test_it_becomes_ready_with_a_proxy_that_is_not_there(started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert started(tmp_path / "data").stop() == 0


def test_everything_that_is_kept_is_private_also_where_others_may_write(started: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    up = started(tmp_path / "data", TREERING_QUERY_HOT_MAX_ROWS="1000")
    up.json("send", "-", "--service", "many", "--wait", given="".join(f"line {number}\n" for number in range(3_000)))
    assert up.stop() == 0
    kept = [path for path in (tmp_path / "data").rglob("*") if not path.is_symlink()]
    assert {"wal", "registry.sqlite", "segments", "LOCK"} <= {path.name for path in kept}
    assert {path: oct(mode) for path in kept if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077} == {}
    up = started(tmp_path / "data")
    assert up.sql("select count(*) n from logs") == [{"n": 3_000}]


def test_what_others_laid_in_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data/query").symlink_to(tmp_path / "elsewhere")
    done = cli("up", "--data-dir", tmp_path / "data", "--ingest-port", "0", "--embed-port", "0", "--query-port", "0")
    assert (done.returncode, "data/query is not a directory of ours" in done.stderr) == (1, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_metrics_of_every_service_are_for_its_own_names(started: Any, tmp_path: Path) -> None:
    up = started(tmp_path / "data", **{f"TREERING_{name}_METRICS_HOSTS": "ours.example" for name in ("INGEST", "EMBED", "QUERY")})
    settings = json.loads((tmp_path / "data/up.json").read_text())["settings"]
    for name in ("INGEST", "EMBED", "QUERY"):
        for host, status in (("localhost", 200), ("ours.example", 200), ("evil.example", 403)):
            connection = http.client.HTTPConnection(settings[f"TREERING_{name}_METRICS_LISTEN"], timeout=START_S)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics", headers={"Host": host})
                answer = connection.getresponse()
                assert (answer.status, b"process_" in answer.read()) == (status, status == 200)
    assert up.stop() == 0


def test_after_a_kill_while_embed_is_stopped_the_true_cause_is_named(started: Any, tmp_path: Path) -> None:
    up = started(tmp_path / "data")
    left = up.service("embed")
    left.suspend()
    others = [up.service("ingest"), up.service("query")]
    up.process.kill()
    up.process.wait()
    psutil.wait_procs(others, START_S)
    command = ("up", "--data-dir", tmp_path / "data", "--ingest-port", "0", "--embed-port", "0", "--query-port", "0")
    try:
        done = cli(*command)
    finally:
        left.kill()
        psutil.wait_procs([left], START_S)
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if line][-1]
    assert "embed cannot start" in last
    assert "data/embed is in use by another process; stop that one" in last
    assert "port" not in last
    assert started(tmp_path / "data").stop() == 0


def test_without_a_reader_of_its_words_it_goes_on(tmp_path: Path) -> None:
    """Standard output is full, nobody reads standard error; a service that is killed is started again all the same."""
    command = [sys.executable, "-m", "treering_cli", "up", "--data-dir", tmp_path / "data"]
    command += [word for name in ("ingest", "embed", "query") for word in (f"--{name}-port", "0")]
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as full, subprocess.Popen(command, stdout=full, stderr=writing, env=environment()) as process:
        os.close(writing)
        sent = ("send", "-", "--service", "kept", "--wait", "--wait-timeout", "20", "--retry-for", "1", "--data-dir", tmp_path / "data")
        try:
            _until(process, lambda: cli(*sent, given="line one").returncode == 0)
            killed = [each for each in psutil.Process(process.pid).children() if "treering_query" in each.cmdline()]
            for each in killed:
                each.kill()
            assert len(killed) == 1
            psutil.wait_procs(killed, START_S)
            _until(process, lambda: cli(*sent, given="line two").returncode == 0)
            process.terminate()
            assert process.wait(START_S) == 0
        finally:
            if process.poll() is None:
                supervisor = psutil.Process(process.pid)
                for each in [*supervisor.children(recursive=True), supervisor]:
                    each.kill()


def _until(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    """Asks until it is so, which takes a command each time; the test has a limit."""
    while not done():
        assert process.poll() is None
