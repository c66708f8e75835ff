"""The clocks of the machine as services read them."""

import time
from collections.abc import Callable

import pytest

from treering_runtime.clocks import SteadyClock, boottime_ns, outlast_python_time, wall_ns
from treering_runtime.limits import MAX_TIME_UNIX_NANO

YEAR = 365 * 86_400 * 10**9


def beyond() -> int:
    raise OverflowError("timestamp too large to convert to C _PyTime_t")


@pytest.mark.parametrize(
    ("clock", "shown"), [(lambda: 5, 5), (lambda: -YEAR, 1), (lambda: 2**63 - 1, MAX_TIME_UNIX_NANO), (beyond, MAX_TIME_UNIX_NANO)]
)
def test_a_time_that_no_record_can_have_is_the_nearest_that_one_can(
    monkeypatch: pytest.MonkeyPatch, clock: Callable[[], int], shown: int
) -> None:
    monkeypatch.setattr(time, "time_ns", clock)
    assert wall_ns() == shown


def test_seconds_are_told_after_2262_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", beyond)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 10.4e9)
    outlast_python_time()
    assert time.time() == 10.4e9
    monkeypatch.setattr(time, "time", lambda: 5.0)
    outlast_python_time()
    assert time.time() == 5.0


def test_a_steady_clock_goes_on_whatever_the_wall_clock_does() -> None:
    wall, boot = [40 * YEAR], [3]
    clock = SteadyClock(lambda: wall[0], lambda: boot[0])
    for leap in (10 * YEAR, -60 * YEAR):
        wall[0] += leap
        boot[0] += 7
    assert clock() == 40 * YEAR + 14
    boot[0] += 300 * YEAR
    assert clock() == MAX_TIME_UNIX_NANO


def test_the_clocks_of_this_machine_run() -> None:
    assert abs(SteadyClock()() - time.time_ns()) < 10**9
    assert boottime_ns() <= boottime_ns()
