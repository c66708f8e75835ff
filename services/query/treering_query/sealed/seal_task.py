"""The task that seals: the only one that begins a batch, and the only one that ends it."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from treering_query.sealed.sealed_state import SealBatch
from treering_runtime.wakeup import Wakeup

_LOG = structlog.get_logger()

RETRY_SEAL_S = (1.0, 60.0)
"""First and longest pause after a seal that failed, seconds: a full disk may have room again."""


class SealTask:
    """Turns what is hot into segments, one batch after another, for as long as the store is open.

    A batch begins when it is due or asked for, and ends only by being published: an attempt that fails is repeated, with the same batch.
    Callers ask and wait; one that is cancelled changes nothing.

    Args:
        due_in: Seconds until the next batch is due; 0 or less: now; None: nothing is waiting.
        begin: Takes everything that is hot as one batch.
        publish: Seals a batch and shows the result; raises to be called again with the same batch.
        registry: Where seals are timed.
    """

    def __init__(
        self,
        due_in: Callable[[], float | None],
        begin: Callable[[], Coroutine[Any, Any, SealBatch]],
        publish: Callable[[SealBatch], Coroutine[Any, Any, None]],
        registry: CollectorRegistry,
    ) -> None:
        self._due_in = due_in
        self._begin = begin
        self._publish = publish
        self._seconds = Histogram("treering_query_seal_seconds", "Duration of seals, seconds", registry=registry)
        # Numbers of batches. Only `run` raises the first two, so they differ by at most one; callers raise the third.
        self._begun = self._published = self._asked = 0
        self.problem = ""
        """Why the last attempt failed; empty when it did not."""
        self._wake = Wakeup()
        self._ended = Wakeup()

    @property
    def is_sealing(self) -> bool:
        """True while a batch is on its way into a segment."""
        return self._begun > self._published

    def hot_changed(self) -> None:
        """Records have come: the next batch may be due sooner."""
        self._wake.fire()

    async def seal(self) -> None:
        """Returns when everything that is hot now is in a segment, however many attempts that takes. May be cancelled; the seal goes on."""
        # A batch that has begun may lack the newest records, so the next one is wanted. One that is about to begin takes everything, and
        # has this number.
        wanted = self._begun + 1
        # Many callers share one batch: the number is a mark, not a count.
        self._asked = max(self._asked, wanted)
        self._wake.fire()
        # Only waiting can be cancelled from here; the mark stays, and the batch begins all the same.
        await self._until(wanted)

    async def settled(self) -> None:
        """Returns when the batch that is being sealed now, if any, is published."""
        await self._until(self._begun)

    async def run(self) -> None:
        """Seals for ever."""
        while True:
            # One batch at a time. While it is on its way the next one gathers, and `deliver` waits when that one is full.
            await self._until_due()
            # What it takes is out of the active part at once; it stays visible as the part that is being sealed.
            batch = await self._begin()
            # No await since the batch was taken: whoever looks at the number sees it with the view that shows the batch.
            self._begun += 1
            # Never given up: the batch is already out of the active part, and nothing else would seal it.
            await self._seal(batch)
            # After the new view is shown: who waited for the batch asks the view next.
            self._published = self._begun
            self._ended.fire()

    async def _until(self, batch_number: int) -> None:
        # A loop: the wake-up is for all, and the batch may be an earlier one.
        while self._published < batch_number:
            await self._ended.wait()

    async def _until_due(self) -> None:
        # A batch that somebody waits for begins at once, also an empty one: its commit takes quarantine and progress along.
        while self._asked <= self._begun:
            left = self._due_in()
            if left is not None and left <= 0:
                return
            # None waits for ever: with nothing in memory only a new record or a caller can make a batch due.
            await self._wake.wait(left)

    async def _seal(self, batch: SealBatch) -> None:
        pause, longest = RETRY_SEAL_S
        # Before the first attempt: the time for which the records waited is what an operator wants to see.
        started = time.monotonic()
        while True:
            try:
                # The same batch with the same id: an attempt that seemed to fail and was committed is recognised by it.
                await self._publish(batch)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the disk may pass; nothing is lost meanwhile
                # Shown by GetQueryStatus until an attempt succeeds.
                self.problem = _words(error)
                _LOG.exception("sealing failed; it is tried again", retry_in_s=pause, rows=batch.records.num_rows)
                # The records stay visible and in memory; the log keeps them too, as its releasable end does not move.
                await asyncio.sleep(pause)
                # Bounded: when the disk has room again, nobody waits for an hour.
                pause = min(2 * pause, longest)
            else:
                self.problem = ""
                self._seconds.observe(time.monotonic() - started)
                return


def _words(error: Exception) -> str:
    """What the system has against it; of anything else no more than its kind, as its text names files."""
    # Shown to people over the network, so no path and no payload.
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
