"""The lag of an event loop as a metric and as a line of the log, with a clock and timers of the test's own; and once with a real loop."""

import asyncio
import time
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from treering_runtime.loop_lag import LoopLag

METRIC = "treering_event_loop_lag_seconds"


class Timers:
    """A loop on which one timer waits at a time, and a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._due = 0.0
        self._callback = None

    def call_later(self, delay: Any, callback: Any) -> None:
        self._due, self._callback = self.now + delay, callback

    def fire(self, late: float) -> None:
        """Runs the timer so many seconds after it was due."""
        self.now = self._due + late
        self._callback()  # type: ignore[misc]


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def registry(timers: Timers) -> Any:
    registry = CollectorRegistry()
    LoopLag(timers, registry, lambda: timers.now)
    return registry


def _within(registry: Any, bound: str) -> Any:
    return registry.get_sample_value(f"{METRIC}_bucket", {"le": bound})


def test_each_sample_is_how_much_later_than_due_the_timer_ran(timers: Timers, registry: Any) -> None:
    for late in (0.0, 0.02, 0.3, 4.0):
        timers.fire(late)
    assert registry.get_sample_value(f"{METRIC}_sum") == pytest.approx(4.32)
    assert [_within(registry, bound) for bound in ("0.005", "0.025", "0.25", "0.5", "2.5", "5.0", "+Inf")] == [1, 2, 2, 3, 3, 4, 4]


def test_a_lag_over_a_second_is_logged_once_a_minute_with_its_length(timers: Timers, registry: Any) -> None:
    with structlog.testing.capture_logs() as lines:
        timers.fire(0.9)
        assert not lines
        timers.fire(1.5)
        timers.fire(20.0)
        assert [line["lag_s"] for line in lines] == [1.5]
        timers.fire(45.0)
    assert [(line["log_level"], line["lag_s"]) for line in lines] == [("warning", 1.5), ("warning", 45.0)]
    assert registry.get_sample_value(f"{METRIC}_count") == 4


def test_a_clock_that_comes_a_moment_early_is_no_lag(timers: Timers, registry: Any) -> None:
    timers.fire(-0.001)
    assert registry.get_sample_value(f"{METRIC}_sum") == 0


async def test_a_real_loop_that_is_blocked_shows_it() -> None:
    registry = CollectorRegistry()
    LoopLag(asyncio.get_running_loop(), registry)
    time.sleep(0.3)  # noqa: ASYNC251 - what is measured
    async with asyncio.timeout(10):
        while not registry.get_sample_value(f"{METRIC}_count"):  # noqa: ASYNC110 - a metric wakes nobody
            await asyncio.sleep(0)
    assert registry.get_sample_value(f"{METRIC}_sum") >= 0.2
