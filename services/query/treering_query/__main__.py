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
    # First of all: what blocks the loop during the start is seen as well.
    LoopLag(asyncio.get_running_loop(), registry)
    # The lock before everything that reads or writes in the directory.
    directory = DataDir(settings.data_dir, "treering-query", version=1)
    # The directory may be one inside of the named one; from here on all use that.
    settings = settings.model_copy(update={"data_dir": directory.path})
    inner = InnerPlane(settings)
    engine = Engine.from_settings(settings)
    store = Store(directory.path, engine, HotBounds(settings.hot_max_rows, settings.hot_max_bytes, settings.hot_max_age_s), registry)
    # A damaged store ends the start before anything listens.
    await store.open()
    embed = EmbedClient(inner.peer("EMBED_ADDRESS", settings.embed_address), store.ids)
    sql = SqlRunner(store, directory.path / "segments", SqlBounds.from_settings(settings), Meaning(embed))
    # The zygote forks from a process of its own, so it does not matter what is loaded here by now.
    await sql.open()
    StoreMetrics(store, registry)
    metrics = MetricsServer(settings.metrics_listen, registry, names(settings.metrics_hosts))
    # Begins at once: what retention has to remove makes room before the deliveries come.
    keeper = Keeper.from_settings(store, settings, embed.forget)
    planes = Planes(settings, inner, registry, SERVICES, limits=RequestLimits(LIMITS), inner_window_bytes=SINK_WINDOW_BYTES)
    bounds = StreamBounds.from_settings(settings)
    servicer = QueryServicer(store, sql, Status(store, settings), Searcher(store, embed), Meaning(embed), bounds=bounds)
    add_QueryServiceServicer_to_server(servicer, planes.public.grpc)
    add_QueryAdminServiceServicer_to_server(servicer, planes.inner.grpc)
    add_SinkServiceServicer_to_server(SinkServicer(store, registry, settings.data_dir), planes.inner.grpc)
    # Last: who can reach the service can use all of it.
    await planes.start()
    server.announce("query", planes.public, planes.inner, metrics)
    await server.until_signalled()
    # Before the planes stop: streams without an end finish by themselves, and callers learn where to resume.
    store.board.drain()
    # From here on nobody asks and nothing is delivered. What follows may be closed in any caller's absence.
    await planes.stop(settings.drain_seconds)
    servicer.close()
    # Before the store: a turn of upkeep uses it.
    await keeper.close()
    metrics.close()
    await sql.close()
    # After the keeper, which asks it to forget patterns.
    await embed.close()
    await store.close()
    # After the store, whose questions run on its threads.
    engine.close()
    # The lock last: until here the files are this process's.
    directory.close()


if __name__ == "__main__":
    try:
        loaded = load(QuerySettings)
    except StartError as error:
        sys.exit(f"treering query: {error}")
    sys.exit(server.run(loaded, lambda: serve(loaded)))
