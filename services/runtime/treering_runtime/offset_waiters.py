"""Waiting for an offset to be reached, by any number of callers."""

import asyncio
import heapq


class OffsetWaiters:
    """Those who wait for offsets of one log, the smallest first. Belongs to one event loop.

    A caller that gives up leaves its entry behind; once most entries are such, they are swept out, so that callers who come and go cost no
    memory.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiting = self._number = 0

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return self._waiting > 0

    async def wait(self, offset: int) -> None:
        """Returns when `reached` was called with this offset or a larger one."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1  # between equal offsets, or futures would be compared
        heapq.heappush(self._heap, (offset, self._number, future))
        self._waiting += 1
        try:
            await future
        finally:
            # In `finally`: also a cancelled caller is counted out, or the sweep would never see that its entry is dead.
            self._waiting -= 1
            self._sweep()

    def reached(self, offset: int) -> None:
        """Wakes all who wait for an offset up to this one; looks at no others."""
        while self._heap and self._heap[0][0] <= offset:
            future = heapq.heappop(self._heap)[2]
            # A caller that was cancelled left its future behind, done; `set_result` would fail and leave the others asleep.
            if not future.done():
                future.set_result(None)

    def _sweep(self) -> None:
        # Only when most entries are dead: then the cost of the sweep is paid for by the callers that left them.
        if len(self._heap) > 2 * self._waiting:
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)
