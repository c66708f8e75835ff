"""Real processes: start, stop, kill, a failing disk."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.ingest.conftest import RequestOf
from tests.patience import PATIENCE_S
from treering.v1.ingest_pb2 import GetIngestStatusRequest, StreamLogsRequest, UploadLogsRequest
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering_ingest.limits import PRODUCER_HISTORY_BATCHES
from treering_ingest.wal.inspect import cat, verify

FAILING_SYNC = """
import sys, os
from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_ingest.wal import filesystem
from treering_runtime.service import main

def sync(descriptor, left=[int(sys.argv[1])]):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(5, "Input/output error")
    os.fsync(descriptor)

filesystem.fdatasync = sync
sys.exit(main(IngestSettings, IngestProcess))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., AbstractContextManager[subprocess.Popen[str]]]]:
    processes = []

    @contextmanager
    def run(*command: str, data: str = "data", **environment: str) -> Iterator[subprocess.Popen[str]]:
        settings = {"DATA_DIR": str(tmp_path / data), "LISTEN": "127.0.0.1:0", "METRICS_LISTEN": "127.0.0.1:0", "SINKS": ""}
        settings |= {"DISK_RESERVE_BYTES": "0", "DRAIN_SECONDS": "5", **environment}
        variables = {f"TREERING_INGEST_{name}": value for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "treering_ingest"))],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        line = process.stdout.readline()
        process.address = json.loads(line)["address"] if line else None
        with process:
            yield process

    yield run
    for process in processes:
        process.kill()
        process.wait()


def batches(request_of: Callable[..., UploadLogsRequest], first: int, last: int) -> Iterator[StreamLogsRequest]:
    for sequence in range(first, last + 1):
        request = request_of(*[f"{sequence}/{number}" for number in range(10)], producer_id="me", sequence=sequence)
        yield StreamLogsRequest.FromString(request.SerializeToString())


class Window:
    """Batches of which at most as many are without an acknowledgement as the log can recognise again."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._room = threading.Semaphore(PRODUCER_HISTORY_BATCHES)
        self._broken = False

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self._room.acquire()
            if self._broken:
                return
            yield batch

    def acknowledged(self, count: int) -> None:
        self._room.release(count)

    def end(self) -> None:
        self._broken = True
        self._room.release()


def test_it_says_where_it_serves_and_stops_cleanly(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]], tmp_path: Path
) -> None:
    with start() as process:
        with grpc.insecure_channel(process.address) as channel:
            assert IngestServiceStub(channel).GetIngestStatus(GetIngestStatusRequest(), timeout=PATIENCE_S).log_id
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        events = [json.loads(line)["event"] for line in process.stderr]
    assert "serving" in events
    assert verify(tmp_path / "data" / "wal").problems == ()


def test_a_second_process_on_the_directory_is_refused(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]],
) -> None:
    with start() as first:
        with start() as second:
            assert second.wait(PATIENCE_S) == 4
            assert "is in use by another process" in second.stderr.read()
        first.send_signal(signal.SIGTERM)
        assert first.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SINKS", "query", "write for example query=unix:/run/treering/query/s"),
        ("SEGMENT_BYTES", "7", "SEGMENT_BYTES"),
        ("LISTEN", "x", "LISTEN"),
    ],
)
def test_a_wrong_setting_is_named(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]], name: str, value: str, problem: str
) -> None:
    with start(**{name: value}) as process:
        assert process.wait(PATIENCE_S) == 1
        told = process.stderr.read()
    assert problem in told
    assert "Traceback" not in told


def test_a_damaged_log_is_refused_with_file_and_remedy(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]], tmp_path: Path, request_of: RequestOf
) -> None:
    with start() as process:
        with grpc.insecure_channel(process.address) as channel:
            list(IngestServiceStub(channel).StreamLogs(batches(request_of, 1, 5)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    (segment,) = (tmp_path / "data" / "wal").glob("*.wal")
    content = bytearray(segment.read_bytes())
    content[300] ^= 1
    segment.write_bytes(content)
    with start() as process:
        assert process.wait(PATIENCE_S) == 1
        told = process.stderr.read()
    assert segment.name in told
    assert "move the log's directory away" in told
    assert "Traceback" not in told


def test_killed_while_sending_nothing_acknowledged_is_lost_and_nothing_is_stored_twice(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]], tmp_path: Path, request_of: RequestOf
) -> None:
    """The sender resumes after its last acknowledged batch, as a shipper does."""
    acknowledged, last = 0, 400
    for kill_after in (40, 90, 150, None):
        with start(SEGMENT_BYTES="20000") as process:
            with grpc.insecure_channel(process.address) as channel:
                window = Window(batches(request_of, acknowledged + 1, last))
                try:
                    for answer in IngestServiceStub(channel).StreamLogs(iter(window)):
                        window.acknowledged(answer.last_durable_sequence - acknowledged)
                        acknowledged = answer.last_durable_sequence
                        if kill_after and acknowledged >= kill_after:
                            process.kill()
                except grpc.RpcError:
                    assert kill_after
                finally:
                    window.end()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        stored = [frame.sequence for frame in cat(tmp_path / "data" / "wal")]
        assert stored == list(range(1, len(stored) + 1))
        assert len(stored) >= acknowledged
    assert (acknowledged, len(stored)) == (last, last)
    assert verify(tmp_path / "data" / "wal").is_sound


def test_a_failed_fsync_ends_the_process_and_the_next_one_has_what_was_acknowledged(
    start: Callable[..., AbstractContextManager[subprocess.Popen[str], bool | None]], tmp_path: Path, request_of: RequestOf
) -> None:
    with start("-c", FAILING_SYNC, "12") as process:
        with grpc.insecure_channel(process.address) as channel:
            call = IngestServiceStub(channel).StreamLogs(batches(request_of, 1, 100_000))
            answers = []
            with pytest.raises(grpc.RpcError) as caught:
                answers.extend(call)
            acknowledged = answers[-1].last_durable_sequence
        info = error_details_pb2.ErrorInfo()
        assert rpc_status.from_call(caught.value).details[0].Unpack(info)
        assert info.reason == "LOG_FAILED"
        assert int(info.metadata["last_durable_sequence"]) == acknowledged
        assert process.wait(PATIENCE_S) == 1
        told = process.stderr.read()
    assert "Input/output error" in told
    assert "Traceback" not in told
    with start() as process, grpc.insecure_channel(process.address) as channel:
        status = IngestServiceStub(channel).GetIngestStatus(GetIngestStatusRequest(), timeout=PATIENCE_S)
        assert status.end_offset_exclusive >= acknowledged * 10
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
