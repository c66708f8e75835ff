import errno
import json
import os
import subprocess
import sys

import pytest
from google.protobuf.message import EncodeError

from treering_runtime import limits
from treering_runtime.scarcity import exhausted

SAMPLE = """
import asyncio, os, resource, socket, sys
from types import SimpleNamespace
from treering_runtime.server import run
async def main():
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
sys.exit(run(SimpleNamespace(service="sample", log_level="info", stop_with_stdin=False), main))
"""


def sample(soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    # A shell sets them, as whoever starts services does: a fork of this process would have the threads of gRPC in it.
    limited = f'ulimit -S -n {soft} && ulimit -H -n {hard} && exec "$@"'
    return subprocess.run(["sh", "-c", limited, "sh", sys.executable, "-c", SAMPLE], capture_output=True, text=True, check=False)


def test_a_service_takes_as_many_descriptors_as_the_system_lets_it() -> None:
    done = sample(100, 200)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr


def test_a_service_with_too_few_descriptors_says_how_many_it_needs() -> None:
    done = sample(40, 40)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (
        1,
        f"treering sample: this process may open 40 files, it needs {limits.MIN_OPEN_FILES} at least; raise the limit: ulimit -n",
    )


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "open_files"),
        (OSError(errno.ENFILE, "Too many open files in system"), "open_files"),
        (MemoryError(), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (EncodeError("Failed to serialize proto"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
    ],
)
def test_a_lack_of_the_system_is_an_overload_with_a_remedy(error: OSError | MemoryError | RuntimeError | EncodeError, limit: str) -> None:
    told = exhausted(error)
    assert (told.metadata, told.retry_after_s) == ({"limit": limit}, 5.0)
    assert "more memory" in told.message or f"may have {os.sysconf('SC_OPEN_MAX')} open" in told.message


def test_another_error_is_no_lack() -> None:
    assert exhausted(OSError(errno.EIO, "Input/output error")) is None
    assert exhausted(json.JSONDecodeError("x", "", 0)) is None


LACKING = """
import re, resource
from pathlib import Path
from treering.v1.sink_pb2 import DeliverLogsRequest
from treering_ingest.admission import check_batch
from treering_runtime.errors import ServiceError
from treering_runtime.scarcity import exhausted
records = bytes.fromhex("1a032a0178") * 50_000
batch = bytes.fromhex("1a90a10f") + records
large = DeliverLogsRequest(frames=[{"payload": b"x" * 30_000_000}])
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 300_000, -1))
try:
    check_batch(batch)
except ServiceError as error:
    print(error.metadata)
try:
    large.SerializeToString()
except Exception as error:
    print(exhausted(error).metadata)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit of memory is not kept")
def test_what_protobuf_says_without_memory_is_a_lack_of_memory() -> None:
    """A batch that cannot be unfolded now is not one that never can be: its sender is told to come back."""
    done = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["{'limit': 'memory'}"] * 2), done.stderr
