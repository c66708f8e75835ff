import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_embed.book import PatternBook
from treering_embed.registry import Pattern, Summary
from treering_runtime.clocks import SteadyClock

DAY = 86_400 * 10**9
EMPTY = Summary(frozenset(), [], {}, {}, {})


def pattern(number: int, service: str = "api", offset: int = 0, log_id: int = 1) -> Pattern:
    return Pattern(number, service, "t", "e", log_id, offset)


def test_known_patterns_are_not_admitted_again():
    book = PatternBook(EMPTY, 10, 10)
    assert book.admit([pattern(1), pattern(1), pattern(2)]) == [pattern(1), pattern(2)]
    assert book.admit([pattern(2)]) == []
    assert (book.pattern_count, book.pending_count) == (2, 2)


def test_over_the_cap_a_pattern_is_counted_once_and_holds_nothing_up():
    book = PatternBook(EMPTY, 1, 10)
    book.admit([pattern(1, offset=3)])
    assert book.admit([pattern(2, offset=4), pattern(2, offset=5)]) == []
    assert book.keyword_only_count == 1
    book.settle([1])
    assert book.visible_end(1, 9) == 9


def test_the_daily_cap_is_a_service_s_own_and_ends_with_the_day():
    now = [DAY * 100]
    book = PatternBook(EMPTY, 100, 1, clock=lambda: now[0])
    assert len(book.admit([pattern(1, "a"), pattern(2, "a"), pattern(3, "b")])) == 2
    now[0] += DAY
    assert book.admit([pattern(2, "a")]) == [pattern(2, "a")]
    assert book.keyword_only_count == 0


@pytest.mark.parametrize("leap", [10 * 365 * DAY, -10 * 365 * DAY, DAY, -DAY])
def test_a_clock_that_leaps_neither_opens_the_daily_cap_nor_keeps_it_closed(leap):
    wall, boot = [100 * DAY], [0]
    book = PatternBook(EMPTY, 100, 1, clock=SteadyClock(lambda: wall[0], lambda: boot[0]))
    book.admit([pattern(1)])
    for number in range(2, 5):
        wall[0] += leap
        assert book.admit([pattern(number)]) == []
    boot[0] += DAY
    assert book.admit([pattern(2)]) == [pattern(2)]


def test_today_s_patterns_count_after_a_restart():
    book = PatternBook(Summary(frozenset({7}), [], {}, {}, {"a": 1}), 100, 1)
    assert book.admit([pattern(8, "a")]) == []


def test_requeued_patterns_hold_visibility_at_the_oldest():
    book = PatternBook(Summary(frozenset({1, 2}), [(2, 1, 9)], {}, {}, {}), 100, 100)
    book.requeue([(1, 1, 4)])
    assert book.visible_end(1, 20) == 4
    book.settle([1])
    assert book.visible_end(1, 20) == 9
    book.forget([2])
    assert (book.visible_end(1, 20), book.is_known(2)) == (20, False)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=60))
def test_visible_end_is_the_oldest_waiting_pattern(steps):
    """Against a plain list of (offset, pattern) that wait."""
    book, waiting = PatternBook(EMPTY, 1_000, 1_000), {}
    for offset, (number, settle) in enumerate(steps):
        if settle:
            book.settle([number])
            waiting.pop(number, None)
        elif book.admit([pattern(number, offset=offset)]):
            waiting[number] = offset
        assert book.visible_end(1, offset + 1) == min(waiting.values(), default=offset + 1)
