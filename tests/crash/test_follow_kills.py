"""`treering follow` and ingest are killed at random while a file grows and rotates: each line is stored once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.growing_log import GrowingLog
from tests.crash.services import free_ports
from tests.readable import is_readable
from treering_ingest.commands.wal import answers

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("TREERING_FOLLOW_KILLS", "20"))
"""How many kills; `TREERING_FOLLOW_KILLS=200` is the long form."""

SEED = int(os.environ.get("TREERING_FOLLOW_SEED", "71"))
PATIENCE_S = 120


class Processes:
    """One ingest and one follower, started as often as they are killed."""

    def __init__(self, directory: Path, log: Path) -> None:
        self._directory = directory
        (port,) = free_ports(1)
        self._address = f"127.0.0.1:{port}"
        self._log = log
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("TREERING_")}
        self.ingest = self.follow = None

    def start_ingest(self) -> None:
        settings = {"DATA_DIR": self.data, "LISTEN": self._address, "METRICS_LISTEN": "127.0.0.1:0", "SINKS": "", "DISK_RESERVE_BYTES": "0"}
        variables = {f"TREERING_INGEST_{name}": str(value) for name, value in settings.items()}
        with (self._directory / "ingest.err").open("ab") as errors:
            self.ingest = subprocess.Popen(
                [sys.executable, "-m", "treering_ingest"], env=self._environment | variables, stdout=subprocess.PIPE, stderr=errors
            )

    def start_follow(self) -> None:
        command = ["follow", str(self._log), "--ingest", self._address, "--state-dir", str(self._directory / "state")]
        with (self._directory / "follow.err").open("ab") as errors:
            self.follow = subprocess.Popen(
                [sys.executable, "-m", "treering_cli", *command], env=self._environment, stdout=subprocess.PIPE, stderr=errors
            )

    @property
    def data(self) -> Path:
        return self._directory / "data"

    def serve(self) -> None:
        assert is_readable(self.ingest.stdout, PATIENCE_S)
        assert json.loads(self.ingest.stdout.readline())["address"] == self._address

    def kill(self, process: None) -> None:
        process.kill()
        process.wait()
        process.stdout.close()

    def words(self) -> str:
        return (self._directory / "follow.err").read_text()

    def stop(self) -> tuple[Any, Any]:
        self.follow.send_signal(signal.SIGTERM)
        answer, _ = self.follow.communicate(timeout=PATIENCE_S)
        return self.follow.returncode, json.loads(answer)

    def end(self) -> None:
        for process in (self.follow, self.ingest):
            if process and process.poll() is None:
                self.kill(process)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    (tmp_path / "logs").mkdir()
    made = Processes(tmp_path, tmp_path / "logs" / "app.log")
    yield made
    made.end()


def stored(processes: Processes) -> list[Any]:
    return [each["message"] for each in answers(["cat", "--from=0", "--limit=0", "--", str(processes.data / "wal")]) if "message" in each]


def wait_for(processes: Processes, count: int) -> list[Any]:
    """Until so many records are stored, or nothing has come for a long time."""
    end = time.monotonic() + PATIENCE_S
    while len(messages := stored(processes)) < count and time.monotonic() < end:
        threading.Event().wait(0.2)
    return messages


@pytest.mark.time_limit(60 + 30 * KILLS)
def test_each_line_is_stored_once(processes: Processes) -> None:
    rng = random.Random(SEED)
    log = GrowingLog(processes._log, rng)
    processes.start_ingest()
    processes.serve()
    log.grow()
    processes.start_follow()
    wait_for(processes, 1)  # what is rotated away before it has begun, nobody asked for
    for _ in range(KILLS):
        end = time.monotonic() + rng.random() * 2
        while time.monotonic() < end:
            log.grow()
            if rng.random() < 0.3:
                log.rotate()
            threading.Event().wait(rng.random() * 0.2)  # the moment is the point, not the time
        victims = rng.choice(("follow", "ingest", "both"))
        if victims != "ingest":
            processes.kill(processes.follow)
        if victims != "follow":
            processes.kill(processes.ingest)
            processes.start_ingest()
        if victims != "ingest":
            processes.start_follow()
    log.grow()
    messages = wait_for(processes, len(log.written))
    code, answer = processes.stop()
    assert code == 0, answer
    missing, twice = Counter(log.written) - Counter(messages), Counter(stored(processes)) - Counter(log.written)
    assert (missing, twice) == (Counter(), Counter()), processes.words()[-2000:]
    assert answer["uncertain"] == 0
    assert log.rotations > KILLS / 4
