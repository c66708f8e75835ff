"""When new patterns give way, by passed-in clocks and measurements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_embed.encoder.backoff import Backoff
from treering_embed.limits import BEHIND_RECORDS, CONTENTION_BACKOFF, LAG_HOLDS_S, MAX_GIVING_WAY_S
from treering_embed.registry.book import PatternBook
from treering_embed.registry.registry import RegisteredPattern, Summary
from treering_embed.sink.log_lag import LogLag

NEVER = float("inf")


class Clock:
    """Stands still but for `now += seconds`."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now


def backoff(*, behind=True):
    clock = Clock()
    return Backoff(lambda: behind, clock), clock


@pytest.mark.parametrize(("computed", "pause"), [(1.0, 0.0), (0.9, 0.0), (0.5, 2.0), (0.1, 0.4), (0.0, 0.0)])
def test_a_run_that_shared_its_core_is_followed_by_a_pause_in_proportion_to_what_it_computed(computed, pause):
    waits, _ = backoff()
    waits.ran(1.0, computed)
    assert waits.wait_s(NEVER) == pytest.approx(pause)


@given(st.floats(0.001, 3_600), st.floats(0, 1))
def test_other_programs_are_no_reason_for_a_pause(duration, share):
    waits, _ = backoff(behind=False)
    waits.ran(duration, share * duration)
    assert waits.wait_s(NEVER) == 0


@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1)), min_size=1, max_size=50))
def test_however_little_of_a_core_is_left_the_pauses_are_a_fixed_multiple_of_what_was_computed(runs):
    waits, clock = backoff()
    paused = 0.0
    for duration, share in runs:
        clock.now += duration
        waits.ran(duration, share * duration)
        pause = waits.wait_s(NEVER)
        paused, clock.now = paused + pause, clock.now + pause
    assert paused <= CONTENTION_BACKOFF * sum(duration * share for duration, share in runs) + 1e-6


def test_a_pause_ends_when_the_sinks_have_caught_up():
    behind = [True]
    waits = Backoff(lambda: behind[0], Clock())
    waits.ran(10.0, 5.0)
    assert waits.wait_s(NEVER) > 0
    behind[0] = False
    assert waits.wait_s(NEVER) == 0


def test_what_waits_for_long_enough_gives_way_no_more():
    clock = Clock()
    book, waits = PatternBook(Summary(frozenset(), [], {}, {}, {}), 100, 100, monotonic=clock), Backoff(lambda: True, clock)
    book.admit([RegisteredPattern(1, "api", "t", "e", 1, 0)])
    clock.now += 1
    book.admit([RegisteredPattern(2, "api", "t", "e", 1, 1)])
    clock.now += MAX_GIVING_WAY_S - 1.5
    waits.ran(100.0, 50.0)
    assert waits.wait_s(book.give_way_until([1, 2])) == pytest.approx(0.5)
    assert waits.wait_s(book.give_way_until([2])) == pytest.approx(1.5)
    clock.now += 0.5
    assert waits.wait_s(book.give_way_until([2, 1])) == 0


def test_patterns_that_wait_since_before_the_start_wait_since_the_start():
    clock = Clock()
    book = PatternBook(Summary(frozenset({7}), [(7, 1, 0)], {}, {}, {}), 100, 100, monotonic=clock)
    assert book.give_way_until([7]) == clock.now + MAX_GIVING_WAY_S
    clock.now += 5
    book.requeue([(7, 1, 0)])
    assert book.give_way_until([7]) == clock.now - 5 + MAX_GIVING_WAY_S


def test_a_sink_is_behind_while_deliveries_leave_much_in_the_log():
    clock = Clock()
    lag = LogLag(clock)
    assert not lag.is_behind()
    lag.note(BEHIND_RECORDS - 1)
    assert not lag.is_behind()
    lag.note(BEHIND_RECORDS)
    assert lag.is_behind()
    clock.now += LAG_HOLDS_S
    assert not lag.is_behind()
