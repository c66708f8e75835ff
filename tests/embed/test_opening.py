"""The index is opened once at a time, and settings that cannot be meant are refused before."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pydantic import ValidationError

from tests.embed.embed_doubles import frame, running, settings_for
from treering.v1 import embed_pb2 as pb
from treering_embed.application import EMBED_SERVICE
from treering_embed.index import Index, IndexFaultError
from treering_embed.index.edge import EdgeIndex
from treering_embed.indexing import meaning
from treering_embed.settings import EmbedSettings


async def test_an_index_that_opens_and_cannot_be_looked_through_is_closed_before_the_next_attempt(
    settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two open shards in one directory damage each other."""
    events: list[str] = []
    opening, verifying, closing = meaning.open_index, meaning.verify, EdgeIndex.close

    def open_index(*arguments: Any) -> Index:
        events.append("open")
        return opening(*arguments)

    async def verify(*arguments: Any) -> set[int]:
        if events.count("open") < 3:
            raise IndexFaultError("the disk is full")
        return await verifying(*arguments)

    def close(index: EdgeIndex) -> None:
        events.append("close")
        closing(index)

    monkeypatch.setattr(meaning, "RETRY_MIN_S", 0.01)
    monkeypatch.setattr(meaning, "open_index", open_index)
    monkeypatch.setattr(meaning, "verify", verify)
    monkeypatch.setattr(EdgeIndex, "close", close)
    async with running(settings) as service:
        await service.deliver([frame(0, ["one", "two"])])
        assert events == ["open", "close", "open", "close", "open"]


async def test_without_an_index_the_process_serves_and_searches_do_not_and_the_status_says_why(
    settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, full = meaning.open_index, [True]

    def open_index(*arguments: Any) -> Index:
        if full:
            raise IndexFaultError("make room on its disk")
        return opening(*arguments)

    monkeypatch.setattr(meaning, "RETRY_MIN_S", 0.01)
    monkeypatch.setattr(meaning, "open_index", open_index)
    async with running(settings, until_ready=False) as service, asyncio.timeout(60):

        async def serves(name: str) -> Any:
            return (await service.health.Check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING

        await service.ready("")
        assert not await serves(EMBED_SERVICE)
        status = await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.model_ready, status.index_ready, status.problem) == (
            True,
            False,
            "the index cannot be opened: make room on its disk",
        )
        full.clear()
        await service.ready()
        status = await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.index_ready, status.problem, await serves("")) == (True, "", True)


@pytest.mark.parametrize("url", ["localhost:6334", "http://localhost", "http://:6334/x", "ftp://localhost:6334", "http://localhost:port"])
def test_an_address_of_the_index_server_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError, match="qdrant_url"):
        settings_for(tmp_path, index="server", qdrant_url=url)
