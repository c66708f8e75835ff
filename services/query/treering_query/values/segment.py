"""Runs of offsets, and the sealed files that hold them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from treering_query.values.pattern_ids import Ids, among
from treering_query.values.predicate import Predicate
from treering_runtime.patterns import MASK_VERSION

_AT_ONCE = 256
"""Patterns that are looked for together."""


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


def in_both_forms(segments: Iterable["Segment"]) -> tuple[list[Path], list[Path]]:
    """The files of segments: those that have no column for resources, and those that have one. They are read apart."""
    forms: tuple[list[Path], list[Path]] = ([], [])
    for segment in segments:
        forms[segment.has_resources].append(segment.path)
    return forms


_PACKED = 8
"""How much larger records are in memory than in a segment's file, about; for segments that do not say."""


def statistics_name(name: str) -> str:
    """The name of the object of statistics that belongs to the segment's object of this name."""
    # No name of Parquet, although it is one: whoever reads `*.parquet` wants records.
    return name.removesuffix(".parquet") + ".statistics"


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
    has_resources: bool = False
    """Whether its file has a column for resources: none of its records has one otherwise."""
    sealed_time: int = field(kw_only=True)
    """When its newest record was sealed, by the retention clock: its age counts from here. The times of arrival are those of the clock of
    another machine, which may be wrong."""
    statistics_checksum: int | None = field(default=None, kw_only=True)
    """xxh3_64 of the object of its statistics; None where the catalog still has them, as an earlier version left them."""

    @property
    def statistics_name(self) -> str:
        """The name of the object that holds its statistics."""
        return statistics_name(self.path.name)

    @property
    def names(self) -> tuple[str, str]:
        """The names of its objects: records, statistics."""
        return self.path.name, self.statistics_name

    @property
    def memory_bytes(self) -> int:
        """What its records take in memory, about."""
        return self.size_bytes * _PACKED if self.data_bytes is None else self.data_bytes

    def may_match(self, predicate: Predicate) -> bool:
        """False when no record of it can fulfil the predicate."""
        # The end is exclusive, the last record's time is not.
        if self.last_time < predicate.start_time or self.first_time >= predicate.end_time:
            return False
        if self.last_arrival_time < predicate.arrival_start_time or self.first_arrival_time >= predicate.arrival_end_time:
            return False
        # An empty set on this side would rule the segment out: services are kept for each segment that is sealed.
        if predicate.services is not None and self.services.isdisjoint(predicate.services):
            return False
        # Last, as it is the dearest: two arrays instead of two numbers.
        return predicate.patterns is None or self.has_any(predicate.patterns)

    def has_any(self, wanted: Ids) -> bool:
        """True when it has a record of one of these patterns, which ascend. Some at a time: of many, one of the first is mostly there."""
        # The shorter one is looked up in the longer one: n log m.
        few, many = sorted((wanted, self.pattern_ids), key=len)
        return any(among(few[start : start + _AT_ONCE], many).any() for start in range(0, len(few), _AT_ONCE))
