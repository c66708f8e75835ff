"""Real processes, the real model, real engines; what a person would type, and nothing else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.readable import is_readable

ROOT = Path(__file__).resolve().parents[2]
SHOP_RECORDS = 20_000
START_S = 300
"""How long a start may take before the test is called hung; it says nothing about speed, as in `tests.patience`."""
COMMAND_S = 400
"""The same for one command."""


def environment(**extra: str) -> dict[str, str]:
    """The environment without anything that would steer Treering elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TREERING_")}
    return kept | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "160"} | extra


def cli(*arguments: str | Path, given: str | bytes = b"", **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs one `treering` command to its end."""
    command = [sys.executable, "-m", "treering_cli", *map(str, arguments)]
    raw = given if isinstance(given, bytes) else given.encode()
    done = subprocess.run(command, input=raw, capture_output=True, env=environment(**extra), timeout=COMMAND_S, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Up:
    """A running `treering up`."""

    process: subprocess.Popen[str]
    data_dir: Path
    errors: Path
    ready: dict[str, Any]

    def run(self, *arguments: str | Path, given: str | bytes = b"") -> subprocess.CompletedProcess[str]:
        """A command against this instance."""
        return cli(*arguments, given=given, TREERING_DATA_DIR=str(self.data_dir))

    def json(self, *arguments: str | Path, given: str | bytes = b"") -> Any:
        """What a command that must succeed printed."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, f"{done.args}: {done.stderr}"
        return json.loads(done.stdout)

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        rows: list[dict[str, Any]] = self.json("sql", query, "--format", "json")
        return rows

    def service(self, name: str) -> psutil.Process:
        """The process of one of the three services."""
        module = f"treering_{name}"
        [found] = [child for child in psutil.Process(self.process.pid).children() if module in child.cmdline()]
        return found

    def stop(self) -> int:
        """Stops it as a supervisor would, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(START_S)
        self.process.stdout.close()
        return code

    def restart(self) -> None:
        """Stops it and starts it again on the same data; addresses change."""
        assert self.stop() == 0
        again = start_up(self.data_dir)
        self.process, self.ready = again.process, again.ready

    def kill(self) -> None:
        """Makes sure that nothing is left, whatever the test did."""
        if self.process.poll() is None:
            supervisor = psutil.Process(self.process.pid)
            supervisor.suspend()  # or a service that outlives it by a moment would stop in order
            for member in [*supervisor.children(recursive=True), supervisor]:
                member.kill()
        self.process.wait()
        self.process.stdout.close()


def start_up(data_dir: Path, **settings: str) -> Up:
    """Starts `treering up` on free ports, its services with these settings, and waits for its ready line."""
    errors = data_dir.with_suffix(".stderr")
    command = [sys.executable, "-m", "treering_cli", "up", "--data-dir", str(data_dir)]
    command += [word for name in ("ingest", "embed", "query") for word in (f"--{name}-port", "0")]
    with errors.open("a") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment(**settings))
    up = Up(process, data_dir, errors, {})
    line = process.stdout.readline() if is_readable(process.stdout, START_S) else ""
    if not line:
        up.kill()
        pytest.fail(f"`treering up` did not become ready: {errors.read_text()[-3_000:]}")
    up.ready = json.loads(line)
    return up


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small day of the shop, incident and every kind of line included."""
    file = tmp_path_factory.mktemp("shop") / "shop.jsonl"
    with file.open("w") as out:
        subprocess.run([sys.executable, ROOT / "demo/shop.py", "--records", str(SHOP_RECORDS)], stdout=out, check=True)
    return file


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An instance that tests share and leave running: its first start prepares the model, which takes the longest."""
    started = start_up(tmp_path_factory.mktemp("up") / "data")
    yield started
    started.kill()


@pytest.fixture(scope="session")
def shop(up: Up, shop_file: Path) -> dict[str, int]:
    """The shop's day, sent and visible; what `send` said."""
    said: dict[str, int] = up.json("send", shop_file, "--wait")
    return said
