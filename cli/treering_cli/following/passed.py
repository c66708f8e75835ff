"""Files that need not be opened again while they stay as they are."""

import os
from collections.abc import Callable

from treering_cli.following.tracked import Clock, Tracked

_MOST = 100_000
"""Files that are remembered; when there are more, all are looked at again."""

_SETTLED_S = 5.0
"""What has not changed for so long is no copy in the making, seconds."""

Identity = tuple[int, int]
_State = tuple[int, int]


class Passed:
    """What was found to hold nothing new, and for how long others have stayed as they are.

    Args:
        clock: Seconds.
        is_read: Whether something is still being read.
    """

    def __init__(self, clock: Clock, is_read: Callable[[Tracked], bool]) -> None:
        self._clock = clock
        self._is_read = is_read
        # By identity and not by path: a rotation renames every part, and what is packed would be unpacked once more.
        self._passed: dict[Identity, tuple[_State, Tracked | None]] = {}
        self._since: dict[Identity, tuple[_State, float]] = {}
        self._refused: dict[str, int] = {}

    def add(self, status: os.stat_result, copied: Tracked | None = None) -> None:
        """Passes a file over until it changes; a copy of what is being read, also no longer than that is read."""
        if len(self._passed) >= _MOST:
            self._passed.clear()
        self._passed[identity_of(status)] = (_state(status), copied)

    def has(self, status: os.stat_result) -> bool:
        """Whether a file is passed over still."""
        state, copied = self._passed.get(identity_of(status), (None, None))
        # A copy has the rest of what can be read no more.
        return state == _state(status) and (copied is None or (self._is_read(copied) and copied.is_intact()))

    def is_settled(self, status: os.stat_result) -> bool:
        """Whether a file has not changed for some time, by what was asked before."""
        if len(self._since) >= _MOST:
            self._since.clear()
        state, since = self._since.get(identity_of(status), (None, 0.0))
        if state != _state(status):
            self._since[identity_of(status)] = (_state(status), self._clock())
            return False
        return self._clock() - since >= _SETTLED_S

    def refuse(self, path: str, status: os.stat_result | None) -> bool:
        """Passes over a file that cannot be read, until anything about it changes, its rights as well; whether it is the first time."""
        is_first = path not in self._refused
        if len(self._refused) >= _MOST:
            self._refused.clear()
        self._refused[path] = status.st_ctime_ns if status else 0
        return is_first

    def is_refused(self, path: str, status: os.stat_result) -> bool:
        """Whether a file could not be read as it is now."""
        return self._refused.get(path) == status.st_ctime_ns


def identity_of(status: os.stat_result) -> Identity:
    """What stays the same when a file is renamed."""
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> _State:
    return status.st_size, status.st_mtime_ns
