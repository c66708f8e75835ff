from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from treering_embed.indexing.comparison import compare
from treering_embed.registry.registry import State

PENDING, INDEXED, UNREADABLE = State.PENDING, State.INDEXED, State.UNREADABLE
STATES = st.dictionaries(st.integers(0, 12), st.sampled_from(State))


def test_each_pattern_is_named_by_its_state() -> None:
    states = {5: INDEXED, 3: INDEXED, 4: PENDING, 7: UNREADABLE}
    found = compare(states, [3, 5], states)
    assert (found.indexed, found.pending, found.unreadable, found.missing, found.unknown) == ([3, 5], [4], [7], [], [])


def test_what_only_one_of_them_has_is_a_fault() -> None:
    states = {1: INDEXED, 2: INDEXED}
    found = compare(states, [2, 9], states)
    assert (found.indexed, found.missing, found.unknown) == ([2], [1], [9])


def test_vectors_of_patterns_that_wait_are_no_fault() -> None:
    """They were upserted and are not marked yet."""
    found = compare({1: PENDING}, [1], {1: PENDING})
    assert (found.pending, found.missing, found.unknown) == ([1], [], [])


def test_what_changed_while_the_index_was_read_is_no_fault() -> None:
    forgotten = compare({1: INDEXED}, [1], {})
    assert forgotten.unknown == []
    registered = compare({}, [1], {1: INDEXED})
    assert (registered.indexed, registered.unknown) == ([1], [])
    indexed_since = compare({1: PENDING}, [], {1: INDEXED})
    assert (indexed_since.indexed, indexed_since.missing) == ([1], [])


@given(before=STATES, held=st.sets(st.integers(0, 12)), after=STATES)
def test_every_registered_pattern_has_exactly_one_state(before: dict[int, Any], held: set[Any], after: dict[int, Any]) -> None:
    found = compare(before, held, after)
    named = found.indexed + found.pending + found.unreadable + found.missing
    assert sorted(named) == sorted(after)
    assert not set(found.unknown) & (before.keys() | after.keys())
    assert set(found.unknown) <= held
    assert not set(found.missing) & held
