"""How long somebody who gets no answer goes on trying, and how an outage becomes known."""

import logging
import random
from collections.abc import Callable

from treering.errors import TreeringError

OnOutage = Callable[[TreeringError, float], object]
"""Is called once for each outage: with the error, and for how many seconds the caller goes on trying."""

_LOG = logging.getLogger("treering")

_SAY_AFTER_S = 1.0
"""How old an outage is when it becomes known, seconds: a connection that is lost and found again is none."""


class Patience:
    """How long to wait before the next try, and when to stop trying.

    Args:
        retry_for_s: Give up after this time without success, seconds.
        on_outage: Is called when nothing has succeeded for a second; None is nobody. What it raises goes to the caller of `delay`.
    """

    def __init__(self, retry_for_s: float, on_outage: OnOutage | None = None) -> None:
        self._retry_for_s = retry_for_s
        self._on_outage = on_outage
        self._failing_since: float | None = None
        self._attempt = 0
        self._said = False
        self.problem: TreeringError | None = None
        """The last error; None after a success."""

    def succeeded(self) -> None:
        """Something was acknowledged: start afresh."""
        self._failing_since, self._attempt, self._said, self.problem = None, 0, False, None

    def delay(self, error: TreeringError, now: float) -> float:
        """Seconds to wait: what the service asks for, else exponential with jitter, 50 ms to 2 s.

        Raises:
            TreeringError: `error`, when it has been failing for too long.
        """
        self.problem = error
        # The outage began with its first error, whatever came between two tries.
        self._failing_since = now if self._failing_since is None else self._failing_since
        failing_s = now - self._failing_since
        # By time and not by tries: quick failures must not use up the patience before a restart is over.
        if failing_s > self._retry_for_s:
            raise error
        if failing_s >= _SAY_AFTER_S and not self._said:
            # Set before the call: what the user's function raises must not make it be called again.
            self._said = True
            if self._on_outage:
                self._on_outage(error, self._retry_for_s - failing_s)
        self._attempt += 1
        # Never earlier than asked for, and spread: senders that were refused together must not come back together.
        if error.retry_after_s is not None:
            return error.retry_after_s * random.uniform(1.0, 1.25)
        # Half to full: enough to part senders that were cut off together, without waiting much longer than the step.
        return min(2.0, 0.05 * 2.0**self._attempt) * random.uniform(0.5, 1.0)


def log_outage(error: TreeringError, left_s: float) -> None:
    """Writes a warning into the log `treering`."""
    _LOG.warning("no logs can be sent: %s; trying for %.0f s", error.message, left_s)
