"""What Prometheus sees of the embedding service, besides calls and the model's runs."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from treering_embed.limits import MAX_TIMED_PATTERNS
from treering_embed.registry.book import PatternBook
from treering_runtime.telemetry import Freshness


class EmbedMetrics:
    """Figures of the sink, the indexer and searches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("treering_embed_records", "Records taken from the log", registry=registry)
        self.without_pattern = Counter(
            "treering_embed_records_without_pattern", "Records whose pattern has no id of its own, as another one has it", registry=registry
        )
        self.indexed = Counter("treering_embed_indexed_patterns", "Patterns that got their vector", registry=registry)
        self.index_batches = Counter("treering_embed_index_batches", "Batches of patterns written to the index", registry=registry)
        self.faults = Counter("treering_embed_index_faults", "Failed attempts to write the index, tried again", registry=registry)
        self.evicted = Counter("treering_embed_evicted_patterns", "Patterns that gave way to new ones", registry=registry)
        self.search_seconds = Histogram(
            "treering_embed_search_seconds", "Searches without waiting for the model, seconds", registry=registry
        )
        self._patterns = Gauge("treering_embed_patterns", "Patterns in the registry", registry=registry)
        self._pending = Gauge("treering_embed_pending_patterns", "Patterns that wait for their vector", registry=registry)
        self._keyword_only = Gauge("treering_embed_keyword_only_patterns", "Patterns of today over a cap", registry=registry)

        meaning = "a search by meaning finds a record whose pattern was new"
        self._new_freshness = Freshness("treering_embed_new_pattern_freshness_seconds", meaning, registry)
        self._arrivals: dict[int, int] = {}

    def admitted(self, pattern_ids: Iterable[int], arrival_time_unix_nano: int) -> None:
        """These patterns are new, and wait for their vectors; of too many only the first are timed."""
        for pattern_id in pattern_ids:
            # Only the first of a burst are timed: the dict must not grow with what a sender invents.
            if len(self._arrivals) < MAX_TIMED_PATTERNS:
                self._arrivals[pattern_id] = arrival_time_unix_nano

    def settled(self, pattern_ids: Iterable[int]) -> None:
        """These patterns have their vectors, or never will."""
        # A pattern that was restored from the registry, or that came while too many were timed, has no arrival here.
        for arrival in filter(None, (self._arrivals.pop(pattern_id, None) for pattern_id in pattern_ids)):
            self._new_freshness.reached(arrival)

    def forgotten(self, pattern_ids: Iterable[int]) -> None:
        """These patterns are timed no more."""
        for pattern_id in pattern_ids:
            self._arrivals.pop(pattern_id, None)

    def observe(self, book: PatternBook) -> None:
        """Takes the counts of the book."""
        self._patterns.set(book.pattern_count)
        self._pending.set(book.pending_count)
        self._keyword_only.set(book.keyword_only_count)
