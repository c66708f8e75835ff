"""The clocks of the machine as services read them: none of them raises, and one cannot leap."""

import time
from collections.abc import Callable

from treering_runtime.limits import MAX_TIME_UNIX_NANO


def wall_ns() -> int:
    """The wall clock, nanoseconds since 1970; where it shows a time that no record can have, the nearest that one can."""
    try:
        return max(1, min(time.time_ns(), MAX_TIME_UNIX_NANO))
    except OverflowError:  # after 2262-04-11 Python has no number for it
        return MAX_TIME_UNIX_NANO


def outlast_python_time() -> None:
    """Lets `time.time` answer after 2262-04-11, for all of this process: without it gRPC, logging and metrics raise OverflowError then.

    A call whose deadline cannot be computed is never answered.
    """
    read = time.time

    def seconds() -> float:
        try:
            return read()
        except OverflowError:
            return time.clock_gettime(time.CLOCK_REALTIME)

    time.time = seconds


def boottime_ns() -> int:
    """Since the machine started, suspends included, nanoseconds."""
    # macOS has no clock of this name; its monotonic clock comes closest.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SteadyClock:
    """Begins at the wall clock and cannot leap after that: whoever sets the clock of the machine moves it at the next start only.

    Args:
        wall: Nanoseconds since 1970.
        boottime: Nanoseconds since any moment.
    """

    def __init__(self, wall: Callable[[], int] = wall_ns, boottime: Callable[[], int] = boottime_ns) -> None:
        self._boottime = boottime
        # Read once: what the wall clock does after this moment is not seen.
        self._behind = wall() - boottime()

    def __call__(self) -> int:
        """Nanoseconds since 1970, never beyond what a record can have."""
        return min(self._behind + self._boottime(), MAX_TIME_UNIX_NANO)
