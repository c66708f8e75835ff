"""The answer to GetIngestStatus."""

from collections.abc import Sequence
from dataclasses import dataclass

from treering.inner import InnerAddress
from treering.v1 import ingest_pb2 as pb
from treering.v1.ingest_pb2 import GetIngestStatusResponse, SinkStatus
from treering_ingest import limits
from treering_ingest.disk import DiskGuard
from treering_ingest.durable_log import IN_MEMORY, DurableLog
from treering_ingest.intake import Intake
from treering_ingest.metrics import lag_records
from treering_ingest.settings import Durability, IngestSettings
from treering_ingest.sink_state import SinkState

_POLICIES = {Durability.ALWAYS: pb.DURABILITY_ALWAYS, Durability.INTERVAL: pb.DURABILITY_INTERVAL}


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Collects the state of the log and its sinks."""

    settings: IngestSettings
    intake: Intake
    disk: DiskGuard
    sinks: Sequence[SinkState]
    start_time_unix_nano: int

    def now(self) -> GetIngestStatusResponse:
        """The state at this moment."""
        log, refusal = self.intake.committer.log, self.intake.refusal()
        # Read once: the numbers below belong together, although the log goes on meanwhile on its own thread.
        state, end = log.state, log.durable_offset
        return GetIngestStatusResponse(
            log_id=log.log_id,
            start_offset=log.start_offset,
            end_offset_exclusive=end,
            segment_count=state.part_count,
            disk_used_bytes=state.size_bytes,
            disk_free_bytes=self.disk.free_bytes,
            disk_reserve_bytes=self.disk.reserve_bytes,
            producer_count=self.intake.producer_count,
            durability=_durability(self.settings, log),
            sinks=[_sink_status(sink, end) for sink in self.sinks],
            start_time_unix_nano=self.start_time_unix_nano,
            refusing_because=refusal.message if refusal else "",
            limits=limits_in_force(self.settings),
        )


def _durability(settings: IngestSettings, log: DurableLog) -> pb.Durability.ValueType:
    """What an acknowledgement means: the policy, where a sync of the log reaches the disk; otherwise what the log itself promises."""
    # The log's own promise first: no policy makes more of it.
    return pb.DURABILITY_MEMORY if log.durability == IN_MEMORY else _POLICIES[settings.durability]


def _sink_status(sink: SinkState, end_offset: int) -> SinkStatus:
    progress = sink.progress
    return SinkStatus(
        name=sink.name,
        # What people may see: the path of a socket tells a stranger how the host is laid out.
        address=InnerAddress.parse(sink.address).public_text,
        connected=sink.connected,
        last_error=sink.last_error,
        next_offset=progress.next_offset,
        visible_end_offset=progress.visible_end_offset,
        releasable_end_offset=progress.releasable_end_offset,
        lag_records=lag_records(sink, end_offset),
        quarantined_count=progress.quarantined_count,
        skipped_count=progress.skipped_count,
        is_ahead=sink.ahead is not None,
        is_refusing=sink.refusing,
    )


def limits_in_force(settings: IngestSettings) -> dict[str, int]:
    """Every whole-numbered limit, by its name in `limits.py`, and those that settings may change."""
    # By reflection, so that a limit that is added is reported without a second list.
    fixed = {name.lower(): value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
    return fixed | {"segment_bytes": settings.segment_bytes, "disk_reserve_bytes": settings.disk_reserve_bytes}
