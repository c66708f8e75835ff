"""kill -9 of each service while a send starts, runs and ends: the send ends well, and SQL counts each line once."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.conftest import Up
from treering import Client, Endpoints

from .conftest import COMMAND_S, environment

pytestmark = pytest.mark.system

LINES = 5_000
VICTIMS = ("ingest", "embed", "query")


def lines(service: str, first: int, end: int) -> Iterator[str]:
    for number in range(first, end):
        message = f"request {number} of the load took {number % 97} ms"
        yield json.dumps({"service": service, "message": message, "number": str(number)}) + "\n"


@contextlib.contextmanager
def sending(up: Up) -> Iterator[Any]:
    """A `send --wait` of what is written into it."""
    command = [sys.executable, "-m", "treering_cli", "send", "-", "--format", "jsonl", "--wait"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment(TREERING_DATA_DIR=str(up.data_dir)), **pipes) as send:
        yield send


def check(up: Up, send: Any, service: str) -> None:
    """The send ends with exit code 0, and each line is there once."""
    out, errors = send.communicate(timeout=COMMAND_S)
    assert send.returncode == 0, errors
    said = json.loads(out)
    assert (said["stored"], said["rejected"], said["pending"], said["visible"]) == (LINES, 0, 0, True)
    distinct = "count(*) n, count(distinct attributes['number']) d, count(distinct \"offset\") o"
    assert up.sql(f"select {distinct} from logs where service = '{service}'") == [{"n": LINES, "d": LINES, "o": LINES}]


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_while_a_send_starts(up: Up, victim: str) -> None:
    service = f"starts-{victim}"
    killed = up.service(victim)
    killed.kill()
    with sending(up) as send:
        send.stdin.writelines(lines(service, 0, LINES))
        check(up, send, service)
    assert up.service(victim).pid != killed.pid


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_while_a_send_runs(up: Up, victim: str) -> None:
    service = f"runs-{victim}"
    with sending(up) as send:
        send.stdin.writelines(lines(service, 0, LINES // 2))
        send.stdin.flush()
        while up.sql(f"select count(*) n from logs where service = '{service}'") == [{"n": 0}]:
            assert send.poll() is None
        killed = up.service(victim)
        killed.kill()
        send.stdin.writelines(lines(service, LINES // 2, LINES))
        check(up, send, service)
    assert up.service(victim).pid != killed.pid


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_while_a_send_ends(up: Up, victim: str) -> None:
    service = f"ends-{victim}"
    with sending(up) as send, Client(Endpoints(ingest=up.ready["ingest"])) as client:
        before = client.get_ingest_status().end_offset_exclusive
        send.stdin.writelines(lines(service, 0, LINES))
        stopped = up.service(victim)
        stopped.suspend()  # the send cannot come to its end without it
        send.stdin.close()
        send.stdin = None
        if victim != "ingest":
            while client.get_ingest_status().end_offset_exclusive < before + LINES:
                assert send.poll() is None
        assert send.poll() is None
        stopped.kill()
        check(up, send, service)
    assert up.service(victim).pid != stopped.pid


def test_kill_9_of_query_just_after_a_send_hides_nothing(up: Up) -> None:
    for turn in range(3):
        service = f"after-{turn}"
        with sending(up) as send:
            send.stdin.writelines(lines(service, 0, LINES))
            send.stdin.close()
            send.stdin = None
            assert send.wait(COMMAND_S) == 0
        up.service("query").kill()
        question = ("sql", f"select count(*) n from logs where service = '{service}'", "--format", "json")
        while (answer := up.run(*question)).returncode:
            assert "nobody answers" in answer.stderr
        assert json.loads(answer.stdout) == [{"n": LINES}]
