import errno
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import pytest

from tests.ingest.batches import make_batch
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogRecord
from treering_ingest.durable_log import Batch
from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_ingest.wal import Log, LogConfig, PosixFileSystem, open_log
from treering_ingest.wal.filesystem import File, FileSystem
from treering_runtime.telemetry import new_registry

if TYPE_CHECKING:
    from treering.v1.ingest_pb2_grpc import IngestServiceAsyncStub


class FaultyFile:
    def __init__(self, disk: "FaultyDisk", file: File) -> None:
        self._disk, self._file = disk, file

    def append(self, buffers: Sequence[bytes]) -> None:
        data = b"".join(buffers)
        if self._disk.free_bytes is not None and len(data) > self._disk.free_bytes:
            self._file.append([data[: self._disk.free_bytes]])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.append(buffers)

    def sync(self) -> None:
        self._disk.sync_calls += 1
        if self._disk.fail_syncs:
            raise OSError(errno.EIO, "Input/output error")
        self._file.sync()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FaultyDisk(PosixFileSystem):
    """A disk that can be told to be full, to fail syncs, and that counts them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.free_bytes: int | None = None
        self.fail_syncs = False
        self.sync_calls = 0
        self.open_error: int | None = None

    def create(self, name: str) -> File:
        self._check()
        return FaultyFile(self, super().create(name))

    def open(self, name: str, *, writable: bool = False) -> File:
        self._check()
        return FaultyFile(self, super().open(name, writable=writable))

    def sync_directory(self) -> None:
        self._check()
        super().sync_directory()

    def _check(self) -> None:
        """What opening anything says."""
        if self.open_error:
            raise OSError(self.open_error, os.strerror(self.open_error))


MakeBatch: TypeAlias = Callable[..., Batch]
"""A batch: producer, sequence, number of records, their text, arrival."""
OpenLog: TypeAlias = Callable[..., AbstractContextManager[Log]]
"""Opens the log in tmp_path, or in another directory or file system; its configuration by name."""
Running: TypeAlias = "Callable[..., AbstractAsyncContextManager[tuple[IngestProcess, IngestServiceAsyncStub]]]"
"""A whole ingest with these settings, and a stub for it."""
RequestOf: TypeAlias = Callable[..., UploadLogsRequest]
"""A request with these messages; producer and sequence."""


@pytest.fixture
def batch() -> MakeBatch:
    return make_batch


@pytest.fixture
def faulty_disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path)


@pytest.fixture
def opened(tmp_path: Path) -> OpenLog:
    """Opens the log in tmp_path; `crash=True` leaves it as a kill would."""
    clock = itertools.count(1_000_000_000_000_000_000, 1_000_000_000)

    @contextmanager
    def open_it(*, crash: bool = False, path: Path = tmp_path, files: FileSystem | None = None, **config: int) -> Iterator[Log]:
        log = open_log(files or PosixFileSystem(path), LogConfig(**config), lambda: next(clock))
        yield log
        if not crash:
            log.close()
        elif log._active:
            log._active.file.close()

    return open_it


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """A whole ingest in this process, and a client's stub for it."""

    @asynccontextmanager
    async def run(**changes: str | int) -> "AsyncIterator[tuple[IngestProcess, IngestServiceAsyncStub]]":
        defaults: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "metrics_listen": "127.0.0.1:0",
            "sinks": "",
            "disk_reserve_bytes": 0,
            "drain_seconds": 5,
        }
        settings = IngestSettings(data_dir=tmp_path, **{**defaults, **changes})
        process = IngestProcess(settings, new_registry())
        await process.start()
        try:
            async with grpc.aio.insecure_channel(process.server.address) as channel:
                yield process, IngestServiceStub(channel)
        finally:
            await process.stop(settings.drain_seconds)

    return run


@pytest.fixture
def request_of() -> RequestOf:
    """An UploadLogsRequest."""

    def make(*messages: str, producer_id: str = "", sequence: int = 0) -> UploadLogsRequest:
        batch = LogBatch(records=[LogRecord(message=text) for text in messages])
        return UploadLogsRequest(producer_id=producer_id, sequence=sequence, batch=batch)

    return make
