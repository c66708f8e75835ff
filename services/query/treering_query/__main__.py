"""Starts the query service, and stops it in reverse."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

from treering.v1.admin_pb2_grpc import add_QueryAdminServiceServicer_to_server
from treering.v1.query_pb2_grpc import add_QueryServiceServicer_to_server
from treering.v1.sink_pb2_grpc import add_SinkServiceServicer_to_server
from treering_query.answers.status import Status, StoreMetrics
from treering_query.meaning.embed_client import EmbedClient
from treering_query.meaning.meaning import Meaning
from treering_query.request_limits import LIMITS
from treering_query.search.searcher import Searcher
from treering_query.service import QueryServicer
from treering_query.settings import QuerySettings
from treering_query.sql.runner import SqlBounds, SqlRunner
from treering_query.store.deliveries import HotBounds
from treering_query.store.keeper import Keeper
from treering_query.store.store import Store
from treering_query.streams.bounds import StreamBounds
from treering_query.view.engine import Engine
from treering_runtime import server, telemetry
from treering_runtime.data_dir import DataDir
from treering_runtime.errors import StartError
from treering_runtime.limits import SINK_WINDOW_BYTES
from treering_runtime.loop_lag import LoopLag
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.request_limits import RequestLimits
from treering_runtime.settings import load, names
from treering_runtime.sink import SinkServicer

SERVICES: Mapping[Literal["public", "private"], Sequence[str]] = {
    "public": ("treering.v1.QueryService",),
    "private": ("treering.v1.QueryAdminService", "treering.v1.SinkService"),
}
"""What each plane serves."""


async def serve(settings: QuerySettings) -> None:
    """Runs until a signal comes."""
    registry = telemetry.new_registry()
    LoopLag(asyncio.get_running_loop(), registry)
    directory = DataDir(settings.data_dir, "treering-query", version=1)
    settings = settings.model_copy(update={"data_dir": directory.path})
    inner = InnerPlane(settings)
    engine = Engine.from_settings(settings)
    store = Store(directory.path, engine, HotBounds(settings.hot_max_rows, settings.hot_max_bytes, settings.hot_max_age_s), registry)
    await store.open()
    embed = EmbedClient(inner.peer("EMBED_ADDRESS", settings.embed_address), store.ids)
    sql = SqlRunner(store, directory.path / "segments", SqlBounds.from_settings(settings), Meaning(embed))
    await sql.open()
    StoreMetrics(store, registry)
    metrics = MetricsServer(settings.metrics_listen, registry, names(settings.metrics_hosts))
    keeper = Keeper.from_settings(store, settings, embed.forget)
    planes = Planes(settings, inner, registry, SERVICES, limits=RequestLimits(LIMITS), inner_window_bytes=SINK_WINDOW_BYTES)
    bounds = StreamBounds.from_settings(settings)
    servicer = QueryServicer(store, sql, Status(store, settings), Searcher(store, embed), Meaning(embed), bounds=bounds)
    add_QueryServiceServicer_to_server(servicer, planes.public.grpc)
    add_QueryAdminServiceServicer_to_server(servicer, planes.inner.grpc)
    add_SinkServiceServicer_to_server(SinkServicer(store, registry, settings.data_dir), planes.inner.grpc)
    await planes.start()
    server.announce("query", planes.public, planes.inner, metrics)
    await server.until_signalled()
    store.board.drain()
    await planes.stop(settings.drain_seconds)
    servicer.close()
    await keeper.close()
    metrics.close()
    await sql.close()
    await embed.close()
    await store.close()
    engine.close()
    directory.close()


if __name__ == "__main__":
    try:
        loaded = load(QuerySettings)
    except StartError as error:
        sys.exit(f"treering query: {error}")
    sys.exit(server.run(loaded, lambda: serve(loaded)))
