"""Records that belong to no pattern because another one has their id: somebody searched for such a text, and operators must know."""

import structlog
from prometheus_client import CollectorRegistry, Counter

_LOG = structlog.get_logger()


class WithoutPattern:
    """Counts them and raises the alarm, which names no content: it is the forger's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "treering_query_records_without_pattern", "Records that belong to no pattern, as another has their id", registry=registry
        )

    def add(self, records: int) -> None:
        """So many records have come."""
        if records:
            # In steps of whole deliveries: the alarm below is one line for each, however many records a sender makes.
            self._records.inc(records)
            _LOG.error("another pattern has the id of records; they are found by their words and by SQL only", records=records)
