"""Single processes under measurement: started, looked at, stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from treering.inner import SOCKET, socket_address

_BENCH = Path(__file__).parent
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Ingest:
    """A running ingest."""

    address: str
    metrics: str
    process: psutil.Process

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        return float(self.process.memory_info().rss) / _MIB

    def metric(self, name: str) -> float:
        """The value of an unlabelled metric."""
        return scrape(self.metrics)[name]


@contextmanager
def ingest_running(data_dir: Path, sinks: str = "", **settings: str) -> Iterator[Ingest]:
    """Ingest alone, on a free port, with the given sinks; `settings` by their names, for example `linger_ms="0"`."""
    own = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "sinks": sinks, **settings}
    environment = {f"TREERING_INGEST_{name.upper()}": value for name, value in own.items()}
    with _child([sys.executable, "-m", "treering_ingest"], environment) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        yield Ingest(line["address"], line["metrics"], psutil.Process(process.pid))


@contextmanager
def bare_server_running(directory: Path) -> Iterator[str]:
    """The bare gRPC server of `floors`; gives its address."""
    with _child([sys.executable, str(_BENCH / "floors.py"), str(directory)], {}) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextmanager
def idle_streams_open(address: str, count: int) -> Iterator[None]:
    """So many open uploads, from a process of their own."""
    with _child([sys.executable, str(_BENCH / "idle_streams.py"), address, str(count)], {}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield


def inner_of(data_dir: Path) -> str:
    """Where the inner plane of the service on a directory is."""
    return socket_address(data_dir / SOCKET)


@contextmanager
def query_running(data_dir: Path, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """The query service alone, on a free port; gives its address and its process."""
    own = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", **settings}
    environment = {f"TREERING_QUERY_{name.upper()}": value for name, value in own.items()}
    with _child([sys.executable, "-m", "treering_query"], environment) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"], psutil.Process(process.pid)


@contextmanager
def embed_running(data_dir: Path, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """The embed service alone, on a free port, once it answers searches; gives its address and its process."""
    own = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", **settings}
    environment = {f"TREERING_EMBED_{name.upper()}": value for name, value in own.items()}
    with _child([sys.executable, "-m", "treering_embed"], environment | {"HF_HUB_OFFLINE": "1"}) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        _until_serving(address, "treering.v1.EmbedService")
        yield address, psutil.Process(process.pid)


def _until_serving(address: str, service: str) -> None:
    with grpc.insecure_channel(address) as channel:
        for health in HealthStub(channel).Watch(HealthCheckRequest(service=service), timeout=600):
            if health.status == HealthCheckResponse.SERVING:
                return


@contextmanager
def stopped_sink(data_dir: Path) -> Iterator[str]:
    """A query service that was stopped in the middle of its work (SIGSTOP); gives the address of its inner plane."""
    own = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
    environment = {f"TREERING_QUERY_{name.upper()}": value for name, value in own.items()}
    with _child([sys.executable, "-m", "treering_query"], environment) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["inner"]
        process.send_signal(signal.SIGSTOP)
        try:
            yield address
        finally:
            process.send_signal(signal.SIGCONT)


class PeakMemory(threading.Thread):
    """Looks at a process ten times a second; `peak_mib` is the largest resident memory seen until `stop`."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._process = process
        self._end = threading.Event()

    def run(self) -> None:
        """Samples."""
        while not self._end.wait(0.1):
            self.peak_mib = max(self.peak_mib, self._process.memory_info().rss / _MIB)

    def stop(self) -> float:
        """Ends and returns the peak."""
        self._end.set()
        self.join()
        return self.peak_mib


@contextmanager
def _child(line: list[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def scrape(metrics: str) -> dict[str, float]:
    """Every metric of a service, by name and labels as Prometheus writes them."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


COMPUTES = "while True: pass"
"""A program that wants a core all the time."""

READS_AND_WRITES = """
import os, sys
block, file = os.urandom(1 << 20), open(sys.argv[1], "w+b", buffering=0)
while True:
    for _ in range(64): file.write(block)
    os.fdatasync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    while file.read(1 << 20): pass
    file.seek(0)
"""
"""A program that writes 64 MiB to the disk and reads them back from there, again and again."""


@contextmanager
def strangers(program: str, count: int, directory: Path) -> Iterator[None]:
    """Runs so many processes of a program that has nothing to do with us.

    Each has a session of its own. Linux divides the cores among sessions where it groups tasks by them, so this is the harder case: all
    of them in one session would get as much as our services together.
    """
    lines = [[sys.executable, "-c", program, str(directory / f"stranger-{number}")] for number in range(count)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        started += (subprocess.Popen(line, start_new_session=True) for line in lines)
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
