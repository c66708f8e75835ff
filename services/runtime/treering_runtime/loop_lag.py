"""The event loop's lag: how much later than it was due the loop runs a timer.

Everything on the loop waits for so long: each request, each health check, each deadline. So an alert on this metric names what the
latencies of single calls only hint at: work that blocks the loop, or a process that gets no processor time.
"""

import time
from collections.abc import Callable
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Histogram

_LOG = structlog.get_logger()

_INTERVAL_S = 0.1
"""Pause between two samples, seconds: a shorter stall may fall between two of them, and a longer one is seen less up to as much."""

_WARN_ABOVE_S = 1.0
"""A lag that is logged, seconds: health checks and short deadlines fail by then."""

_WARN_EVERY_S = 60.0
"""Least time between two such lines, seconds: a loop that lags all the time does not fill the log as well."""

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Timers(Protocol):
    """An event loop, as far as its lag is measured with it."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Calls back in `delay` seconds."""


class LoopLag:
    """Samples the lag of one event loop ten times a second, for as long as the loop runs.

    The metric is a histogram and not the maximum since the last scrape: nothing is lost between several scrapers, and a single stall is
    seen as well: the samples above a bucket's bound are the count minus that bucket.

    Args:
        loop: The running loop.
        registry: Where the metric is shown.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, loop: Timers, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._seconds = Histogram(
            "treering_event_loop_lag_seconds",
            "How much later than it was due a timer of the event loop ran, sampled every 0.1 s",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        # At the start nothing was logged yet: the first lag is.
        self._silent_until = clock()
        self._wait()

    def _wait(self) -> None:
        # Noted before the timer is set: setting it takes time as well, and that time is lag.
        self._due = self._clock() + _INTERVAL_S
        self._loop.call_later(_INTERVAL_S, self._sample)

    def _sample(self) -> None:
        now = self._clock()
        lag = max(0.0, now - self._due)
        self._seconds.observe(lag)
        if lag > _WARN_ABOVE_S and now >= self._silent_until:
            self._silent_until = now + _WARN_EVERY_S
            _LOG.warning("the event loop was blocked: nothing was answered meanwhile", lag_s=round(lag, 3))
        # Last: the next sample is due after this one, however long this one took.
        self._wait()
