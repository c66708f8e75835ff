"""The log's disk is full: nothing comes in, everything goes on to the sinks, and when there is room all resumes."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.privileges import needs_root
from tests.system.instance import Instance
from treering import Client, LogRecord
from treering.errors import OverloadedError
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import GetIngestStatusResponse, UploadLogsRequest
from treering.v1.log_pb2 import Position

from .conftest import START_S

pytestmark = [pytest.mark.system, *needs_root]

BATCH = 100


@pytest.fixture
async def instance(tmp_path: Path, small_disk: Path) -> AsyncIterator[Instance]:
    made = Instance(tmp_path, small_disk / "ingest", DISK_RESERVE_BYTES="0")
    yield made
    await made.end()


def request(sequence: int) -> UploadLogsRequest:
    records = [LogRecord(service="full", message=f"batch {sequence} record {number} {'x' * 200}") for number in range(BATCH)]
    return UploadLogsRequest(producer_id="me", sequence=sequence, batch=LogBatch(records=records))


def send_until_refused(endpoints: Any) -> int:
    """How many batches were acknowledged before the disk was full."""
    sequence = 0
    with Client(endpoints) as client:
        while True:
            try:
                client.upload_logs(iter([request(sequence + 1)]))
            except OverloadedError as error:
                if error.reason != "DISK_LOW":
                    raise
                return sequence
            sequence += 1


def everything_is_visible(endpoints: Any) -> GetIngestStatusResponse:
    """Waits until both sinks have worked in all of the log; returns the log's status then."""
    with Client(endpoints, timeout=START_S) as client:
        while True:
            status = client.get_ingest_status()
            if all(sink.visible_end_offset == status.end_offset_exclusive for sink in status.sinks):
                return status


def counted(endpoints: Any, end: Any) -> list[dict[str, Any]]:
    with Client(endpoints, timeout=START_S) as client:
        found = client.sql("select count(*) n, count(distinct message) d from logs", min_positions=(end,))
        return found.rows()


async def test_a_full_disk_is_delivered_to_real_sinks_and_all_resumes(instance: Instance, small_disk: Path) -> None:
    assert await instance.ingest.start()
    (small_disk / "ballast").write_bytes(bytes(12 << 20))
    acknowledged = await asyncio.to_thread(send_until_refused, instance.endpoints)
    assert acknowledged > 10
    assert await instance.embed.start()
    assert await instance.query.start()
    async with asyncio.timeout(START_S):
        status = await asyncio.to_thread(everything_is_visible, instance.endpoints)
    assert "kept in reserve" in status.refusing_because  # the disk was full all the time
    assert status.end_offset_exclusive == acknowledged * BATCH
    end = position_of(status)
    rows = await asyncio.to_thread(counted, instance.endpoints, end)
    assert rows == [{"n": acknowledged * BATCH, "d": acknowledged * BATCH}]

    (small_disk / "ballast").unlink()
    async with asyncio.timeout(START_S):
        total = await asyncio.to_thread(go_on, instance.endpoints, acknowledged)
        status = await asyncio.to_thread(everything_is_visible, instance.endpoints)
    rows = await asyncio.to_thread(counted, instance.endpoints, position_of(status))
    assert rows == [{"n": total * BATCH, "d": total * BATCH}]


def position_of(status: GetIngestStatusResponse) -> Position:
    return Position(log_id=status.log_id, offset=status.end_offset_exclusive)


def go_on(endpoints: Any, acknowledged: Any) -> Any:
    """Sends on from where the disk was full, until it is taken; returns the number of batches then."""
    with Client(endpoints) as client:
        for sequence in range(acknowledged + 1, acknowledged + 6):
            while True:
                try:
                    client.upload_logs(iter([request(sequence)]))
                    break
                except OverloadedError:
                    continue
    return acknowledged + 5


LINES = 20_000
"""With texts that do not compress, more than the small disk of query holds, and more than it keeps in memory."""


async def test_a_full_disk_of_query_is_told_by_status_until_it_has_room(tmp_path: Path, small_disk: Path) -> None:
    made = Instance(tmp_path, query_directory=small_disk / "query", query={"HOT_MAX_ROWS": "1000"})
    try:
        for service in (made.query, made.embed, made.ingest):
            assert await service.start()
        assert (await made.run("status")).returncode == 0
        (small_disk / "ballast").write_bytes(bytes(14 << 20))
        lines = tmp_path / "lines"
        lines.write_text("".join(f"{random.Random(number).randbytes(400).hex()}\n" for number in range(LINES)))
        await made.json("send", lines, "--service", "full")
        async with asyncio.timeout(START_S):
            while (told := await made.run("status")).returncode == 0:
                pass
        assert "records cannot be sealed (No space left on device)" in told.stdout
        assert "bytes free" in told.stdout
        (small_disk / "ballast").unlink()
        async with asyncio.timeout(START_S):
            while (told := await made.run("status")).returncode:
                pass
        assert "cannot be sealed" not in told.stdout
    finally:
        await made.end()
