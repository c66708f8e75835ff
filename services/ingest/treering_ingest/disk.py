"""Free space: records are refused while there is still some left."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_FRESH_S = 0.1
"""How long a measurement counts, seconds; what is accepted meanwhile is taken off it."""


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path`."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


class DiskGuard:
    """Says whether the reserve is reached.

    Args:
        measure: Returns the free bytes.
        reserve_bytes: Below this nothing is accepted.
    """

    def __init__(self, measure: Callable[[], int], reserve_bytes: int) -> None:
        self.reserve_bytes = reserve_bytes
        self._measure = measure
        self._free = measure()
        self._measured = time.monotonic()

    @property
    def free_bytes(self) -> int:
        """Free bytes: measured at most a tenth of a second ago, less what was accepted since."""
        if time.monotonic() - self._measured > _FRESH_S:
            self._free, self._measured = self._measure(), time.monotonic()
        return max(0, self._free)

    def spend(self, size_bytes: int) -> None:
        """Takes off what is about to be written, so that a fast door cannot run through the reserve between two measurements."""
        self._free -= size_bytes

    @property
    def is_low(self) -> bool:
        """Whether less than the reserve is free."""
        return self.free_bytes < self.reserve_bytes
