"""The time against which ages of records count: a clock that cannot leap, whatever the clock of the machine does.

It begins at the last known time, which the catalog keeps, and runs with the monotonic clock of the machine. The time while the service or
the machine stands still does not count: the retention clock only lags, and records stay longer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from treering_runtime.clocks import boottime_ns, wall_ns
from treering_runtime.limits import MAX_TIME_UNIX_NANO

_SECOND = 1_000_000_000

LEAP_NS = 3600 * _SECOND
"""What the wall clock may be off before it counts as a leap: NTP steps by seconds, a dead battery or a wrong hand by days and years."""

DRIFT = 1000
"""One part in so many is what a clock of the machine may run wrong, and be put right by small steps, without a leap in the end: 86 s a day.
Quartz is ten times as good."""


@dataclass(frozen=True)
class Clocks:
    """The clocks of the machine, nanoseconds.

    The retention clock runs with `monotonic`, which stands still while the machine is suspended: the kernel takes the length of a suspend
    from the battery's clock, which may be the wrong one. `boottime` counts suspends, as the wall clock does: the two part by leaps only.
    """

    wall: Callable[[], int]
    monotonic: Callable[[], int]
    boottime: Callable[[], int]


SYSTEM_CLOCKS = Clocks(wall_ns, time.monotonic_ns, boottime_ns)


@dataclass(frozen=True)
class KeptTime:
    """What the catalog keeps of the clock."""

    last_time: int
    """The last known time, nanoseconds since 1970."""
    leap_s: int = 0
    """By how much the wall clock leapt, seconds; 0 = it did not, or an operator accepted it."""
    accepted: str = ""
    """Id of the operator's order that was carried out last."""


class RetentionClock:
    """*running*, or *leapt*: after a leap of the wall clock, also over restarts, until an operator accepts the clock.

    `now` runs on in both states; what is deleted by age waits in the second. Any thread may call `now`.

    Args:
        clocks: Of the machine.
        kept: What the catalog had at the start; None in a store that never kept it.
        newest_arrival: When the newest sealed record arrived, in ns since 1970: the last known time of such a store. None without one.
    """

    def __init__(self, clocks: Clocks, kept: KeptTime | None, newest_arrival: int | None = None) -> None:
        self._clocks = clocks
        wall = clocks.wall()
        last = kept.last_time if kept else newest_arrival
        self._leap_s, self._accepted = (kept.leap_s, kept.accepted) if kept else (0, "")
        if last is None:
            last = wall
        # Backwards only: a service that stood still for a year finds the wall clock ahead, and that is no leap.
        elif wall < last - LEAP_NS:
            self._note_leap(wall - last)
        # what was kept is this clock's own; an arrival is the time of another machine's clock, which may be ahead
        self._base = (last if kept else min(last, wall), clocks.monotonic())
        self._parting = self._parted()

    def now(self) -> int:
        """Nanoseconds since 1970, never beyond what a record may have."""
        begin, monotonic = self._base  # one value: another thread may replace it
        return min(begin + self._clocks.monotonic() - monotonic, MAX_TIME_UNIX_NANO)

    @property
    def kept(self) -> KeptTime:
        """What the catalog has to keep now."""
        return KeptTime(self.now(), self._leap_s, self._accepted)

    @property
    def leap_s(self) -> int:
        """By how many seconds the wall clock leapt, of the first leap that nobody accepted; 0 = deletion goes on."""
        return self._leap_s

    def look(self) -> None:
        """Compares the clocks. To be called at each turn, before anything is deleted."""
        parted = self._parted() - self._parting
        # Both clocks count suspends, so only a step of the wall clock parts them.
        if abs(parted) > LEAP_NS:
            self._note_leap(parted)
        # After a leap the wall clock is not followed: it is the one in doubt.
        if not self._leap_s:
            self._follow(parted)

    def _follow(self, parted: int) -> None:
        """Goes as far towards the wall clock as drift explains: what is put right by a second each day is no leap after ten years."""
        begin, monotonic = self._base
        now = self._clocks.monotonic()
        most = (now - monotonic) // DRIFT
        passed = begin + now - monotonic
        self._base = (passed + _within(most, self._clocks.wall() - passed), now)
        self._parting += _within(most, parted)

    @property
    def accepted(self) -> str:
        """Id of the operator's order that was carried out last."""
        return self._accepted

    def accepting(self, order_id: str, time_unix_nano: int) -> KeptTime | None:
        """What is to be kept when an operator's order is carried out.

        None when the wall clock no longer shows about the time that the operator saw: the order is old, or the clock leapt again.
        """
        wall = self._clocks.wall()
        return None if abs(wall - time_unix_nano) > LEAP_NS else KeptTime(wall, 0, order_id)

    def restart(self, kept: KeptTime) -> None:
        """Goes on from what was accepted, once that is durable."""
        self._base = (kept.last_time, self._clocks.monotonic())
        self._leap_s, self._accepted = kept.leap_s, kept.accepted
        self._parting = self._parted()

    def _note_leap(self, nanoseconds: int) -> None:
        # of several leaps the first one stays, until an operator has looked; one that is undone stays too: records came meanwhile
        self._leap_s = self._leap_s or int(nanoseconds / _SECOND)

    def _parted(self) -> int:
        return self._clocks.wall() - self._clocks.boottime()


def _within(most: int, value: int) -> int:
    return max(-most, min(value, most))
