"""What the store holds at one moment, as one immutable value that is replaced whole."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering.v1.log_pb2 import Position
from treering_query.filters import Predicate
from treering_query.pattern_ids import Ids, among
from treering_query.store.hot import COUNTS_SCHEMA, Chunk
from treering_query.templates.joining import NO_TEMPLATES, Templates
from treering_runtime.patterns import MASK_VERSION, NO_PATTERN

if TYPE_CHECKING:
    from treering_query.store.session import Session

PATTERNS_SCHEMA = pa.schema(
    [
        pa.field("pattern_id", pa.uint64(), nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("example", pa.string(), nullable=False),
        pa.field("first_log_id", pa.uint64()),
        pa.field("first_offset", pa.uint64()),
    ]
)
"""A row for each known pattern, with the position of its first record; null where that was not kept, by stores of older versions.

Records whose pattern has no id of its own (`NO_PATTERN`) share a row, while there are any, so that whatever joins patterns counts them.
"""

NO_PATTERN_TEXT = "(records that belong to no pattern, because another one has their id)"
"""What the row says that these share."""

LISTED_SCHEMA = PATTERNS_SCHEMA.append(pa.field("template_id", pa.uint64(), nullable=False)).append(
    pa.field("template_text", pa.string(), nullable=False)
)
"""The same with the template that the pattern belongs to."""


_AT_ONCE = 256
"""Patterns that are looked for together."""


def kinds(patterns: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Id, service and text of each row of `PATTERNS_SCHEMA`."""
    return zip(*(patterns.column(name).to_pylist() for name in ("pattern_id", "service", "text")), strict=True)


@dataclass(frozen=True)
class LogRange:
    """A run of offsets of one log."""

    log_id: int
    first_offset: int
    end_offset: int


@dataclass(frozen=True)
class Expired(LogRange):
    """Some of a run of offsets that retention removed."""

    row_count: int


_PACKED = 8
"""How much larger records are in memory than in a segment's file, about; for segments that do not say."""


@dataclass(frozen=True)
class Segment:
    """One sealed Parquet file and what is known of it without reading it. Times are nanoseconds since 1970."""

    segment_id: int
    path: Path
    row_count: int
    size_bytes: int
    first_time: int
    last_time: int
    first_arrival_time: int
    last_arrival_time: int
    ranges: tuple[LogRange, ...]
    services: frozenset[str] = frozenset()
    pattern_ids: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64), repr=False, compare=False)
    """Sorted."""
    checksum: int | None = None
    """`checksums.checksum_of` the file; None when it was sealed without."""
    mask_version: int = MASK_VERSION
    """The masking rules that the pattern ids follow; 0 when they differ from record to record."""
    data_bytes: int | None = None
    """What its records take in memory; None when it was sealed by a version that did not keep it."""
    sealed_time: int = field(kw_only=True)
    """When its newest record was sealed, by the retention clock: its age counts from here. The times of arrival are those of the clock of
    another machine, which may be wrong."""

    @property
    def memory_bytes(self) -> int:
        """What its records take in memory, about."""
        return self.size_bytes * _PACKED if self.data_bytes is None else self.data_bytes

    def may_match(self, predicate: Predicate) -> bool:
        """False when no record of it can fulfil the predicate."""
        if self.last_time < predicate.start_time or self.first_time >= predicate.end_time:
            return False
        if predicate.services is not None and self.services.isdisjoint(predicate.services):
            return False
        return predicate.patterns is None or self.has_any(predicate.patterns)

    def has_any(self, wanted: Ids) -> bool:
        """True when it has a record of one of these patterns, which ascend. Some at a time: of many, one of the first is mostly there."""
        few, many = sorted((wanted, self.pattern_ids), key=len)
        return any(among(few[start : start + _AT_ONCE], many).any() for start in range(0, len(few), _AT_ONCE))


@dataclass(frozen=True)
class View:
    """Everything that is visible: sealed segments, hot chunks, patterns."""

    segments: tuple[Segment, ...] = ()
    sealing: tuple[Chunk, ...] = ()
    """Hot chunks on their way into a segment; visible as before."""
    active: tuple[Chunk, ...] = ()
    """Hot chunks that grow."""
    sealed_counts: pa.Table = field(default_factory=COUNTS_SCHEMA.empty_table)
    """Statistics of all segments together."""
    patterns: tuple[pa.Table, ...] = ()
    """Tables of `LISTED_SCHEMA`, no pattern twice, in the order in which they came."""
    templates: Templates = NO_TEMPLATES
    """What the last pass over the patterns joined; by now there may be more patterns."""
    seen: tuple[tuple[int, int], ...] = ()
    """(log_id, visible end) of each log."""
    expired: tuple[Expired, ...] = ()
    """What retention has removed since the store was made: a check can tell it from what was lost."""
    idle: "deque[Session]" = field(default_factory=deque, init=False, repr=False, compare=False)
    """Sessions that have this view's relations and wait for the next question; they go with the view."""

    @cached_property
    def has_records_without_pattern(self) -> bool:
        """Whether the service of some records is not that of their pattern, because they have none."""
        return any(pc.index(table.column("pattern_id"), NO_PATTERN).as_py() >= 0 for table in self.patterns)

    @property
    def pattern_count(self) -> int:
        """Known patterns."""
        rows: int = sum(table.num_rows for table in self.patterns)
        return rows - self.has_records_without_pattern

    @property
    def hot(self) -> tuple[Chunk, ...]:
        """All hot chunks."""
        return (*self.sealing, *self.active)

    def listed(self) -> pa.Table:
        """All patterns as one table of `LISTED_SCHEMA`."""
        return pa.concat_tables([LISTED_SCHEMA.empty_table(), *self.patterns])

    def positions(self) -> list[Position]:
        """What is visible, for answers."""
        return [Position(log_id=log_id, offset=offset) for log_id, offset in self.seen]
