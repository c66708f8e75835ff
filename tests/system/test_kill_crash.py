"""kill -9 of each service in the middle of a send: the send ends well, and SQL counts each line once."""

import json
import subprocess
import sys

import pytest

from .conftest import COMMAND_S, environment

pytestmark = pytest.mark.system

LINES = 5_000


def line(service, number):
    return json.dumps({"service": service, "message": f"request {number} of the load took {number % 97} ms", "number": str(number)}) + "\n"


@pytest.mark.parametrize("victim", ["ingest", "embed", "query"])
def test_each_line_is_counted_once_after_kill_9(up, victim):
    service = f"survives-{victim}"
    before = up.json("status", "--json")
    command = [sys.executable, "-m", "treering.cli", "send", "-", "--format", "jsonl", "--wait"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment(TREERING_DATA_DIR=str(up.data_dir)), **pipes) as send:
        send.stdin.writelines(line(service, number) for number in range(LINES // 2))
        send.stdin.flush()
        while up.sql(f"select count(*) n from logs where service = '{service}'") == [{"n": 0}]:
            assert send.poll() is None
        killed = up.service(victim)
        killed.kill()
        send.stdin.writelines(line(service, number) for number in range(LINES // 2, LINES))
        out, errors = send.communicate(timeout=COMMAND_S)
    assert send.returncode == 0, errors
    said = json.loads(out)
    assert said["accepted"] + said["duplicate"] == LINES
    assert said["rejected"] == 0
    counted = (
        f"select count(*) n, count(distinct attributes['number']) d, count(distinct \"offset\") o from logs where service = '{service}'"
    )
    assert up.sql(counted) == [{"n": LINES, "d": LINES, "o": LINES}]
    assert up.service(victim).pid != killed.pid
    assert before


def test_a_send_that_begins_while_ingest_is_started_again_ends_well(up):
    up.service("ingest").kill()
    said = up.json("send", "-", "--format", "jsonl", "--wait", given=line("patient", 1))
    assert (said["accepted"], said["rejected"]) == (1, 0)
    assert up.sql("select count(*) n from logs where service = 'patient'") == [{"n": 1}]
