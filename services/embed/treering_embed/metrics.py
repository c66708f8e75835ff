"""What Prometheus sees of the embedding service, besides calls and the model's runs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from treering_embed.book import PatternBook


class EmbedMetrics:
    """Figures of the sink, the indexer and searches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("treering_embed_records", "Records taken from the log", registry=registry)
        self.indexed = Counter("treering_embed_indexed_patterns", "Patterns that got their vector", registry=registry)
        self.index_batches = Counter("treering_embed_index_batches", "Batches of patterns written to the index", registry=registry)
        self.faults = Counter("treering_embed_index_faults", "Failed attempts to write the index, tried again", registry=registry)
        self.search_seconds = Histogram(
            "treering_embed_search_seconds", "Searches without waiting for the model, seconds", registry=registry
        )
        self._patterns = Gauge("treering_embed_patterns", "Patterns in the registry", registry=registry)
        self._pending = Gauge("treering_embed_pending_patterns", "Patterns that wait for their vector", registry=registry)
        self._keyword_only = Gauge("treering_embed_keyword_only_patterns", "Patterns of today over a cap", registry=registry)

    def observe(self, book: PatternBook) -> None:
        """Takes the counts of the book."""
        self._patterns.set(book.pattern_count)
        self._pending.set(book.pending_count)
        self._keyword_only.set(book.keyword_only_count)
