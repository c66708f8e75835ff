"""The implementations of `DurableLog`, and what is built on it with another one than files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.batches import make_batch
from tests.ingest.durable_log_suite import DurableLogSuite, appended, followed, spans
from tests.ingest.memory_log import MemoryLog
from tests.ingest.simulated_disk import SimulatedDisk
from tests.patience import PATIENCE_S
from treering_ingest.commit_policy import CommitPolicy
from treering_ingest.committer import Committer
from treering_ingest.digest import LogDigester
from treering_ingest.durable_log import DiskFullError, DurableLog, LogFailedError
from treering_ingest.log_reader import LogReader
from treering_ingest.wal import LogConfig, PosixFileSystem, open_log


class Files:
    """A log in files, of segments so small that each test has several."""

    outlives = True

    def __init__(self, files: PosixFileSystem | SimulatedDisk) -> None:
        self._files = files

    def opened(self) -> DurableLog:
        return open_log(self._files, LogConfig(segment_bytes=500))


class Memory:
    outlives = False

    def opened(self) -> DurableLog:
        return MemoryLog()  # type: ignore[return-value]


class TestFiles(DurableLogSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Files:
        return Files(PosixFileSystem(tmp_path))


class TestSimulatedDisk(DurableLogSuite):
    @pytest.fixture
    def place(self) -> Files:
        return Files(SimulatedDisk())


class TestMemory(DurableLogSuite):
    @pytest.fixture
    def place(self) -> Memory:
        return Memory()


class Unobserved:
    def synced(self, seconds: float) -> None:
        pass

    def committed(self, records: Any, size_bytes: Any, seconds: float) -> None:
        pass


@pytest.fixture
async def committing() -> AsyncIterator[Callable[[DurableLog], Committer]]:
    committers = []

    def start(log: DurableLog) -> Committer:
        committers.append(committer := Committer(log, CommitPolicy(), Unobserved()))
        committer.start()
        return committer

    yield start
    for each in committers:
        await each.stop()


async def test_groups_are_committed_to_any_log(committing: Callable[[DurableLog], Committer]) -> None:
    log = MemoryLog()
    committer = committing(log)
    tickets = [committer.stage(make_batch(text=str(number))) for number in range(5)]
    await committer.wait_durable(tickets[-1])
    assert (log.durable_offset, spans(followed(log))) == (5, [(number, number + 1) for number in range(5)])


async def test_a_log_without_room_takes_what_waits_when_there_is_some(committing: Callable[[DurableLog], Committer]) -> None:
    log = MemoryLog(room=0)
    committer = committing(log)
    ticket = committer.stage(make_batch())
    with pytest.raises(DiskFullError):
        await committer.wait_durable(ticket)
    log.room = None
    async with asyncio.timeout(PATIENCE_S):
        while not committer.is_durable(ticket):
            await committer.advanced.wait()
    assert log.durable_offset == 1


async def test_a_writer_stops_when_another_one_wrote(committing: Callable[[DurableLog], Committer]) -> None:
    log = MemoryLog()
    committer = committing(log)
    await committer.wait_durable(committer.stage(make_batch()))
    appended(log, make_batch(text="of another writer"))
    with pytest.raises(LogFailedError, match="ends at offset 2, not at 1"):
        await committer.wait_durable(committer.stage(make_batch()))
    assert committer.failure
    assert log.end_offset == 2


async def test_any_log_is_digested_and_read_on_a_thread() -> None:
    log = MemoryLog()
    appended(log, make_batch(count=3), make_batch(count=2))
    digester, reader = LogDigester(log), LogReader(log.follow(3))
    found = await digester.digest(0, 5, 5)
    assert (found.runs[0].record_count, found.problem) == (5, "")
    assert spans(await reader.read(1 << 20)) == [(3, 5)]
    digester.close()
    reader.close()
