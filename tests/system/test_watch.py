"""`treering watch` beside real services: what is new is announced, also over a kill of query."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import psutil
import pytest

from tests.system.conftest import Up
from treering import Client
from treering.channels import Endpoints

from .conftest import COMMAND_S, environment

pytestmark = pytest.mark.system


class Watching:
    """A running `treering watch --json` and what it has said."""

    def __init__(self, up: Up) -> None:
        command = [sys.executable, "-m", "treering_cli", "watch", "--json"]
        settings = environment(TREERING_DATA_DIR=str(up.data_dir))
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)
        self.lines = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def announced(self, text: str) -> Any:
        """The announcement of a pattern; others before it are left aside."""
        while True:
            found = self.lines.get(timeout=COMMAND_S)
            if found["pattern"] == text:
                return found

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def watching(up: Up) -> Iterator[Watching]:
    started = Watching(up)
    yield started
    started.end()


def send(up: Up, text: str) -> None:
    assert up.json("send", "-", "--service", "watched", "--wait", given=text + "\n")["accepted"] == 1


def test_a_sentence_never_seen_before_is_announced(up: Up, watching: Watching) -> None:
    send(up, "a sentence never seen before by anyone")
    found = watching.announced("a sentence never seen before by anyone")
    assert (found["service"], found["record"]["message"]) == ("watched", "a sentence never seen before by anyone")
    assert found["resume_from"][0]["offset"] == found["record"]["offset"] + 1


def test_a_kill_of_query_loses_no_announcement(up: Up, watching: Watching) -> None:
    send(up, "announced before the kill")
    watching.announced("announced before the kill")
    killed = up.service("query")
    killed.kill()
    psutil.wait_procs([killed])
    send(up, "sent while query was gone")
    send(up, "sent after query was back")
    watching.announced("sent while query was gone")
    watching.announced("sent after query was back")


def test_what_came_while_the_client_was_away_is_announced_on_resume(up: Up) -> None:
    with Client(Endpoints(query=up.ready["query"])) as client:
        began = next(client.watch_patterns(timeout=COMMAND_S))
        send(up, "nobody was watching this one")
        for response in client.watch_patterns(start=tuple(began.resume_from), timeout=COMMAND_S):
            if response.pattern.text == "nobody was watching this one":
                break
        assert response.first_record.record.service == "watched"
