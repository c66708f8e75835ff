"""The public service of a store that is open already, for tests that ask it as callers do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from treering import AsyncClient
from treering.channels import Endpoints
from treering.v1.query_pb2_grpc import add_QueryServiceServicer_to_server
from treering_query.answers.status import Status
from treering_query.meaning.embed_client import EmbedUnavailable
from treering_query.meaning.meaning import MeaningClient
from treering_query.request_limits import LIMITS
from treering_query.search.searcher import Searcher
from treering_query.service import QueryServicer
from treering_query.settings import QuerySettings
from treering_query.sql.runner import SqlRunner
from treering_query.store.store import Store
from treering_query.streams.bounds import StreamBounds
from treering_runtime.answers import USUAL_BOUNDS
from treering_runtime.request_limits import RequestLimits
from treering_runtime.server import Server


class Away:
    """An embed service that does not answer."""

    async def score(self, texts: list[str], min_positions: Any, timeout_s: float) -> None:
        raise EmbedUnavailable("embed does not answer")

    async def search(self, query: str, timeout_s: float) -> None:
        raise EmbedUnavailable("embed does not answer")


@asynccontextmanager
async def serving_front(
    store: Store, sql: SqlRunner, embed: Any, bounds: StreamBounds = USUAL_BOUNDS
) -> AsyncIterator[tuple[Server, QueryServicer]]:
    """Serves the store; `embed` gives scores, and patterns for texts."""
    front = Server("127.0.0.1:0", (), CollectorRegistry(), limits=RequestLimits(LIMITS), bounds=bounds)
    servicer = QueryServicer(store, sql, Status(store, QuerySettings()), Searcher(store, embed), MeaningClient(embed))
    add_QueryServiceServicer_to_server(servicer, front.grpc)
    await front.start()
    try:
        yield front, servicer
    finally:
        await front.stop(0)


@asynccontextmanager
async def asking_front(store: Store, sql: SqlRunner, embed: Any) -> AsyncIterator[AsyncClient]:
    """A client of the same."""
    async with serving_front(store, sql, embed) as (front, _):
        client = AsyncClient(Endpoints(query=front.address))
        try:
            yield client
        finally:
            await client.close()
