"""Questions: work that runs on snapshots; when it fails, the segments that it read are looked at."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb

from treering_query import limits
from treering_query.sealed.damage import Damage, DamagedSegmentError
from treering_query.values.segment import Segment
from treering_query.view.engine import SnapshotEngine
from treering_query.view.snapshot import Snapshot

T = TypeVar("T")


class Questions:
    """Runs blocking work on snapshots.

    Args:
        engine: Runs it.
        damage: The segments that are known to be damaged.
    """

    def __init__(self, engine: SnapshotEngine, damage: Damage) -> None:
        self._engine = engine
        self._damage = damage
        # A thread of its own: it reads whole files, and must take neither the threads of questions nor that of the seals.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="damage")

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking `work(snapshot)` on a thread, bounded in number, interrupted after `timeout_s` seconds or on cancellation.

        Several runs on one snapshot see the same moment; await one before the next.

        Raises:
            ServiceError: TIMED_OUT, OVERLOADED, SQL_LIMIT; STORE_DAMAGED when a segment that is read is damaged.
        """
        try:
            return await self._engine.run(snapshot, work, timeout_s)
        # Any error of the database may be the first sign of a damaged file. Its text is kept as the cause, not sent.
        except duckdb.Error as error:
            damage = await self.find_damage(snapshot.last_read, error)
            raise damage or error from error

    async def find_damage(self, segments: Sequence[Segment], error: Exception) -> DamagedSegmentError | None:
        """After a question failed: is one of the segments that it read damaged? Reads their files until one is, which is remembered.

        One search at a time, for `DAMAGE_SEARCH_S` seconds at most, time in the queue included: many failing questions cost no more.
        """
        # Set before the queue: who waited long behind others reads less, so a burst of errors has one bound.
        until = time.monotonic() + limits.DAMAGE_SEARCH_S
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._damage.find, segments, str(error), until)

    def close(self) -> None:
        """Ends the thread; a search that has not begun is not made."""
        self._thread.shutdown(cancel_futures=True)
