"""What waits for one watch: announcements of patterns."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.streams.feed import Feed
from treering_query.values.predicate import Predicate

AT_ONCE = 256
"""Patterns of one look: a whole new fleet comes in many looks, and no watch holds more."""


@dataclass(frozen=True)
class Announcement:
    """A new pattern, the offset of its first record, and that record, unless it has expired."""

    log_id: int
    offset: int
    pattern: pb.Pattern
    first_record: StoredRecord | None

    @property
    def size_bytes(self) -> int:
        """What it takes in an answer, about."""
        return self.pattern.ByteSize() + (self.first_record.ByteSize() if self.first_record else 0)


class WatchFeed(Feed[Announcement]):
    """Announcements that wait. When there are too many it is lost: its watch reads them again, so that none is left out.

    Args:
        predicate: What is wanted.
        next_offsets: The follower's place in each log, as it is at each moment: what lies below has been announced.
    """

    def __init__(self, predicate: Predicate, next_offsets: Mapping[int, int]) -> None:
        super().__init__(predicate)
        self._next = next_offsets
        self._items: deque[Announcement] = deque()
        self._size_bytes = 0

    def put(self, item: Announcement) -> None:
        """Takes one more, or is lost."""
        # Announced already, while it read alone.
        if item.offset < self._next.get(item.log_id, 0):
            return
        self._items.append(item)
        self._size_bytes += item.size_bytes
        if len(self._items) > AT_ONCE or self._size_bytes > limits.MAX_ANSWER_RECORD_BYTES:
            self._items.clear()
            # Unlike a tail, a watch leaves nothing out: it reads the same again by itself, at its own pace.
            self.lose()
        self.wake()

    def take_all(self) -> list[Announcement]:
        """All that wait."""
        items, self._size_bytes = list(self._items), 0
        self._items.clear()
        return items
