"""Reindex of the real service with real models, killed while it prepares and while it embeds; searches are answered all the while."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.embed.embed_processes import deliver, end, inner_of, words
from tests.embed.real_models import make_small_model
from tests.stubs import together
from treering.inner.channels import connect_async
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub
from treering.v1.embed_pb2_grpc import EmbedServiceStub

pytestmark = pytest.mark.model
COUNT = 200


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_model(tmp_path_factory.mktemp("small"))


@asynccontextmanager
async def asking(data_dir: Path) -> AsyncIterator[Any]:
    async with connect_async(inner_of(data_dir)) as channel:
        yield together(channel, EmbedServiceStub, EmbedAdminServiceStub)


async def search_until(embed: EmbedServiceStub, reached: Callable[[pb.GetEmbedStatusResponse], bool]) -> pb.GetEmbedStatusResponse:
    """Searches again and again, and finds every pattern each time, until the status is as wanted."""
    async with asyncio.timeout(120):
        while True:
            response = await embed.SearchPatterns(pb.SearchPatternsRequest(text="lease", limit=1_000), wait_for_ready=True)  # type: ignore[misc]
            ids = [hit.pattern_id for hit in response.scores]
            assert len(ids) == len(set(ids)) == COUNT
            status = await embed.GetEmbedStatus(pb.GetEmbedStatusRequest())  # type: ignore[misc]
            assert not status.problem
            if reached(status):
                return status


def embedding(status: pb.GetEmbedStatusResponse) -> bool:
    """The first batch is being embedded; once it is done, the swap may come before the signal does."""
    return status.reindex.phase == pb.REINDEX_PHASE_EMBEDDING


def done(status: pb.GetEmbedStatusResponse) -> bool:
    return status.reindex.phase == pb.REINDEX_PHASE_DONE


async def test_killed_in_the_middle_it_goes_on_and_every_pattern_is_indexed_once(
    tmp_path: Path, start: Callable[..., tuple[subprocess.Popen[str], str]], small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREERING_EMBED_MODELS", str(small_model))
    data_dir = tmp_path / "embed"
    child, _ = await asyncio.to_thread(start, data_dir)
    await deliver(data_dir, [f"worker {words(number)} lost its lease" for number in range(COUNT)], "visible_end_offset", COUNT)
    for model, killed_when in (("", embedding), (str(small_model), lambda status: status.reindex.phase == pb.REINDEX_PHASE_PREPARING)):
        async with asking(data_dir) as embed:
            await embed.StartReindex(admin_pb2.StartReindexRequest(model=model))
            before = await search_until(embed, killed_when)
            assert before.dimension == 384
        assert await asyncio.to_thread(end, child, signal.SIGKILL) == -signal.SIGKILL
        child, _ = await asyncio.to_thread(start, data_dir)
        async with asking(data_dir) as embed:
            await ready(embed)
            after = await search_until(embed, done)
            digest = [part async for part in embed.DigestIndex(admin_pb2.DigestIndexRequest())]
        assert sum(len(part.indexed_ids) for part in digest) == COUNT
        assert not any(part.missing_ids or part.unknown_ids or part.pending_ids for part in digest)
    assert (after.model, after.dimension, after.configured_model) == (str(small_model), 64, "all-MiniLM-L6-v2")
    assert [len(list((data_dir / name).iterdir())) for name in ("index", "encoder")] == [1, 1]
    assert await asyncio.to_thread(end, child, signal.SIGTERM) == 0


async def ready(embed: EmbedServiceStub) -> None:
    async with asyncio.timeout(60):
        while not (await embed.GetEmbedStatus(pb.GetEmbedStatusRequest(), wait_for_ready=True)).index_ready:  # type: ignore[misc]
            pass
