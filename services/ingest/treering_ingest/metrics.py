"""What Prometheus is told about ingest."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from treering.v1.ingest_pb2 import RejectionReason
from treering_ingest.disk import DiskGuard
from treering_ingest.intake import Intake, Receipt
from treering_ingest.sink_state import SinkState

# Powers of ten: a group is one batch on a quiet log, and as much as 8 MiB hold on a busy one.
_RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class IngestMetrics:
    """Counters of the door and of the log; satisfies `IntakeObserver` and `CommitObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter("treering_ingest_records_accepted", "Records taken into the log", registry=registry)
        self._bytes = Counter("treering_ingest_bytes_accepted", "Bytes of batches taken into the log", unit="bytes", registry=registry)
        self._duplicates = Counter("treering_ingest_records_duplicate", "Records recognised as repeats, not stored", registry=registry)
        self._rejected = Counter("treering_ingest_records_rejected", "Records left out of their batch", ["reason"], registry=registry)
        self._group = Histogram("treering_ingest_group_records", "Records per group commit", buckets=_RECORDS, registry=registry)
        self._latency = Histogram(
            "treering_ingest_commit_seconds", "From staging to durable, oldest batch of each group", buckets=_SECONDS, registry=registry
        )
        self._sync_seconds = Histogram("treering_ingest_fsync_seconds", "Duration of syncs of the log", buckets=_SECONDS, registry=registry)

    def received(self, receipt: Receipt, size_bytes: int) -> None:
        """As the protocol says."""
        # Not by its counts: a repeat of a batch whose records are all left out has no duplicates, and brings nothing new either.
        if receipt.is_repeat:
            self._duplicates.inc(receipt.duplicate_count)
            return
        self._accepted.inc(receipt.accepted_count)
        self._bytes.inc(size_bytes)
        for rejection in receipt.rejections:
            self._rejected.labels(reason_label(rejection.reason)).inc()

    def synced(self, seconds: float) -> None:
        """As the protocol says."""
        # Called on the log's thread. A histogram of prometheus_client has a lock of its own.
        self._sync_seconds.observe(seconds)

    def committed(self, records: int, size_bytes: int, seconds: float) -> None:
        """As the protocol says."""
        del size_bytes
        self._group.observe(records)
        self._latency.observe(seconds)


def reason_label(reason: RejectionReason.ValueType) -> str:
    """`message_empty` and the like."""
    return RejectionReason.Name(reason).removeprefix("REJECTION_REASON_").lower()


class StateCollector(Collector):
    """Gauges that are read when Prometheus asks.

    Args:
        intake: The door.
        disk: Free space.
        sinks: Every configured sink.
    """

    def __init__(self, intake: Intake, disk: DiskGuard, sinks: Sequence[SinkState]) -> None:
        self._intake = intake
        self._disk = disk
        self._sinks = sinks

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        # Runs on the metrics server's thread, beside the event loop and the log's thread. It reads values that are replaced as a whole.
        log, committer = self._intake.committer.log, self._intake.committer
        state = log.state
        yield GaugeMetricFamily("treering_ingest_log_end_offset", "One past the newest durable offset", log.durable_offset)
        yield GaugeMetricFamily("treering_ingest_log_start_offset", "The oldest offset in the log", log.start_offset)
        yield GaugeMetricFamily("treering_ingest_log_bytes", "Bytes of segments", state.size_bytes)
        yield GaugeMetricFamily("treering_ingest_segments", "Segment files", state.part_count)
        yield GaugeMetricFamily("treering_ingest_disk_free_bytes", "Free bytes on the log's disk", self._disk.free_bytes)
        yield GaugeMetricFamily("treering_ingest_producers", "Producers that are remembered", self._intake.producer_count)
        yield GaugeMetricFamily("treering_ingest_streams", "Open upload streams", self._intake.stream_count)
        yield GaugeMetricFamily("treering_ingest_waiting_bytes", "Bytes of batches that wait for the disk", committer.waiting_bytes)
        yield GaugeMetricFamily("treering_ingest_accepting", "1 while records are accepted", float(self._intake.refusal() is None))
        # A counter of the log, not of the registry: it has the syncs of new segments and of footers, too.
        yield CounterMetricFamily("treering_ingest_fsyncs", "Syncs of the log", state.sync_count)
        yield self._by_sink("sink_connected", "1 while the delivery stream is up", lambda sink: float(sink.connected))
        yield self._by_sink(
            "sink_ahead",
            "1 while the sink claims what was never delivered to it and is cut off",
            lambda sink: float(sink.ahead is not None),
        )
        yield self._by_sink("sink_lag_records", "Durable records that the sink does not answer for yet", self._lag)
        yield self._by_sink(
            "sink_releasable_offset", "Everything below is safe in the sink", lambda sink: sink.progress.releasable_end_offset
        )
        yield self._by_sink("sink_quarantined_records", "Records that the sink set aside", lambda sink: sink.progress.quarantined_count)

    def _lag(self, sink: SinkState) -> float:
        return lag_records(sink, self._intake.committer.log.durable_offset)

    def _by_sink(self, name: str, documentation: str, value: Callable[[SinkState], float]) -> Metric:
        family = GaugeMetricFamily(f"treering_ingest_{name}", documentation, labels=["sink"])
        for sink in self._sinks:
            family.add_metric([sink.name], value(sink))
        return family


def lag_records(sink: SinkState, end_offset: int) -> int:
    """Durable records that are not in the sink's answers yet."""
    # Against what is visible: what a sink has taken and nobody can find yet is lag, too.
    return max(0, end_offset - sink.progress.visible_end_offset)
