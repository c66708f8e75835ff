"""Whether this sink is behind the log, as the deliveries say."""

import math
import time
from collections.abc import Callable

from treering_embed.limits import BEHIND_RECORDS, LAG_HOLDS_S


class LogLag:
    """Written on the event loop, read by the model's thread as well.

    Args:
        clock: Monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # One float, replaced as a whole: the model's thread reads the old one or the new one, and needs no lock.
        self._last_behind = -math.inf

    def note(self, records: int) -> None:
        """A delivery was taken; its log holds so many records more."""
        # Never set back by a delivery that leaves nothing: another log may be behind still. It runs out by `LAG_HOLDS_S`.
        if records >= BEHIND_RECORDS:
            self._last_behind = self._clock()

    def is_behind(self) -> bool:
        """Whether a delivery of the last `LAG_HOLDS_S` seconds, of any log, left much for later ones."""
        return self._clock() - self._last_behind < LAG_HOLDS_S
