"""Who holds which id of a pattern."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.colliding import ONE_ID, collide
from treering_runtime.patterns import NO_PATTERN, PatternIds, former_pattern_id, pattern_id

AUTH, EVIL = ("auth", "failed password for <*>"), ("evil", "qzxv")
OLD, NEW = ("shop", "order <*> paid"), ("shop", "order <*> sent")


def as_ids(*numbers: int) -> npt.NDArray[Any]:
    return np.array(numbers, np.uint64)


def test_a_kind_whose_id_another_one_holds_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch, AUTH[1], EVIL[1])
    for first, second in ((AUTH, EVIL), (EVIL, AUTH)):
        ids = PatternIds()
        assert [ids.claim(*first), ids.claim(*second), ids.claim(*first)] == [ONE_ID, NO_PATTERN, ONE_ID]
        restarted = PatternIds([(ONE_ID, *first), (NO_PATTERN, "", "none")])
        assert (restarted.claim(*second), restarted.claim(*first)) == (NO_PATTERN, ONE_ID)
        restarted.release([ONE_ID])
        assert restarted.claim(*second) == ONE_ID


def test_no_kind_holds_the_id_0(monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch, AUTH[1], wanted=0)
    ids = PatternIds()
    assert (ids.claim(*AUTH), ids.claim(*AUTH), PatternIds([(0, *AUTH)]).claim(*AUTH)) == (0, 0, 0)


def test_a_kind_that_is_stored_under_a_former_id_keeps_it() -> None:
    held, other = former_pattern_id(*OLD), pattern_id(*NEW)
    ids = PatternIds([(held, *OLD)])
    assert (ids.claim(*OLD), ids.claim(*NEW)) == (held, other)
    assert ids.to_wire(as_ids(held, other, 5)).tolist() == [pattern_id(*OLD), other, 5]
    assert ids.to_stored(as_ids(5, pattern_id(*OLD), other)).tolist() == [5, held, other]
    ids.release([held])
    assert ids.claim(*OLD) == pattern_id(*OLD)
    assert ids.to_wire(as_ids(held, other)).tolist() == [held, other]
    assert ids.to_stored(as_ids(pattern_id(*OLD))).tolist() == [pattern_id(*OLD)]


def test_nobody_gets_the_id_that_a_former_kind_is_known_by(monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch, OLD[1], EVIL[1])
    ids = PatternIds([(former_pattern_id(*OLD), *OLD)])
    assert ids.claim(*EVIL) == NO_PATTERN
    assert ids.to_stored(as_ids(ONE_ID)).tolist() == [former_pattern_id(*OLD)]


def test_a_former_id_that_is_the_new_one_of_another_kind_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Former ids could be aimed at: somebody stored a text under the id that the victim's kind has now."""
    collide(monkeypatch, AUTH[1], wanted=former_pattern_id(*EVIL))
    ids = PatternIds([(former_pattern_id(*EVIL), *EVIL)])
    assert ids.claim(*AUTH) == NO_PATTERN
    assert ids.to_stored(as_ids(pattern_id(*AUTH))).tolist() == [NO_PATTERN]


def test_of_two_former_kinds_with_one_new_id_the_second_is_unknown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch, OLD[1], NEW[1])
    first, second = former_pattern_id(*OLD), former_pattern_id(*NEW)
    ids = PatternIds([(first, *OLD), (second, *NEW)])
    assert (ids.claim(*OLD), ids.claim(*NEW)) == (first, second)
    assert ids.to_wire(as_ids(first, second)).tolist() == [ONE_ID, NO_PATTERN]
    assert ids.to_stored(as_ids(NO_PATTERN, ONE_ID)).tolist() == [NO_PATTERN, first]


kinds = st.tuples(st.sampled_from(["", "a", "a\0"]), st.sampled_from(["x", "\0x", "y <*>", "z"]))


@given(st.sets(kinds), st.sets(kinds), st.sets(kinds), st.sets(kinds))
def test_two_sides_that_keep_different_kinds_mean_the_same(
    old_here: set[Any], old_there: set[Any], gone_here: set[Any], seen: set[Any]
) -> None:
    """Whatever each side held from before, forgot, and met again."""
    here = PatternIds([(former_pattern_id(*kind), *kind) for kind in old_here])
    there = PatternIds([(former_pattern_id(*kind), *kind) for kind in old_there])
    here.release([here.claim(*kind) for kind in gone_here & old_here])
    for kind in seen:
        sent = here.to_wire(as_ids(here.claim(*kind)))
        assert sent.tolist() == [pattern_id(*kind)]
        assert there.to_stored(sent).tolist() == [there.claim(*kind)]
