"""Reading the log without blocking the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from treering_ingest.durable_log import LogFollower, Range, StoredBatch


class LogReader:
    """A follower of the log, and the one thread that uses it.

    Whoever waits for a read may be cancelled; the read itself goes on until it is done. The file is closed after it, by the same thread:
    closed under a read, its descriptor would be read when it is already that of another file, and the read would open a file that nobody
    closes.

    Args:
        follower: Of the log, which may be written meanwhile.
    """

    def __init__(self, follower: LogFollower) -> None:
        self._follower = follower
        # A thread for each reader: on shared ones a slow disk under one delivery would hold up the others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-reader")

    async def read(self, max_bytes: int) -> Sequence[StoredBatch]:
        """As `LogFollower.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._follower.read, max_bytes)

    async def read_range(self, max_bytes: int) -> Range:
        """As `LogFollower.read_range`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._follower.read_range, max_bytes)

    async def link_before(self) -> int | None:
        """As `LogFollower.link_before`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._follower.link_before)

    def close(self) -> None:
        """Closes the file once nothing reads it any more, and ends the thread; does not wait for that. No read may follow."""
        self._thread.submit(self._follower.close)  # not as a future of the event loop: a cancelled one would never run
        self._thread.shutdown(wait=False)
