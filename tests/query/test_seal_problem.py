"""A seal that fails is told by the service's status for as long as it does, and by nothing else: questions go on."""

import asyncio
from typing import Never

import pytest

from tests.patience import PATIENCE_S
from tests.query.conftest import Fill, OpenStore, Serving
from treering import AsyncClient
from treering_query.sealed import seal_task, segment_file
from treering_runtime.errors import StopError


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_task, "RETRY_SEAL_S", (0.01, 0.01))


async def told(client: AsyncClient, *, problem: bool) -> str:
    async with asyncio.timeout(30):
        while True:
            status = await client.get_query_status()
            if bool(status.problem) == problem:
                assert status.disk_free_bytes > 0
                return status.problem


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(28, "No space left on device", "/secret/path"), "No space left on device"), (ValueError("/secret/path"), "ValueError")],
)
async def test_a_seal_that_fails_is_told_until_it_succeeds(
    serving: Serving, fill: Fill, monkeypatch: pytest.MonkeyPatch, error: OSError | ValueError, words: str
) -> None:
    write = segment_file.write

    def fails(*_: object, **__: object) -> Never:
        raise error

    async with serving() as (store, client):
        assert await told(client, problem=False) == ""
        monkeypatch.setattr(segment_file, "write", fails)
        await fill(store, 0, 1_200)
        sealing = asyncio.create_task(store.seal())
        problem = await told(client, problem=True)
        assert f"records cannot be sealed ({words}): 1,200 are only in memory and in the log" in problem
        assert "bytes free" in problem
        assert "secret" not in problem
        assert (await client.sql("select count(*) n from logs")).rows() == [{"n": 1_200}]
        monkeypatch.setattr(segment_file, "write", write)
        await sealing
        assert await told(client, problem=False) == ""


async def test_sealing_that_ends_by_a_fault_of_ours_ends_the_service(
    open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise deliveries would wait for room for ever, and nobody would know why."""

    async def without_memory() -> None:
        raise MemoryError

    async with open_store() as store:
        working = asyncio.create_task(store.work())
        await fill(store, 0, 100)
        monkeypatch.setattr(store._sealing, "_begin", without_memory)
        waiting = asyncio.create_task(store.seal())
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(StopError, match="sealing failed: MemoryError"):
                await working
        waiting.cancel()
        await asyncio.wait({waiting})
