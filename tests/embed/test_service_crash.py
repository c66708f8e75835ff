"""Kills the real service, with the real model, while it encodes; afterwards every registered pattern is in the index, once."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.embed.embed_doubles import LOG_ID
from tests.embed.embed_processes import deliver, end, words
from tests.patience import PATIENCE_S
from treering.v1 import embed_pb2 as pb
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import Position

pytestmark = pytest.mark.model
COUNT = 500


async def found(address: str) -> list[int]:
    async with grpc.aio.insecure_channel(address) as channel:
        embed = EmbedServiceStub(channel)
        wait = [Position(log_id=LOG_ID, offset=COUNT)]
        request = pb.SearchPatternsRequest(text="anything", limit=10_000, min_positions=wait)
        response = await embed.SearchPatterns(request, timeout=5 * PATIENCE_S)  # the real model encodes them all
        return [hit.pattern_id for hit in response.scores]


async def test_killed_while_encoding_each_registered_pattern_is_indexed_once(
    tmp_path: Path, start: Callable[..., tuple[subprocess.Popen[str], str]]
) -> None:
    messages = [f"worker {words(number)} lost its lease" for number in range(COUNT)]
    data_dir = tmp_path / "embed"
    for field, until in (("releasable_end_offset", COUNT), ("visible_end_offset", 1)):
        child, address = await asyncio.to_thread(start, data_dir)
        await deliver(data_dir, messages, field, until)
        assert await asyncio.to_thread(end, child, signal.SIGKILL) == -signal.SIGKILL
    child, address = await asyncio.to_thread(start, data_dir)
    await deliver(data_dir, messages, "visible_end_offset", COUNT)
    ids = await found(address)
    assert len(ids) == len(set(ids)) == COUNT
    assert await asyncio.to_thread(end, child, signal.SIGTERM) == 0
