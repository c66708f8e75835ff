"""Calls that are cancelled at each of their awaits: what was acknowledged is in the log once, the producer goes on, nothing is left."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cancelling import at_each_await
from tests.ingest.conftest import RequestOf, Running
from treering.v1.admin_pb2 import DigestLogRequest
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import GetIngestStatusRequest, StreamLogsRequest
from treering_ingest.process import IngestProcess
from treering_ingest.wal.inspect import cat

BATCHES = 3


class Producer:
    """A new producer for each attempt; notes what it was told."""

    def __init__(self, process: IngestProcess, request_of: RequestOf) -> None:
        self.process, self.request_of = process, request_of
        self.number = self.acknowledged = 0

    def requests(self) -> list[Any]:
        messages = [f"{self.number} {sequence}" for sequence in range(1, BATCHES + 1)]
        return [self.request_of(text, producer_id=f"p{self.number}", sequence=i) for i, text in enumerate(messages, start=1)]

    async def sent(self) -> AsyncIterator[Any]:
        for request in self.requests():
            await asyncio.sleep(0)
            yield request.SerializeToString()

    def begin(self) -> None:
        self.number += 1
        self.acknowledged = 0

    async def uploads(self) -> None:
        self.begin()
        await self.process._handlers.upload_logs(self.sent(), None)
        self.acknowledged = BATCHES

    async def streams(self) -> None:
        self.begin()
        async for answer in self.process._handlers.stream_logs(self.sent(), None):
            self.acknowledged = answer.last_durable_sequence


def readings() -> set[Any]:
    """The tasks that read calls."""
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "").endswith("._read_all")}


async def readings_are_over() -> None:
    if readings():
        await asyncio.wait(readings(), timeout=20)
    assert readings() == set()


def open_segments() -> int:
    """How many descriptors of this process are of segments."""
    links = [*Path("/proc/self/fd").iterdir()]
    return sum(".wal" in str(link.readlink()) for link in links if link.is_symlink())


@pytest.mark.parametrize("how", ["UploadLogs", "StreamLogs"])
@pytest.mark.parametrize("held", [False, True])
async def test_a_producer_whose_call_is_cancelled_goes_on_and_each_batch_is_stored_once(
    running: Running, request_of: RequestOf, tmp_path: Path, how: str, held: bool
) -> None:
    async with running() as (process, stub):
        intake, producer = process.intake, Producer(process, request_of)
        if held:  # every batch waits for room first, until the committer has written what was staged before
            intake._max_waiting_bytes = 1
        await stub.UploadLogs(iter([request_of("before")]))
        before = open_segments()

        async def look(step: int) -> None:
            await readings_are_over()
            while process.committer.waiting_bytes:
                await process.committer.advanced.wait()
            assert (intake.stream_count, len(process.committer._waiters)) == (0, 0)
            assert intake.drained._listeners | intake.closed._listeners == set()
            assert open_segments() <= before
            stored = intake.last_durable_sequence(f"p{producer.number}".encode())
            assert stored >= producer.acknowledged
            answer = await stub.UploadLogs(iter(producer.requests()))
            assert (answer.duplicate_count, answer.accepted_count) == (stored, BATCHES - stored)

        times = await at_each_await(producer.uploads if how == "UploadLogs" else producer.streams, look)
        assert times >= 2
    frames = [LogBatch.FromString(frame.payload) for frame in cat(tmp_path / "wal")]
    counts = Counter(record.message for frame in frames for record in frame.records)
    assert set(counts.values()) == {1}
    assert len(counts) == 1 + producer.number * BATCHES


async def test_a_stream_that_is_cancelled_between_two_answers_leaves_nothing(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        call = stub.StreamLogs()
        await call.write(StreamLogsRequest.FromString(request_of("a", producer_id="me", sequence=1).SerializeToString()))
        assert (await call.read()).last_durable_sequence == 1
        call.cancel()
        while process.intake.stream_count:
            await process.intake.changed.wait()
        assert not process.intake.drained._listeners


async def test_a_status_or_a_digest_that_is_cancelled_leaves_nothing(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        await stub.UploadLogs(iter([request_of(*"abc")]))
        asked = DigestLogRequest(end_offset_exclusive=3, step=1)
        expected = await process._handlers.digest_log(asked, None)
        before = open_segments()

        async def look(step: int) -> None:
            assert await process._handlers.digest_log(asked, None) == expected
            assert open_segments() <= before

        assert await at_each_await(lambda: process._handlers.digest_log(asked, None), look) >= 1
        assert await at_each_await(lambda: process._handlers.get_ingest_status(GetIngestStatusRequest(), None), look) == 0
