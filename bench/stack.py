"""Treering as a user starts it: `treering up` on a directory and free ports, driven through its public interfaces only."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from treering import Client
from treering.channels import Endpoints

TREERING = Path(sys.executable).with_name("treering")
"""The command, from the environment that runs the benchmark."""


@dataclass(frozen=True)
class Stack:
    """Three running services and where they answer."""

    data_dir: Path
    endpoints: Endpoints

    def client(self, timeout: float = 60) -> Client:
        """A new client of this stack."""
        return Client(self.endpoints, timeout=timeout)

    def command(self, *arguments: str) -> str:
        """Runs one `treering` command against this stack and returns what it printed; raises when it fails."""
        line = [str(TREERING), *arguments, "--data-dir", str(self.data_dir)]
        return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def running(data_dir: Path, settings: dict[str, str] | None = None) -> Iterator[Stack]:
    """Starts the services, waits until all serve, and stops them at the end."""
    ports = ("--ingest-port", "0", "--embed-port", "0", "--query-port", "0")
    line = [str(TREERING), "up", "--data-dir", str(data_dir), *ports]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | (settings or {})
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Stack(data_dir, Endpoints(ingest=ready["ingest"], embed=ready["embed"], query=ready["query"]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def conditions() -> dict[str, object]:
    """What a figure was measured on."""
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown")
    return {"cores": os.cpu_count(), "processor": model, "python": sys.version.split()[0], "load_before": round(os.getloadavg()[0], 2)}


def _cpuinfo() -> Sequence[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
