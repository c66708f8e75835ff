"""Who reads what is new."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.snapshot import Snapshot

Item_co = TypeVar("Item_co", covariant=True)


class Reader(Protocol[Item_co]):
    """Reads what is new in a log, for several filters at once. One look after the other."""

    def has_nothing(self, snapshot: Snapshot) -> bool:
        """True when there is nothing to read in what is visible since the last look, whatever the offsets say."""

    def read(self, snapshot: Snapshot, new: LogRange, predicates: Sequence[Predicate]) -> tuple[int, Sequence[Sequence[Item_co]]]:
        """What each filter selects in the beginning of a range, and the offset where that ends. Blocks: runs on a thread."""

    def finished(self, snapshot: Snapshot) -> None:
        """Hears that all that is visible in a snapshot has been read."""
