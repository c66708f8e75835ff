"""What the store needs of a catalog, whatever keeps it: a file of this machine today, a replicated database later.

The catalog is the truth about what is sealed: which segments there are, the texts of patterns, how far each log is sealed, what is
quarantined. The commit of a segment's row is the seal. Each change is one transaction: it is made whole, or not at all. Every
implementation passes `tests/query/catalog_suite.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from treering_query.retention.retention_clock import KeptTime
from treering_query.templates import Templates, TemplatesChange
from treering_query.values.segment import Expired, Segment
from treering_runtime.quarantine import Change, Quarantined, QuarantineSelection


class NotQuarantinedError(Exception):
    """Records that were read again are not in the quarantine any more: somebody else has stored them. Nothing is stored a second time."""


# Small enough to be read whole at the start: everything in it is in memory afterwards, and questions never come to the catalog.
@dataclass(frozen=True)
class Sealed:
    """All that a catalog knows of what is sealed, but for the payloads in quarantine."""

    segments: tuple[Segment, ...]
    """Without their pattern ids, which are in their statistics."""
    patterns: pa.Table
    ends: Mapping[int, int]
    """Releasable end by log_id."""
    quarantined: Mapping[int, int]
    """Records set aside by log_id."""
    links: Mapping[int, int]
    """The log's chain at the releasable end, by log_id; not of progress that an earlier version wrote."""
    expired: tuple[Expired, ...]
    """What retention has removed."""
    last_batch: str
    """The id of the batch that was committed last; empty before the first."""
    next_segment_id: int
    """The smallest id that no segment ever had."""
    described: frozenset[int]
    """Segments of which the catalog has services or offsets, whether it lists them or not: the same as those of `segments`, unless it is
    damaged."""


class Catalog(Protocol):
    """An open catalog with one writer. Belongs to one thread.

    After an error of a change nobody knows whether it was made: `suspect`, then `recover` and `load` before the next change.
    """

    def load(self, opened: Callable[[str], Path]) -> Sealed:
        """Everything that is sealed; `opened` gives the file of a segment's object, by name."""

    def commit(
        self,
        batch_id: str,
        ends: Mapping[int, int],
        links: Mapping[int, int],
        quarantine: Change,
        segment: Segment | None,
        *,
        patterns: pa.Table,
    ) -> None:
        """The seal: everything about one batch.

        Args:
            batch_id: Kept as `Sealed.last_batch`; empty = the one before stays.
            ends: Releasable ends that change, by log_id.
            links: The log's chain at these.
            quarantine: What is set aside, and what leaves.
            segment: Whose objects are durable; None where no record was readable. Its id is never given out again.
            patterns: Rows of `PATTERNS_SCHEMA`; those that are known stay as they are.

        Raises:
            NotQuarantinedError: Something that leaves the quarantine is not in it; nothing was changed.
        """

    def replace(self, old: Sequence[int], segment: Segment | None, expired: Sequence[Expired]) -> None:
        """Some segments become one, or none; from now on `expired` is all that is gone. The new one's id is never given out again."""

    def forget(self, pattern_ids: Sequence[int]) -> None:
        """Removes patterns."""

    def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is quarantined above `after`, by log and offset: about `QUARANTINE_PAGE_BYTES`, at least one while there is one."""

    def load_clock(self) -> KeptTime | None:
        """The time that was kept last; None in a store that never kept it."""

    def keep_clock(self, kept: KeptTime) -> None:
        """Keeps a time."""

    def set_clock(self, kept: KeptTime, shift: int) -> None:
        """Keeps a time that begins or that an operator set; the segments' sealed times move by `shift`, not beyond it.

        An operator's order is carried out once, however often it comes: it is known by `kept.accepted`.
        """

    def load_templates(self) -> Templates:
        """The templates that were saved last, oldest first."""

    def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""

    def suspect(self) -> None:
        """Something failed: `recover` will look what is committed."""

    def recover(self) -> bool:
        """Makes the catalog usable after an error; True when it was suspect, so that what was loaded before may be outdated.

        Raises:
            Exception: It cannot be used now; to be tried again.
        """

    def close(self) -> None:
        """Gives back what it holds."""
