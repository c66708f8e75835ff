"""Records that a sink cannot read: they are set aside, hold nothing up, are accounted for, and can be read again."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.system.instance import Instance
from treering import Client, LogRecord
from treering.channels import Endpoints, connect
from treering.v1.log_pb2 import Position
from treering_runtime.crash_notes import UNREAD_AFTER

from .conftest import START_S

pytestmark = pytest.mark.system

WORD = "unspeakable"
BATCHES = [[f"request {batch} {number} was served" for number in range(20)] for batch in range(6)]
BATCHES[2][7] = f"the {WORD} thing happened"
BAD_OFFSET = 2 * 20 + 7


def send(endpoints: Any) -> Position:
    """Sends every batch and returns where the log ends then."""
    with Client(endpoints) as client, client.uploader(max_batch_records=20) as upload:
        for batch in BATCHES:
            for message in batch:
                upload.send(LogRecord(service="shop", message=message))
            upload.flush()
    return upload.result().positions[0]


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    made = Instance(tmp_path)
    yield made
    await made.end()


async def crashes_until_it_stays(service: Any, client_end: Position, endpoints: Endpoints) -> int:
    """Starts a service that ends by its own fault, again and again; how often it did before everything was taken."""
    crashes = 0
    while True:
        await service.start(WORD, "kill")
        async with asyncio.timeout(START_S):
            if await asyncio.to_thread(taken, endpoints, client_end, service):
                return crashes
            assert await service.process.wait() == -signal.SIGKILL
        crashes += 1


def taken(endpoints: Any, end: Any, service: Any) -> bool:
    """Waits until a sink holds everything below `end`, or its process is gone; says which."""
    with Client(endpoints) as client:
        while service.process.returncode is None:
            for sink in client.get_ingest_status().sinks:
                if sink.name == service.name and sink.connected and sink.next_offset >= end.offset:
                    return True
    return False


@pytest.mark.parametrize("victim", ["query", "embed"])
async def test_a_frame_that_kills_its_sink_is_set_aside_after_five_crashes_and_can_be_read_later(instance: Instance, victim: str) -> None:
    other = instance.embed if victim == "query" else instance.query
    chosen = getattr(instance, victim)
    assert await instance.embed.start()
    await asyncio.to_thread(model_is_ready, instance.endpoints)  # made once, or each process that dies would leave it half made
    assert await instance.embed.stop() == 0
    assert await instance.ingest.start()
    assert await other.start()
    end = await asyncio.to_thread(send, instance.endpoints)
    assert await crashes_until_it_stays(chosen, end, instance.endpoints) == UNREAD_AFTER
    [entry] = [json.loads(line) for line in (await instance.run("quarantine", "list", "--json")).stdout.splitlines()]
    assert (entry["sink"], entry["first_offset"], entry["record_count"]) == (victim, 40, 20)
    assert f"{UNREAD_AFTER} times" in entry["reason"]
    await check_accounted(instance, victim, end, 20)

    done = await instance.run("quarantine", "retry", "--sink", victim)
    assert done.returncode == 1
    assert "stays set aside" in done.stderr
    assert await chosen.process.wait() == -signal.SIGKILL
    assert await chosen.start(WORD, "refuse")
    done = await instance.run("quarantine", "retry", "--sink", victim, "--json")
    assert (done.returncode, json.loads(done.stdout)[victim]["stored"]) == (1, 19), done.stderr
    await check_accounted(instance, victim, end, 1)
    assert await chosen.stop() == 0
    assert await chosen.start()
    assert await instance.json("quarantine", "retry", "--json") == {
        "query": {"tried": int(victim == "query"), "stored": int(victim == "query"), "quarantined": 0},
        "embed": {"tried": int(victim == "embed"), "stored": int(victim == "embed"), "quarantined": 0},
    }
    await check_accounted(instance, victim, end, 0)
    await asyncio.to_thread(every_pattern_has_a_vector, instance.endpoints)
    [best, *_] = (await instance.json("search", WORD, "--mode", "semantic", "--json"))["results"]
    assert WORD in best["pattern"]


def model_is_ready(endpoints: Any) -> None:
    """Waits until embed has its model."""
    with connect(endpoints.embed) as channel:
        for response in HealthStub(channel).Watch(HealthCheckRequest(service="treering.v1.EmbedService"), timeout=START_S):
            if response.status == HealthCheckResponse.SERVING:
                return


def every_pattern_has_a_vector(endpoints: Any) -> None:
    """Waits until embed has encoded what it knows. What a retry stored lies below the visible end, so that no position stands for it."""
    with Client(endpoints, timeout=START_S) as client:
        while client.get_embed_status().pending_count:
            pass


async def check_accounted(instance: Instance, victim: str, end: Position, count: int) -> None:
    """Everything but `count` records of the bad batch is in SQL, `verify` agrees, `status` says how many."""
    found = await asyncio.to_thread(instance.offsets, end)
    missing = set(range(end.offset)) - set(found)
    expected = set(range(40, 40 + count)) if count > 1 else {BAD_OFFSET} if count else set()
    assert (len(found), missing) == (end.offset - len(missing), expected if victim == "query" else set())
    report = await instance.json("verify", "--json")
    assert (report["ok"], report["set_aside_count"]) == (True, len(missing))
    said = await instance.run("status")
    assert (f"treering quarantine list --sink {victim}" in said.stdout) == (count > 0)


async def test_an_offset_that_no_log_has_is_refused_in_words(instance: Instance) -> None:
    done = await instance.run("quarantine", "list", "--from", "5", "--to", "5")
    assert (done.returncode, "nothing lies between" in done.stderr) == (1, True)
