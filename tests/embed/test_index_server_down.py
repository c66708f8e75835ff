"""A Qdrant server that is down, comes up, goes away: the service says so, takes records all the while, and recovers by itself."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from qdrant_client import QdrantClient

from tests.embed.embed_doubles import frame, reason, running, settings_for
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering_embed.index import server


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    server = grpc.server(ThreadPoolExecutor(1))
    found = server.add_insecure_port("127.0.0.1:0")
    server.stop(None).wait()
    return found


async def test_without_an_index_searches_are_refused_at_once_and_the_rest_is_served(tmp_path: Path, port: int) -> None:
    settings = settings_for(tmp_path / "embed", index="server", qdrant_url=f"http://127.0.0.1:{port}")
    async with running(settings, until_ready=False) as service:
        await service.ready("")  # the process serves all the same
        progress = await service.deliver([frame(0, ["one", "two"])], "releasable_end_offset")
        assert progress.visible_end_offset == 0
        for call in (
            service.embed.SearchPatterns(pb.SearchPatternsRequest(text="x", limit=1), timeout=5),
            service.admin.ForgetPatterns(admin_pb2.ForgetPatternsRequest(), timeout=5),
            service.admin.StartReindex(admin_pb2.StartReindexRequest(), timeout=5),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert (reason(refused.value).reason, reason(refused.value).metadata["peer"]) == ("PEER_UNAVAILABLE", "qdrant")
        assert (await service.embed.EmbedTexts(pb.EmbedTextsRequest(texts=["x"]))).embeddings
        status = await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.model_ready, status.index_ready, status.pending_count) == (True, False, 2)
        assert "does not answer" in status.problem


async def test_a_server_that_comes_back_is_used(tmp_path: Path, port: int, local_qdrant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own imitation answers once the server 'is up': its storage is the real thing's, its network is not."""

    monkeypatch.setattr("treering_embed.indexing.meaning.RETRY_MIN_S", 0.01)
    up = asyncio.Event()
    refusing = server.connect(f"http://127.0.0.1:{port}", "")
    monkeypatch.setattr(server, "connect", lambda url, key: local_qdrant if up.is_set() else refusing)
    monkeypatch.setattr(QdrantClient, "close", lambda self: None)
    settings = settings_for(tmp_path / "embed", index="server", qdrant_url=f"http://127.0.0.1:{port}", models="another")
    async with running(settings, until_ready=False) as service:
        await service.ready("")
        await service.deliver([frame(0, ["one", "two"])], "releasable_end_offset")
        assert (await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())).problem
        up.set()
        await service.deliver([frame(0, ["one", "two"])])
        found = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="one", limit=10))
        assert len(found.scores) == 2
        status = await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.index_ready, status.problem) == (True, "")
        name = local_qdrant.get_aliases().aliases[0].collection_name
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="another"))
        async with asyncio.timeout(30):
            while (await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())).reindex.phase != pb.REINDEX_PHASE_DONE:
                pass
        assert [alias.collection_name for alias in local_qdrant.get_aliases().aliases] != [name]
        assert len(local_qdrant.get_collections().collections) == 1
