"""When the model gives way: new patterns leave the cores to our own sinks while these are behind the log.

In a burst of new patterns the model could use every core for minutes, while records wait to be counted. So while the log is ahead of this
sink, a run for new patterns that had to share its core is followed by a pause. Three rules keep new patterns from starving:

- Other programs are no reason for a pause. The operating system divides the cores between them and us already.
- A pause is a multiple of the processor time of the run, not of the time that it was kept from its core. A thread that gets a tenth of a
  core would otherwise pause for 36 times as long as it computes, and get a forty-sixth.
- Nothing is held back that was registered more than `MAX_GIVING_WAY_S` ago.
"""

import math
import time
from collections.abc import Callable

from treering_embed.limits import CONTENTION_BACKOFF, UNCONTENDED_CPU_SHARE


class Backoff:
    """Says when the next run for new patterns may begin. Belongs to the model's thread.

    Args:
        is_behind: Whether a sink of ours is behind the log.
        clock: Monotonic, seconds.
    """

    def __init__(self, is_behind: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_behind = is_behind
        self._clock = clock
        self._not_before = -math.inf

    def ran(self, duration_s: float, computed_s: float) -> None:
        """A run for new patterns took `duration_s`, and its thread computed for `computed_s` of it."""
        # A run that had its core to itself ends the pause of the run before it.
        contended = computed_s < UNCONTENDED_CPU_SHARE * duration_s
        self._not_before = self._clock() + CONTENTION_BACKOFF * computed_s if contended else -math.inf

    def wait_s(self, give_way_until: float) -> float:
        """Seconds until a run may begin whose patterns give way until that time of the clock at most; 0 = now."""
        # Asked at each look, not noted at the run: the pause ends as soon as the sinks have caught up.
        if not self._is_behind():
            return 0.0
        return max(min(self._not_before, give_way_until) - self._clock(), 0.0)
