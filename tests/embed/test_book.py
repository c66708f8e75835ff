import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_embed.registry.book import PatternBook
from treering_embed.registry.registry import RegisteredPattern, Summary
from treering_runtime.clocks import SteadyClock

DAY = 86_400 * 10**9
EMPTY = Summary(frozenset(), [], {}, {}, {})


def pattern(number: int, service: str = "api", offset: int = 0, log_id: int = 1) -> RegisteredPattern:
    return RegisteredPattern(number, service, "t", "e", log_id, offset)


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


def crowded(max_patterns: int = 1_000, established: frozenset[str] = frozenset()) -> PatternBook:
    """A book in which a fiftieth of the places is left: 20."""
    summary = Summary(frozenset(range(max_patterns - 20)), [], {}, {}, {}, established=established)
    return PatternBook(summary, max_patterns, 10_000)


def test_where_the_room_runs_low_twice_as_many_give_way_as_are_spare():
    assert PatternBook(Summary(frozenset(range(979)), [], {}, {}, {}), 1_000, 10_000).surplus == 0
    assert crowded().surplus == 20
    assert PatternBook(Summary(frozenset(range(1_000)), [], {}, {}, {}), 1_000, 10_000).surplus == 40


def test_a_service_takes_no_more_of_the_last_room_than_it_leaves():
    book = crowded(established=frozenset({"flood", "auth"}))
    assert len(book.admit([pattern(number, "flood") for number in range(2_000, 2_050)])) == 10
    assert len(book.admit([pattern(3_000, "auth"), pattern(3_001, "new")])) == 1
    assert book.admit([pattern(4_000, "flood")]) == []


def test_invented_services_take_nothing_of_the_last_half():
    book = crowded(established=frozenset({"auth"}))
    invented = [pattern(number, f"invented {number}") for number in range(2_000, 2_050)]
    assert len(book.admit(invented)) == 10
    assert book.admit([pattern(3_000, "auth")]) == [pattern(3_000, "auth")]
    assert book.keyword_only_count == 40


def test_a_pattern_that_was_refused_comes_in_when_others_gave_way():
    book = crowded()
    book.admit([pattern(number, "flood") for number in range(2_000, 2_050)])
    book.admit([pattern(number, "flood") for number in range(2_000, 2_050)])
    refused = book.keyword_only_count
    assert refused >= 40
    book.forget(range(book.surplus))
    assert book.surplus == 0
    assert len(book.admit([pattern(number, "flood") for number in range(2_000, 2_050)])) >= 25
    assert book.keyword_only_count < refused


def test_what_was_read_again_holds_up_its_own_log_from_where_that_stands():
    book = PatternBook(EMPTY, 100, 100)
    book.admit([pattern(1, offset=3, log_id=1), pattern(2, offset=4, log_id=2)], not_before={1: 1_000, 2: 10})
    book.admit([pattern(3, offset=15, log_id=2)])
    assert (book.visible_end(1, 2_000), book.visible_end(2, 20)) == (1_000, 10)


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
