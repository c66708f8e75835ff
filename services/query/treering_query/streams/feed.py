"""What waits for one follower."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from treering_query.values.predicate import Predicate

Item_contra = TypeVar("Item_contra", contravariant=True)


class Feed(ABC, Generic[Item_contra]):
    """What a hub has for one follower.

    It waits (`start` is None) until the reading that was under way when it came has ended, then it is live: everything at or after
    `start` that its filter selects is put into it. Once it is `lost`, nothing more comes, and what is still in it counts for nothing.
    """

    def __init__(self, predicate: Predicate) -> None:
        self.predicate = predicate
        # None until the hub knows a place that is true for this feed.
        self.start: Mapping[int, int] | None = None
        self.reached: Mapping[int, int] = {}
        """Below these offsets, everything has been put in or left out."""
        self.lost = False
        self._woken = asyncio.Event()

    @abstractmethod
    def put(self, item: Item_contra) -> None:
        """Takes one more."""

    def begin(self, reached: Mapping[int, int]) -> None:
        """Makes it live."""
        # Both at once: everything from here on is put in, nothing of before is missing.
        self.start = self.reached = reached
        self.wake()

    def lose(self) -> None:
        """Ends it."""
        self.lost = True
        self.wake()

    def wake(self) -> None:
        """Tells the follower to look."""
        self._woken.set()

    async def wait(self, timeout_s: float) -> None:
        """Returns when there is something to look at, or after `timeout_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        # Cleared without an await after the wait: the caller looks at the feed next, so no wake-up is lost.
        self._woken.clear()
