"""The running service: start-up, then the same in reverse."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from treering_ingest.commit_policy import CommitPolicy
from treering_ingest.committer import Committer
from treering_ingest.delivered import DeliveredNote
from treering_ingest.delivery import Delivery
from treering_ingest.disk import DiskGuard, free_bytes
from treering_ingest.durable_log import DiskFullError, DurableLog, LogFailedError, NoDescriptorError
from treering_ingest.intake import Intake
from treering_ingest.limits import COMPANY_S
from treering_ingest.metrics import IngestMetrics, StateCollector
from treering_ingest.request_limits import LIMITS
from treering_ingest.retention import Retention
from treering_ingest.service import ADMIN_SERVICE_NAME, SERVICE_NAME, IngestHandlers
from treering_ingest.settings import IngestSettings, parse_sinks
from treering_ingest.status import StatusReport
from treering_ingest.wal import LogConfig, PosixFileSystem, open_log
from treering_runtime.background import Background
from treering_runtime.clocks import wall_ns
from treering_runtime.data_dir import make_directory
from treering_runtime.errors import ServiceError, StartError, StopError
from treering_runtime.own_thread import on_own_thread
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.request_limits import RequestLimits
from treering_runtime.service import first_of
from treering_runtime.wakeup import Wakeup

_FAILED_GRACE_S = 1.0
"""The longest drain of a service whose disk has failed."""
_UPLOADS_MAY_END = 0.6
"""Part of the drain in which uploads may still end by themselves; the rest is for telling the others how far they came."""
_LINGER_S = 0.5
"""How long connections stay open after their streams were ended: a peer that still writes when its connection is closed is reset, and
loses what it was told last."""


class IngestProcess:
    """A `treering_runtime.service.Service`: ingest with everything around it.

    States: *serving* from `start` on; *stopped* after `stop`.
    """

    def __init__(self, settings: IngestSettings, registry: CollectorRegistry) -> None:
        self.settings = settings
        self.registry = registry
        self._background = Background()

    async def run(self) -> None:
        """Returns never.

        Raises:
            StopError: The disk or a task of the service failed; what was acknowledged until then is safe.
        """
        await first_of(self.committer.wait_failed(), self._background.wait_failed())
        if failure := self.committer.failure:
            raise StopError(f"{failure}; look at the disk, then start again: what was acknowledged is in the log")
        fault = self._background.failure
        raise StopError(f"{fault}; the log of the service has the whole story. Start again: what was acknowledged is in the log")

    def _free_bytes(self) -> int:
        """Free space that nothing is going to be written to yet."""
        # Without what is staged, which will be written: statvfs does not know of it yet. Asked first: what is written between the two
        # lines is taken off twice, never not at all.
        waiting = self.committer.waiting_bytes
        return free_bytes(self.settings.data_dir) - waiting

    async def start(self) -> None:
        """Opens the log and serves."""
        # Settings before files: a wrong address ends the start before the log is read.
        inner = InnerPlane(self.settings)
        peers = {name: inner.peer("SINKS", address) for name, address in parse_sinks(self.settings.sinks).items()}
        self.planes = Planes(
            self.settings,
            inner,
            self.registry,
            {"public": [SERVICE_NAME], "private": [ADMIN_SERVICE_NAME]},
            limits=RequestLimits(LIMITS),
        )
        self.server = self.planes.public
        # On a thread: recovery reads up to a segment and more, and signals must be heard meanwhile.
        self.log = await on_own_thread("open", self._open_log)
        metrics = IngestMetrics(self.registry)
        self.committer = Committer(self.log, self._policy(), metrics)
        disk = DiskGuard(self._free_bytes, self.settings.disk_reserve_bytes)
        self.sinks_changed = Wakeup()
        # Before anything is served: the note refuses a log that lost its end, or its offsets would be given out again.
        self._note = DeliveredNote(self.settings.data_dir / "DELIVERED", self.log)
        self.deliveries = [Delivery(name, peer, self.committer, self.sinks_changed, note=self._note) for name, peer in peers.items()]
        sinks = [delivery.state for delivery in self.deliveries]
        self.intake = Intake(self.committer, disk, metrics, sink_ahead=self._sink_ahead)
        self.registry.register(StateCollector(self.intake, disk, sinks))
        self._handlers = IngestHandlers(self.intake, StatusReport(self.settings, self.intake, disk, sinks, wall_ns()))
        # Before the server starts: gRPC takes no handlers after that.
        self._handlers.register(self.server.grpc)
        self._handlers.register_admin(self.planes.inner.grpc)
        # Before the first call can come: a batch that is staged without it would wait for ever.
        self.committer.start()
        await self.planes.start()
        self._retention = Retention(
            self.committer, sinks, disk, min_age_s=self.settings.retain_min_seconds, min_bytes=self.settings.retain_min_bytes
        )
        # After the doors: a start that fails because an address is taken has called no sink.
        for delivery in self.deliveries:
            self._background.start(f"delivery to {delivery.state.name}", delivery.run())
        self._background.start("retention", self._retention.run())
        self._background.start("note of what was delivered", self._note.run())

    async def stop(self, grace_s: float) -> None:
        """Ends every stream within `grace_s` seconds so that each acknowledgement is true, then seals the log."""
        # After a failure of the disk nothing more is acknowledged, so there is nothing worth a long wait.
        grace_s = min(grace_s, _FAILED_GRACE_S) if self.committer.failure else grace_s
        until = time.monotonic() + grace_s
        # Health first, so that balancers send nobody new while those who are here finish.
        await self.planes.leave()
        had_streams = self.intake.stream_count > 0
        # Streams that never end by themselves end now, with all that they were told being true; uploads may still come to their end.
        self.intake.drain()
        await self._streams_ended(grace_s * _UPLOADS_MAY_END)
        # Then those that have not ended: they are told how far they came. After this nothing is staged any more.
        self.intake.close()
        await self._streams_ended(until - time.monotonic())
        if had_streams:
            await asyncio.sleep(min(_LINGER_S, max(0.0, until - time.monotonic())))
        await self.planes.stop(max(0.0, until - time.monotonic()))
        # Digests run on a thread of their own and read the log: no call waits for one any more.
        self._handlers.close()
        # Before the log is closed: deliveries read it, and retention deletes from it.
        await self._background.stop()
        # After the last delivery, which notes what it sends.
        self._note.close()
        # After everybody who stages: what is staged is made durable, then the log is sealed.
        await self.committer.stop()

    async def _streams_ended(self, grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                while self.intake.stream_count:
                    await self.intake.changed.wait()
        # Not an error: whoever has not ended by now is ended with the connections.
        except TimeoutError:
            return

    def _sink_ahead(self) -> ServiceError | None:
        # Only a claim beyond the end of the log, which may be true, stops uploads. Any other harms the sink alone.
        return next((ahead.error() for each in self.deliveries if (ahead := each.state.ahead) and ahead.stops_uploads), None)

    def _open_log(self) -> DurableLog:
        path = self.settings.data_dir / "wal"
        try:
            # The directory and its name are durable before a log is made in it: a synced file in a lost directory is lost.
            make_directory(path)
            return open_log(PosixFileSystem(path), LogConfig(segment_bytes=self.settings.segment_bytes))
        except NoDescriptorError as error:
            raise StartError(f"{error}: no file can be opened; close programs, or raise the limit (ulimit -n, fs.file-max)") from error
        except DiskFullError as error:
            raise StartError(f"{error}: there is no room to begin a segment of the log; free some space, then start again") from error
        except LogFailedError as error:
            raise StartError(f"{error}; look at the disk, then start again") from error
        except OSError as error:
            raise StartError(f"{path} cannot be used: {error.strerror}; check that this user owns it and may write there") from error

    def _policy(self) -> CommitPolicy:
        settings, linger_s = self.settings, self.settings.linger_ms / 1e3
        return CommitPolicy(settings.durability, settings.sync_interval_ms / 1e3, linger_s, min(linger_s, COMPANY_S))
