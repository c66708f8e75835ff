"""Free space: records are refused while there is still some left."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

_LOG = structlog.get_logger()
_FRESH_S = 0.1
"""How long a measurement counts, seconds; what is accepted meanwhile is taken off it."""
_SETTLED_S = 1.0
"""How long there must be space again before that is said, seconds: around the reserve, low comes and goes ten times a second."""


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path`."""
    stat = os.statvfs(path)
    # `f_bavail`, not `f_bfree`: a file system keeps blocks back that only root may use.
    return stat.f_bavail * stat.f_frsize


class DiskGuard:
    """Knows whether the reserve is reached. Any thread may ask; `spend` and `check` belong to the event loop.

    Args:
        measure: Returns the free bytes.
        reserve_bytes: Below this nothing is accepted.
        clock: Seconds that only go forward.
    """

    def __init__(self, measure: Callable[[], int], reserve_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.reserve_bytes = reserve_bytes
        self._measure = measure
        self._clock = clock
        # The door spends on the event loop while the metrics' thread measures: a measurement that began before must not take back what
        # was spent meanwhile.
        self._lock = threading.Lock()
        self._free = measure()
        self._measured = clock()
        self._said_low = False
        self._last_low = 0.0

    @property
    def free_bytes(self) -> int:
        """Free bytes: measured at most a tenth of a second ago, less what was accepted since."""
        with self._lock:
            # A system call at most ten times a second: this is asked once for each batch.
            if self._clock() - self._measured > _FRESH_S:
                self._free, self._measured = self._measure(), self._clock()
            # May be below 0 between two measurements, because of `spend`.
            return max(0, self._free)

    def spend(self, size_bytes: int) -> None:
        """Takes off what is about to be written, so that a fast door cannot run through the reserve between two measurements."""
        with self._lock:
            self._free -= size_bytes

    @property
    def is_low(self) -> bool:
        """Whether less than the reserve is free."""
        return self.free_bytes < self.reserve_bytes

    def check(self) -> bool:
        """Whether less than the reserve is free; tells the service's log when that has changed. Belongs to the event loop."""
        low = self.is_low
        if low or self._said_low:
            self._say(low=low)
        return low

    def _say(self, *, low: bool) -> None:
        now = self._clock()
        if low and not self._said_low:
            self._said_low = True
            _LOG.warning("disk is low: nothing is accepted until there is space", **self._numbers())
        # The time of the newest low one, not of the first: the disk must have had space for this long without a break.
        elif not low and now - self._last_low >= _SETTLED_S:
            self._said_low = False
            _LOG.info("disk has space again: records are accepted", **self._numbers())
        if low:
            self._last_low = now

    def _numbers(self) -> dict[str, int]:
        return {"free_bytes": self.free_bytes, "reserve_bytes": self.reserve_bytes}
