"""Deliveries that are interrupted while they read: the file is closed after the read, by the thread that read."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.ingest.conftest import MakeBatch
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliverLogsResponse, SinkProgress
from treering.v1.sink_pb2_grpc import SinkServiceServicer, add_SinkServiceServicer_to_server
from treering_ingest.commit_policy import CommitPolicy
from treering_ingest.committer import Committer
from treering_ingest.delivery import Delivery
from treering_ingest.log_reader import LogReader
from treering_ingest.metrics import IngestMetrics
from treering_ingest.wal import LogConfig, PosixFileSystem, open_log
from treering_ingest.wal.filesystem import File
from treering_ingest.wal.log import Log
from treering_runtime.channels import Peer
from treering_runtime.doors import Socket
from treering_runtime.server import Server
from treering_runtime.wakeup import Wakeup

INTERRUPTED = 300
SEGMENT_BYTES = 64 * 1024


class HeldFile:
    """A file whose reads of some length wait until the disk lets them."""

    def __init__(self, disk: "HeldDisk", file: File) -> None:
        self._disk, self._file = disk, file

    def read(self, position: Any, length: Any) -> bytes:
        if length >= self._disk.held_bytes:
            self._disk.entered.set()
            assert self._disk.let.wait(20)
        try:
            return self._file.read(position, length)
        except OSError as error:
            self._disk.errors.append(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class HeldDisk(PosixFileSystem):
    """A disk on which reads take as long as the test wants, and that notes their errors."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.entered, self.let, self.errors = threading.Event(), threading.Event(), []
        self.held_bytes = 1 << 60

    def open(self, name: str, *, writable: bool = False) -> File:
        return HeldFile(self, super().open(name, writable=writable))


@pytest.fixture
def disk(tmp_path: Path) -> HeldDisk:
    return HeldDisk(tmp_path)


@pytest.fixture
def log(disk: HeldDisk, batch: MakeBatch) -> Iterator[Log]:
    """A log of several segments."""
    log = open_log(disk, LogConfig(segment_bytes=SEGMENT_BYTES))
    for _ in range(100):
        log.append([batch(count=100)], log.end_offset)
        log.sync()
    assert len(log.segments) > 2
    yield log
    log.close()


def open_segments() -> int:
    """How many descriptors of this process are of segments."""
    links = [*Path("/proc/self/fd").iterdir()]
    return sum(".wal" in str(link.readlink()) for link in links if link.is_symlink())


def join_readers() -> None:
    """Every thread that reads the log has ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("log-reader"):
            thread.join(20)
            assert not thread.is_alive()


class WantsAll(SinkServiceServicer):
    """A sink that wants everything from the beginning, each time."""

    async def DeliverLogs(
        self, request_iterator: AsyncIterator[DeliverLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[DeliverLogsResponse]:
        first = await anext(request_iterator)
        yield DeliverLogsResponse(protocol_version=PROTOCOL_VERSION, progress=SinkProgress(log_id=first.start.log_id))
        await asyncio.Event().wait()


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[str]:
    server = Server(Socket(tmp_path / "sink" / "s", "sink"), [], CollectorRegistry())
    add_SinkServiceServicer_to_server(WantsAll(), server.grpc)
    await server.start()
    yield server.address
    await server.stop(0)


@pytest.mark.parametrize("held_bytes", [1, 1_000], ids=["while it opens a segment", "while it reads frames"])
async def test_a_delivery_that_is_cancelled_while_it_reads_closes_the_file_after_it(
    disk: HeldDisk, log: Log, sink: str, held_bytes: int
) -> None:
    disk.held_bytes, before = held_bytes, open_segments()
    committer = Committer(log, CommitPolicy(), IngestMetrics(CollectorRegistry()))
    delivery = Delivery("sink", Peer(sink), committer, Wakeup(), note=SimpleNamespace(sending=lambda _: None, unlinked_below=0))
    for _ in range(10):
        disk.let.clear()
        disk.entered.clear()
        delivering = asyncio.create_task(delivery.run())
        assert await asyncio.to_thread(disk.entered.wait, 20)
        delivering.cancel()
        await asyncio.wait({delivering})
        disk.let.set()
        await asyncio.to_thread(join_readers)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert disk.errors == []
    assert open_segments() <= before


async def test_many_interrupted_reads_leave_no_descriptor(disk: HeldDisk, log: Log) -> None:
    before = open_segments()
    readings = []
    for number in range(INTERRUPTED):
        reader = LogReader(log.follow(number * log.end_offset // INTERRUPTED))
        readings.append(asyncio.create_task(reader.read(2 * SEGMENT_BYTES)))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        readings[-1].cancel()
        reader.close()
    ends = await asyncio.gather(*readings, return_exceptions=True)
    await asyncio.to_thread(join_readers)
    assert {type(end) for end in ends} <= {list, asyncio.CancelledError, RuntimeError}
    assert disk.errors == []
    assert open_segments() == before
