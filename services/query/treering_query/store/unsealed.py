"""What the next seal takes along beside the hot records: texts of new patterns, and quarantined records."""

import time
from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from treering_query.values.schemas import PATTERNS_SCHEMA
from treering_runtime.quarantine import Change, Quarantined, records_by_log


class Unsealed:
    """Gathers what came with deliveries until a seal begins. Belongs to one event loop.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._patterns: list[pa.Table] = []
        self._quarantined: list[Quarantined] = []
        self._counts: Counter[int] = Counter()
        # Of the oldest: later deliveries must not put off the seal.
        self._since: float | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the quarantined records, which are held in memory until they are sealed."""
        return sum(len(item.payload) for item in self._quarantined)

    @property
    def quarantined(self) -> Counter[int]:
        """Records that were quarantined since the last seal began, by log_id."""
        return self._counts

    @property
    def age_s(self) -> float | None:
        """Seconds since the first delivery after the last seal began; None without one."""
        return None if self._since is None else self._clock() - self._since

    def add(self, quarantined: list[Quarantined]) -> None:
        """A delivery has come, with records that could not be read, or none."""
        self._quarantined += quarantined
        self._counts += records_by_log(quarantined)
        # Also for a delivery without a readable record: its progress and quarantine wait for a seal, too.
        if self._since is None:
            self._since = self._clock()

    def add_patterns(self, patterns: pa.Table) -> None:
        """Rows of `PATTERNS_SCHEMA` for patterns that were not known."""
        self._patterns.append(patterns)

    def pattern_columns(self) -> list[pa.ChunkedArray]:
        """The ids of the gathered patterns."""
        return [table.column("pattern_id") for table in self._patterns]

    def take(self) -> tuple[pa.Table, Change]:
        """Everything that was gathered, for a seal; from now on the next one is gathered for."""
        # Without a pattern there still is a table, of no rows.
        patterns = pa.concat_tables([PATTERNS_SCHEMA.empty_table(), *self._patterns])
        change = Change(tuple(self._quarantined))
        # New lists, and not cleared: the batch keeps what it was given, however often it is tried.
        self._patterns, self._quarantined, self._counts, self._since = [], [], Counter(), None
        return patterns, change
