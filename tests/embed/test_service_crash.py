"""Kills the real service, with the real model, while it encodes; afterwards every registered pattern is in the index, once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from embed_doubles import LOG_ID, frame

from treering.v1 import embed_pb2 as pb
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import Position
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliveryStart
from treering.v1.sink_pb2_grpc import SinkServiceStub

pytestmark = pytest.mark.model
COUNT = 500


def start_service(data_dir: Path) -> tuple[subprocess.Popen[str], str]:
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TREERING_EMBED_DATA_DIR": str(data_dir),
        "TREERING_EMBED_LISTEN": "127.0.0.1:0",
        "TREERING_EMBED_METRICS_LISTEN": "127.0.0.1:0",
    }
    errors = (data_dir.parent / "stderr").open("a")
    child = subprocess.Popen([sys.executable, "-m", "treering_embed"], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    errors.close()
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, (data_dir.parent / "stderr").read_text()
    return child, json.loads(line)["address"]


def end(child: subprocess.Popen[str], number: int) -> int:
    child.send_signal(number)
    code = child.wait(30)
    assert child.stdout is not None
    child.stdout.close()
    return code


def words(number: int) -> str:
    """A number in letters, so that no two messages share a pattern."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


async def deliver(address: str, messages: list[str], field: str, until: int) -> int:
    """Delivers from where the sink stands; returns its progress in `field` once it is at least `until`."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = SinkServiceStub(channel).DeliverLogs()
        await call.write(DeliverLogsRequest(start=DeliveryStart(log_id=LOG_ID)))
        stands = (await call.read()).progress.next_offset
        if stands < len(messages):
            await call.write(DeliverLogsRequest(frames=[frame(stands, messages[stands:])]))
        while (reached := getattr((await call.read()).progress, field)) < until:
            pass
        call.cancel()
        return reached


async def found(address: str) -> list[int]:
    async with grpc.aio.insecure_channel(address) as channel:
        embed = EmbedServiceStub(channel)
        wait = [Position(log_id=LOG_ID, offset=COUNT)]
        response = await embed.SearchPatterns(pb.SearchPatternsRequest(text="anything", limit=10_000, min_positions=wait), timeout=60)
        return [hit.pattern_id for hit in response.scores]


@pytest.fixture
def start():
    """Starts services, and ends those that a failed test left."""
    children: list[subprocess.Popen[str]] = []

    def begin(data_dir: Path) -> tuple[subprocess.Popen[str], str]:
        child, address = start_service(data_dir)
        children.append(child)
        return child, address

    yield begin
    for child in children:
        if child.poll() is None:
            end(child, signal.SIGKILL)


async def test_killed_while_encoding_each_registered_pattern_is_indexed_once(tmp_path, start):
    messages = [f"worker {words(number)} lost its lease" for number in range(COUNT)]
    data_dir = tmp_path / "embed"
    for field, until in (("releasable_end_offset", COUNT), ("visible_end_offset", 1)):
        child, address = await asyncio.to_thread(start, data_dir)
        await deliver(address, messages, field, until)
        assert await asyncio.to_thread(end, child, signal.SIGKILL) == -signal.SIGKILL
    child, address = await asyncio.to_thread(start, data_dir)
    await deliver(address, messages, "visible_end_offset", COUNT)
    ids = await found(address)
    assert len(ids) == len(set(ids)) == COUNT
    assert await asyncio.to_thread(end, child, signal.SIGTERM) == 0
