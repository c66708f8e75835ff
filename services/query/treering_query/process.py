"""The query service put together: store, SQL, search, and the servers of both planes."""

from collections.abc import Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry

from treering.v1.admin_pb2_grpc import add_QueryAdminServiceServicer_to_server
from treering.v1.query_pb2_grpc import add_QueryServiceServicer_to_server
from treering.v1.sink_pb2_grpc import add_SinkServiceServicer_to_server
from treering_query.answers.metrics import StoreMetrics
from treering_query.answers.status import Status
from treering_query.meaning.embed_client import EmbedClient
from treering_query.meaning.meaning import MeaningClient
from treering_query.request_limits import LIMITS
from treering_query.search.searcher import Searcher
from treering_query.service import QueryServicer
from treering_query.settings import QuerySettings
from treering_query.sql.runner import SqlBounds, SqlRunner
from treering_query.store.deliveries import HotBounds
from treering_query.store.keeper import Keeper
from treering_query.store.store import Store
from treering_query.streams.bounds import StreamBounds
from treering_query.view.engine import SnapshotEngine
from treering_runtime.limits import SINK_WINDOW_BYTES
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.request_limits import RequestLimits
from treering_runtime.sink import SinkServicer

SERVICES: Mapping[Literal["public", "private"], Sequence[str]] = {
    "public": ("treering.v1.QueryService",),
    "private": ("treering.v1.QueryAdminService", "treering.v1.SinkService"),
}
"""What each plane serves."""


class QueryProcess:
    """A `treering_runtime.service.Service`."""

    def __init__(self, settings: QuerySettings, registry: CollectorRegistry) -> None:
        self._settings = settings
        inner, directory = InnerPlane(settings), settings.data_dir
        self._engine = SnapshotEngine.from_settings(settings)
        bounds = HotBounds(settings.hot_max_rows, settings.hot_max_bytes, settings.hot_max_age_s)
        self._store = store = Store(directory, self._engine, bounds, registry)
        self._embed = embed = EmbedClient(inner.peer("EMBED_ADDRESS", settings.embed_address), store.ids)
        self._sql = SqlRunner(store, directory / "segments", SqlBounds.from_settings(settings), MeaningClient(embed))
        StoreMetrics(store, registry)
        self.planes = Planes(settings, inner, registry, SERVICES, limits=RequestLimits(LIMITS), inner_window_bytes=SINK_WINDOW_BYTES)
        streams = StreamBounds.from_settings(settings)
        searcher = Searcher(store, embed)
        self._servicer = servicer = QueryServicer(store, self._sql, Status(store, settings), searcher, MeaningClient(embed), bounds=streams)
        add_QueryServiceServicer_to_server(servicer, self.planes.public.grpc)
        add_QueryAdminServiceServicer_to_server(servicer, self.planes.inner.grpc)
        add_SinkServiceServicer_to_server(SinkServicer(store, registry, directory), self.planes.inner.grpc)

    async def start(self) -> None:
        """Opens the store, then SQL, which reads it, then serves."""
        # A damaged store ends the start before anything listens.
        await self._store.open()
        # The zygote forks from a process of its own, so it does not matter what is loaded here by now.
        await self._sql.open()
        # Begins at once: what retention has to remove makes room before the deliveries come.
        self._keeper = Keeper.from_settings(self._store, self._settings, self._embed.forget)
        # Last: who can reach the service can use all of it.
        await self.planes.start()

    async def run(self) -> None:
        """Returns never.

        Raises:
            StopError: A task of the store failed. What else fails beside calls is tried again, and the status says so.
        """
        await self._store.work()

    async def stop(self, grace_s: float) -> None:
        """Lets go of the log, drains calls, then closes everything in reverse."""
        # Before the planes stop: streams without an end finish by themselves, and callers learn where to resume.
        self._store.board.drain()
        # From here on nobody asks and nothing is delivered.
        await self.planes.stop(grace_s)
        self._servicer.close()
        # Before the store: a turn of upkeep uses it.
        await self._keeper.close()
        await self._sql.close()
        # After the keeper, which asks it to forget patterns.
        await self._embed.close()
        # After the keeper and SQL, which read segments: the store's own seal may still be going on, and it is waited for.
        await self._store.close()
        # After the store, whose questions run on its threads.
        self._engine.close()
