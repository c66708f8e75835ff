"""What the store says about itself to Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from treering_query.store.store import Store
from treering_query.view import hot


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
