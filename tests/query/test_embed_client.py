"""What the embed service hears of query besides its questions."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from treering.v1 import admin_pb2, embed_pb2
from treering.v1.admin_pb2_grpc import EmbedAdminServiceServicer, add_EmbedAdminServiceServicer_to_server
from treering.v1.embed_pb2_grpc import EmbedServiceServicer, add_EmbedServiceServicer_to_server
from treering_query.meaning import embed_client
from treering_query.meaning.embed_client import EmbedClient
from treering_runtime import caller
from treering_runtime.channels import Peer
from treering_runtime.doors import Socket
from treering_runtime.server import Server


class Embed(EmbedServiceServicer, EmbedAdminServiceServicer):
    """Notes for whom it is asked."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def SearchPatterns(
        self, request: embed_pb2.SearchPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> embed_pb2.SearchPatternsResponse:
        self.callers.append(caller.current())
        return embed_pb2.SearchPatternsResponse()

    async def ScorePatterns(
        self, request: admin_pb2.ScorePatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[admin_pb2.ScorePatternsResponse]:
        self.callers.append(caller.current())
        yield admin_pb2.ScorePatternsResponse(texts=[admin_pb2.TextScores()])


@pytest.mark.parametrize("peer", ["ipv4:10.1.2.3:41000", "ipv6:%5B::1%5D:41000", "unix:"])
async def test_embed_hears_for_whom_query_asks(tmp_path: Path, peer: str) -> None:
    embed = Embed()
    server = Server(Socket(tmp_path / "inner" / "s", "embed"), (), CollectorRegistry(), are_ours=True)
    add_EmbedServiceServicer_to_server(embed, server.grpc)
    add_EmbedAdminServiceServicer_to_server(embed, server.grpc)
    await server.start()
    client = EmbedClient(Peer(server.address))
    try:
        caller.serve(peer)
        await client.search(embed_pb2.SearchPatternsRequest(text="x"), 30)
        await client.score(["x"], (), 30)
        assert embed.callers == [caller.of_peer(peer)] * 2
    finally:
        await client.close()
        await server.stop(0)


@pytest.mark.parametrize("ask", [lambda client: client.score(["x"], [], 5.0), lambda client: client.forget([], [])])
async def test_a_question_without_memory_to_send_it_is_not_sent_as_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Any], Any]
) -> None:
    """Embed would answer what nobody asked."""
    (tmp_path / "inner").mkdir(mode=0o700)
    client = EmbedClient(Peer(f"unix:{tmp_path}/inner/s"))
    for name in ("ScorePatternsRequest", "ForgetPatternsRequest"):
        monkeypatch.setattr(embed_client, name, lambda **_: object())
    with pytest.raises(TypeError):
        await ask(client)
    await client.close()
