"""Real processes below `treering up`, and kill -9."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.crash.plan import FLEETING, SERVICES
from tests.readable import is_readable
from treering import Client, Endpoints
from treering.inner import SOCKET, socket_address

START_S = 180
"""How long a start may take before it counts as hung, seconds."""

_POLL_S = 0.02

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TREERING_INGEST_SEGMENT_BYTES": "262144",
    "TREERING_INGEST_RETAIN_MIN_SECONDS": "0",
    "TREERING_INGEST_RETAIN_MIN_BYTES": "0",
    "TREERING_QUERY_HOT_MAX_ROWS": "1000",
    "TREERING_QUERY_HOT_MAX_AGE_S": "2",
    "TREERING_QUERY_UPKEEP_INTERVAL_S": "1",
    "TREERING_QUERY_RETENTION_SERVICE_AGE_S": json.dumps({FLEETING: 2}),
}
"""Small segments everywhere, seals and retention of seconds, so that kills fall into rotations, seals, merges and deletions too."""


class Services:
    """`treering up` on a data directory, on the same ports for good. Starts at once; `kill` and `start` as often as wanted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ports = free_ports(len(SERVICES))
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoints = Endpoints(*(f"127.0.0.1:{port}" for port in self._ports))
        self.start()

    def inner(self, name: str) -> str:
        """Where the inner plane of a service is."""
        return socket_address(self._data_dir / name / SOCKET)

    def client(self) -> Client:
        """A connection to all three."""
        return Client(self.endpoints, timeout=60)

    def start(self) -> None:
        """Starts everything and waits until it serves.

        Raises:
            RuntimeError: It does not start; the message has its last words.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "treering_cli", "up", "--data-dir", str(self._data_dir), "--max-restart-delay", "0.1"]
        for name, port in zip(SERVICES, self._ports, strict=True):
            command += [f"--{name}-port", str(port)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TREERING_")} | SETTINGS
        errors = self._data_dir / "up.stderr"
        with errors.open("ab") as stderr:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
        line = self._process.stdout.readline() if is_readable(self._process.stdout, START_S) else b""
        if not line or not json.loads(line).get("ready"):
            raise RuntimeError(f"`treering up` did not become ready: {errors.read_text()[-2_000:]}")

    def kill(self, name: str) -> int:
        """Kills one service with SIGKILL, waiting until there is one; returns the process id that it had."""
        victim = self._service(name)
        victim.kill()
        return victim.pid

    def kill_all(self) -> None:
        """Kills the services and their supervisor at one moment: it is stopped before, so that it can neither drain nor restart them."""
        supervisor = psutil.Process(self._process.pid)
        supervisor.suspend()
        family = [*supervisor.children(recursive=True), supervisor]
        for member in family:
            member.kill()
        self._process.wait()
        self._process.stdout.close()
        psutil.wait_procs(family, START_S)

    def close(self) -> int:
        """Stops everything as a person would; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(START_S)
        self._process.stdout.close()
        return code

    def treering(self, *words: str) -> tuple[int, str]:
        """Runs the command line as a person would; exit code and what it printed."""
        command = [sys.executable, "-m", "treering_cli", *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=START_S, env=os.environ | SETTINGS, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    def await_restart(self, name: str, old: int) -> None:
        """Returns once a new process runs in the place of a killed one."""
        while self._service(name).pid == old:
            time.sleep(_POLL_S)

    def _service(self, name: str) -> psutil.Process:
        module = f"treering_{name}"
        while self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children():
                if _is_running(child, module):
                    return child
            time.sleep(_POLL_S)
        raise RuntimeError(f"`treering up` ended with {self._process.returncode}")


def _is_running(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
