"""The real service with a disk that fails, fills up or may not be used: faults that the operating system makes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.patience import PATIENCE_S
from tests.privileges import needs_root, needs_strace
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import GetIngestStatusRequest, StreamLogsRequest, StreamLogsResponse, UploadLogsRequest
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogRecord
from treering_ingest.wal.inspect import cat, verify

OTHER_USER = 65_534
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all")
"""Root without its right to pass over permissions, that is like any other user; the interpreter may be one that only root can start."""


def _env(data: Path, **settings: str) -> dict[Any, Any]:
    settings = {
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "SINKS": "",
        "DISK_RESERVE_BYTES": "0",
        "STOP_WITH_STDIN": "true",
        **settings,
    }
    names = {f"TREERING_INGEST_{name}": value for name, value in settings.items()}
    return {**os.environ, **names, "TREERING_INGEST_DATA_DIR": str(data)}


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Callable[..., AbstractContextManager[subprocess.Popen[Any]]]]:
    """Starts ingest below a command (strace); its standard error goes to a file that `told` reads."""
    started = []

    @contextmanager
    def run(data: Path, *below: str, **settings: str) -> Iterator[subprocess.Popen[Any]]:
        log = tmp_path / f"stderr-{len(started)}"
        with log.open("w") as stderr:
            command = [*below, sys.executable, "-m", "treering_ingest"]
            process = subprocess.Popen(
                command, env=_env(data, **settings), stdout=subprocess.PIPE, stderr=stderr, text=True, stdin=subprocess.PIPE
            )
        started.append(process)
        process.told = log.read_text
        line = process.stdout.readline()
        process.address = json.loads(line)["address"] if line else None
        with process:
            yield process

    yield run
    for process in started:
        process.stdin.close()  # ends ingest below strace, too
        process.wait()


def batch(
    sequence: int, size: int = 10, kind: type[UploadLogsRequest] | type[StreamLogsRequest] = StreamLogsRequest
) -> UploadLogsRequest | StreamLogsRequest:
    records = [LogRecord(message=f"{sequence}/{number} {'x' * size}") for number in range(10)]
    return kind(producer_id="me", sequence=sequence, batch=LogBatch(records=records))


def ended(call: "grpc._CallIterator[StreamLogsResponse]") -> tuple[int, grpc.RpcError] | tuple[int, None]:
    """What a stream acknowledged, and the error that ended it."""
    acknowledged = 0
    try:
        for answer in call:
            acknowledged = answer.last_durable_sequence
    except grpc.RpcError as error:
        return acknowledged, error
    return acknowledged, None


def details(error: grpc.RpcError | None) -> tuple[Any | None, Any | None]:
    found = {}
    for packed in rpc_status.from_call(error).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
            message = kind()
            if packed.Unpack(message):
                found[kind] = message
    return found.get(error_details_pb2.ErrorInfo), found.get(error_details_pb2.RetryInfo)


def stored_sequences(data: Path) -> list[Any]:
    return [frame.sequence for frame in cat(data / "wal")]


def assert_next_start_has(ingest: Any, data: Path, acknowledged: int) -> None:
    """The next start serves, holds all that was acknowledged, and the producer goes on where it was."""
    assert stored_sequences(data)[:acknowledged] == list(range(1, acknowledged + 1))
    with ingest(data) as process:
        with grpc.insecure_channel(process.address) as channel:
            stub = IngestServiceStub(channel)
            end = stub.GetIngestStatus(GetIngestStatusRequest(), timeout=PATIENCE_S).end_offset_exclusive
            assert end % 10 == 0
            assert end >= acknowledged * 10
            following = end // 10 + 1
            answer = stub.UploadLogs(iter([batch(following, kind=UploadLogsRequest)]), timeout=PATIENCE_S)  # type: ignore[list-item]
            assert answer.accepted_count == 10
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert stored_sequences(data) == list(range(1, following + 1))
    assert verify(data / "wal").problems == ()


def failing(call: str, when: int) -> tuple[str, str, str, str, str, str, str, str]:
    """strace counts calls by thread: those of the start are on threads of their own, and fewer than 5."""
    return "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", f"--inject={call}:error=EIO:when={when}+"


class TestFailingSync:
    pytestmark = needs_strace

    @pytest.mark.parametrize(("call", "when"), [("fdatasync", 5), ("fdatasync", 6), ("fdatasync", 17), ("fsync", 6)])
    def test_eio_of_a_sync_ends_every_acknowledgement_with_log_failed(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], tmp_path: Path, call: str, when: int
    ) -> None:
        """`fdatasync` is that of data; `fsync` that of the directory when a segment is begun."""
        data = tmp_path / "data"
        with ingest(data, *failing(call, when), SEGMENT_BYTES="4000") as process:
            assert process.address, process.told()
            with grpc.insecure_channel(process.address) as channel:
                acknowledged, error = ended(IngestServiceStub(channel).StreamLogs(paced(100_000), timeout=PATIENCE_S))
            info, _ = details(error)
            assert info.reason == "LOG_FAILED"
            durable = int(info.metadata["last_durable_sequence"])  # what became durable just before may not have been answered
            assert durable >= acknowledged
            assert durable > 0
            assert process.wait(PATIENCE_S) == 1
        assert "Input/output error" in process.told()
        assert "look at the disk, then start again" in process.told()
        assert "Traceback" not in process.told()
        assert_next_start_has(ingest, data, durable)

    def test_eio_of_the_start_is_refused_with_a_remedy(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], tmp_path: Path
    ) -> None:
        with ingest(tmp_path / "data", *failing("fdatasync", 1)) as process:
            assert process.wait(PATIENCE_S) == 1
        assert "Input/output error" in process.told()
        assert "Traceback" not in process.told()


class TestFullDisk:
    pytestmark = needs_root

    def test_a_disk_that_is_really_full_refuses_goes_on_delivering_and_resumes(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], small_disk: Path
    ) -> None:
        """Without a reserve, so that writes meet the end of the disk itself."""
        data, ballast = small_disk / "data", small_disk / "ballast"
        with ingest(data) as process, grpc.insecure_channel(process.address) as channel:
            stub = IngestServiceStub(channel)
            ballast.write_bytes(bytes(12 << 20))
            acknowledged, error = upload_until_refused(stub)
            info, retry = details(error)
            assert info.reason == "DISK_LOW"
            assert retry.retry_delay.ToTimedelta().total_seconds() > 0
            assert process.poll() is None
            status = stub.GetIngestStatus(GetIngestStatusRequest(), timeout=PATIENCE_S)
            assert status.end_offset_exclusive >= acknowledged * 10 > 0
            ballast.unlink()
            number = resume(stub, acknowledged)
            assert process.told().count("there is room again; what waited is written") == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        assert stored_sequences(data) == list(range(1, number + 1))
        assert verify(data / "wal").problems == ()

    def test_the_reserve_refuses_before_the_disk_is_full_and_opens_again(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], small_disk: Path
    ) -> None:
        data = small_disk / "data"
        with ingest(data, DISK_RESERVE_BYTES=str(8 << 20)) as process, grpc.insecure_channel(process.address) as channel:
            stub = IngestServiceStub(channel)
            acknowledged, error = upload_until_refused(stub)
            info, retry = details(error)
            assert info.reason == "DISK_LOW"
            assert retry.HasField("retry_delay")
            assert int(info.metadata["last_durable_sequence"]) == acknowledged
            room = os.statvfs(small_disk)
            assert room.f_bavail * room.f_frsize > 4 << 20
            assert process.told().count("disk is low: nothing is accepted") == 1
            subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
            number = resume(stub, acknowledged)
            while "disk has space again" not in process.told():
                assert stub.GetIngestStatus(GetIngestStatusRequest(), timeout=PATIENCE_S).end_offset_exclusive == number * 10
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        assert stored_sequences(data) == list(range(1, number + 1))

    def test_a_start_on_a_full_disk_is_refused_with_a_remedy_and_works_when_there_is_room(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], small_disk: Path
    ) -> None:
        data, ballast = small_disk / "data", small_disk / "ballast"
        with ingest(data) as process:
            with grpc.insecure_channel(process.address) as channel:
                acknowledged, _ = ended(IngestServiceStub(channel).StreamLogs(paced(20), timeout=PATIENCE_S))
            process.kill()
        with ballast.open("wb") as file:
            subprocess.run(["dd", "if=/dev/zero", "bs=4k"], stdout=file, stderr=subprocess.DEVNULL, check=False)
        with ingest(data) as process:
            assert process.wait(PATIENCE_S) == 1
        assert "No space left on device" in process.told()
        assert "Traceback" not in process.told()
        ballast.unlink()
        assert_next_start_has(ingest, data, acknowledged)


def paced(last: int) -> Iterator[Any]:
    return (batch(sequence) for sequence in range(1, last + 1))


def upload_until_refused(stub: IngestServiceStub) -> tuple[int, grpc.RpcError]:
    """One batch after the other: the last acknowledged sequence, and the error of the next."""
    for number in range(1, 10_000):
        try:
            stub.UploadLogs(iter([batch(number, 10_000, UploadLogsRequest)]), timeout=PATIENCE_S)  # type: ignore[list-item]
        except grpc.RpcError as error:
            return number - 1, error
    raise AssertionError("the disk never became full")


def resume(stub: IngestServiceStub, acknowledged: int) -> int:
    """Sends the next batch until it is taken, as a shipper does; returns its sequence."""
    number = acknowledged + 1
    while True:
        try:
            answer = stub.UploadLogs(iter([batch(number, 10_000, UploadLogsRequest)]), timeout=PATIENCE_S)  # type: ignore[list-item]
        except grpc.RpcError as error:
            info, _ = details(error)
            assert info.reason == "DISK_LOW"
        else:
            assert answer.accepted_count + answer.duplicate_count == 10
            if answer.accepted_count:
                return number
            number += 1


class TestWrongOwner:
    pytestmark = needs_root

    @pytest.mark.parametrize("what", ["directory", "segments"])
    def test_a_directory_of_somebody_else_is_refused(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], tmp_path: Path, what: str
    ) -> None:
        data = tmp_path / "data"
        with ingest(data) as process:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        for path in [data] if what == "directory" else data.glob("wal/*"):
            os.chown(path, OTHER_USER, OTHER_USER)
        with ingest(data, *WITHOUT_PRIVILEGE) as process:
            assert process.wait(PATIENCE_S) == 1
        assert "Permission denied" in process.told()
        assert "owns it" in process.told()
        assert "Traceback" not in process.told()

    def test_a_file_system_mounted_read_only_is_refused(
        self, ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], small_disk: Path
    ) -> None:
        data = small_disk / "data"
        with ingest(data) as process:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with ingest(data) as process:
            assert process.wait(PATIENCE_S) == 1
        assert "Read-only file system" in process.told()
        assert "Traceback" not in process.told()


@pytest.mark.parametrize("part", ["directory", "manifest"])
def test_a_newer_format_is_refused(
    ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], tmp_path: Path, part: str
) -> None:
    data = tmp_path / "data"
    with ingest(data) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    if part == "directory":
        (data / "FORMAT").write_text(json.dumps({"kind": "treering-ingest", "version": 2}))
    else:
        line = json.dumps({**json.loads((data / "wal" / "MANIFEST").read_bytes().split(b"\n")[0]), "format": 3}).encode()
        (data / "wal" / "MANIFEST").write_bytes(line + b"\n%08x\n" % google_crc32c.value(line))
    with ingest(data) as process:
        assert process.wait(PATIENCE_S) == 1
    assert "use a newer Treering" in process.told()
    assert "Traceback" not in process.told()


@pytest.mark.parametrize("after", [1, 40, 300])
def test_sigterm_in_mid_stream_leaves_every_acknowledgement_true(
    ingest: Callable[..., AbstractContextManager[subprocess.Popen[Any], bool | None]], tmp_path: Path, after: int
) -> None:
    data, acknowledged = tmp_path / "data", 0
    with ingest(data, DRAIN_SECONDS="10") as process:
        with grpc.insecure_channel(process.address) as channel:
            answers = IngestServiceStub(channel).StreamLogs(paced(1_000_000), timeout=PATIENCE_S)
            while acknowledged < after:
                acknowledged = next(answers).last_durable_sequence
            process.send_signal(signal.SIGTERM)
            later, error = ended(answers)
            acknowledged = later or acknowledged
            info, _ = details(error)
        assert process.wait(10 + PATIENCE_S) == 0
    assert info.reason == "DRAINING"
    durable = int(info.metadata["last_durable_sequence"])
    assert durable >= acknowledged
    assert "Traceback" not in process.told()
    assert_next_start_has(ingest, data, durable)
