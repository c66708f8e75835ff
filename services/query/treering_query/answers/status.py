"""What the service says about itself to people (`GetQueryStatus`) and to Prometheus."""

from collections.abc import Iterable

import pyarrow.compute as pc
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.patterns.counts import total_counts
from treering_query.settings import QuerySettings
from treering_query.store.store import Store
from treering_query.view import hot
from treering_runtime.clocks import wall_ns
from treering_runtime.patterns import MASK_VERSION, NO_PATTERN


class Status:
    """Reads the store's present view."""

    def __init__(self, store: Store, settings: QuerySettings) -> None:
        self._store = store
        self._settings = settings
        self._started = wall_ns()
        self._deletes_by_age = bool(settings.retention_age_s or any(settings.retention_service_age_s.values()))

    def answer(self) -> pb.GetQueryStatusResponse:
        """The contract's answer."""
        view = self._store.view
        first, last = self._times()
        hot_rows = hot.total_rows(view.hot)
        free = self._store.disk_free_bytes()
        return pb.GetQueryStatusResponse(
            seen=view.positions(),
            record_count=hot_rows + sum(segment.row_count for segment in view.segments),
            hot_record_count=hot_rows,
            hot_bytes=hot.total_bytes(view.hot),
            segment_count=len(view.segments),
            segment_bytes=sum(segment.size_bytes for segment in view.segments),
            pattern_count=view.pattern_count,
            first_time_unix_nano=first,
            last_time_unix_nano=last,
            quarantined_count=sum(self._store.board.get(log_id).quarantined for log_id, _ in view.seen),
            mask_version=MASK_VERSION,
            start_time_unix_nano=self._started,
            limits=self._limits(),
            problem=self._problem(hot_rows, free),
            disk_free_bytes=free,
            holes=self._store.board.holes.messages,
            retention_problem=self._store.clock.problem if self._deletes_by_age else "",
            retention_time_unix_nano=self._store.clock.now(),
            without_pattern_count=self._without_pattern(),
        )

    def _without_pattern(self) -> int:
        if not self._store.view.has_records_without_pattern:
            return 0
        with self._store.snapshot() as snapshot:
            return total_counts(snapshot, [NO_PATTERN]).get(NO_PATTERN, 0)

    def _problem(self, hot_rows: int, free: int) -> str:
        if not (reason := self._store.seal_problem):
            return ""
        return (
            f"records cannot be sealed ({reason}): {hot_rows:,} are only in memory and in the log, and no new ones are taken once memory "
            f"is full; look at the disk of the query service, which has {free:,} bytes free"
        )

    def _times(self) -> tuple[int, int]:
        view = self._store.view
        bounds = [(segment.first_time, segment.last_time) for segment in view.segments]
        # Segments know their times; chunks are looked at.
        for chunk in view.hot:
            found = pc.min_max(chunk.table.column("time"))
            bounds.append((found["min"].value, found["max"].value))
        return min((first for first, _ in bounds), default=0), max((last for _, last in bounds), default=0)

    def _limits(self) -> dict[str, int]:
        fixed = {name.lower(): value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
        # What an operator has set; the other limits are the same in every installation.
        names = ("hot_max_rows", "hot_max_bytes", "query_memory_bytes", "sql_memory_bytes", "sql_max_result_bytes")
        return fixed | {name: getattr(self._settings, name) for name in names}


class StoreMetrics(Collector):
    """Gauges of the store, read when Prometheus asks."""

    def __init__(self, store: Store, registry: CollectorRegistry) -> None:
        self._store = store
        # Read when Prometheus asks, on the thread of the metrics: nothing is counted twice, nothing has to be kept up.
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        view = self._store.view
        yield GaugeMetricFamily("treering_query_hot_rows", "Records in memory", hot.total_rows(view.hot))
        yield GaugeMetricFamily("treering_query_hot_bytes", "Bytes of records in memory", hot.total_bytes(view.hot))
        yield GaugeMetricFamily("treering_query_hot_chunks", "Arrow chunks in memory", len(view.hot))
        yield GaugeMetricFamily("treering_query_segments", "Sealed segments", len(view.segments))
        size = sum(segment.size_bytes for segment in view.segments)
        yield GaugeMetricFamily("treering_query_segment_bytes", "Bytes of sealed segments", size)
        yield GaugeMetricFamily("treering_query_patterns", "Known patterns", view.pattern_count)
