"""The service put together: registry, sink, meaning and server, and the tasks that run beside calls."""

import asyncio

from prometheus_client import CollectorRegistry

from treering.v1 import admin_pb2_grpc, embed_pb2_grpc, sink_pb2_grpc
from treering_embed.encoder.models import Models, StoredModels
from treering_embed.indexing.meaning import EngineLifecycle
from treering_embed.indexing.reindexing import Reindexer
from treering_embed.registry.book import PatternBook, today
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.ledgers import CurrentLedger, SuccessorLedger
from treering_embed.registry.metrics import EmbedMetrics
from treering_embed.registry.registry import Registry
from treering_embed.request_limits import LIMITS
from treering_embed.service import EmbedServicer
from treering_embed.settings import EmbedSettings
from treering_embed.sink.sink import EmbedSink
from treering_runtime.clocks import SteadyClock
from treering_runtime.crash_notes import CrashNotes
from treering_runtime.limits import SINK_WINDOW_BYTES
from treering_runtime.patterns import PatternIds
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.request_limits import RequestLimits
from treering_runtime.service import first_of
from treering_runtime.sink import SinkServicer

EMBED_SERVICE = "treering.v1.EmbedService"
ADMIN_SERVICE = "treering.v1.EmbedAdminService"
SINK_SERVICE = "treering.v1.SinkService"
REGISTRY_FILE = "registry.sqlite"
CRASH_NOTES_FILE = "reading"


class Application:
    """A `treering_runtime.service.Service`: it takes records as soon as it serves, and answers by meaning once its model is there."""

    def __init__(self, settings: EmbedSettings, collector: CollectorRegistry, *, models: Models | None = None) -> None:
        # Before the registry: wrong files of the inner plane are told without a look at the data.
        inner = InnerPlane(settings)
        registry = Registry(settings.data_dir / REGISTRY_FILE)
        # From the registry, before the first delivery: a stored pattern must keep its id against whatever claims it.
        clock, ids = SteadyClock(), PatternIds(registry.kinds())
        summary = registry.summary(today(clock()))
        book = PatternBook(summary, settings.max_patterns, settings.max_new_patterns_per_day, clock, ids=ids)
        self._kept = Kept(
            registry, CurrentLedger(registry.db), SuccessorLedger(registry.db), Background("registry"), book, EmbedMetrics(collector)
        )
        # `next_offsets` are durable: notes about records below them are dropped, as nothing there is read again.
        self.sink = EmbedSink(self._kept, summary, CrashNotes(settings.data_dir / CRASH_NOTES_FILE, summary.next_offsets))
        self.meaning = EngineLifecycle(settings, self._kept, self.sink, collector, models or StoredModels(settings))
        self.reindexer = Reindexer(settings, self._kept, self.meaning)
        self.planes = Planes(
            settings,
            inner,
            collector,
            {"public": [EMBED_SERVICE], "private": [EMBED_SERVICE, ADMIN_SERVICE, SINK_SERVICE]},
            limits=RequestLimits(LIMITS),
            inner_window_bytes=SINK_WINDOW_BYTES,
        )
        self.server, private = self.planes.public, self.planes.inner
        self._servicer = servicer = EmbedServicer(settings, self._kept, self.meaning, self.reindexer, self.sink.board)
        embed_pb2_grpc.add_EmbedServiceServicer_to_server(servicer, self.server.grpc)
        embed_pb2_grpc.add_EmbedServiceServicer_to_server(servicer, private.grpc)
        admin_pb2_grpc.add_EmbedAdminServiceServicer_to_server(servicer, private.grpc)
        sink_pb2_grpc.add_SinkServiceServicer_to_server(SinkServicer(self.sink, collector, settings.data_dir), private.grpc)

    async def start(self) -> None:
        """Takes records from here on."""
        # Before the port is open: to an empty board every log would begin anew.
        await self.sink.restore()
        await self.planes.start(ready=False)
        # Not ready for searches, ready for deliveries: records are taken while the model is still loaded.
        await self.planes.inner.set_ready(SINK_SERVICE, ready=True)

    async def run(self) -> None:
        """Commits, prepares and indexes; whatever fails for good among them ends it by its exception."""
        await first_of(self.sink.commit_forever(), self._mean_forever(), self._say_ready())

    async def _mean_forever(self) -> None:
        indexer, successor = await self.meaning.prepare()
        # Noted in the registry before the reindexer begins, so that it finds the order as if it had been interrupted.
        if successor:
            await self.reindexer.begin(successor)
        await first_of(indexer.run_forever(), self.reindexer.run_forever(indexer), self.meaning.make_room_forever())

    async def _say_ready(self) -> None:
        """The process serves once questions are answered or refused for a reason, its services once searches are answered.

        Never ends: that would end the service.
        """
        await self.meaning.answers.wait()
        if not self.meaning.searches.is_set():
            await self.planes.set_ready("", ready=True)
            await self.meaning.searches.wait()
        await self.planes.inner.set_ready(ADMIN_SERVICE, ready=True)
        for name in (EMBED_SERVICE, ""):  # the process last: who has waited for it may ask for searches next
            await self.planes.set_ready(name, ready=True)
        await asyncio.Event().wait()

    async def stop(self, grace_s: float) -> None:
        """Drains calls, commits what was taken, closes everything in reverse."""
        # First, so that no delivery adds to what is committed below.
        await self.planes.stop(grace_s)
        # Everything below is closed even when the disk refuses this: what was not committed comes again.
        try:
            await self.sink.commit()
        finally:
            # Work whose caller is gone still uses the registry's thread and the index.
            await self._kept.tasks.ended()
            self.sink.close()
            self._servicer.close()
            self.meaning.close()
            # The thread before the connection that it uses.
            self._kept.registry_thread.close()
            self._kept.registry.close()
