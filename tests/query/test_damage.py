"""What is remembered of damaged segments."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.query.conftest import Fill, OpenStore
from treering.v1.log_pb2 import Position
from treering_query.retention.upkeep import Policy
from treering_query.sealed import damage as damage_module
from treering_query.sealed.damage import Damage, DamagedSegmentError, problem_of
from treering_query.store.store import Store
from treering_query.values.segment import Segment

LONG_AFTER = 2**62


async def nobody(pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
    """Stands for the embed service."""


async def segments_of(
    open_store: Callable[..., AbstractAsyncContextManager[Store, bool | None]],
    fill: Callable[..., Coroutine[Any, Any, None]],
    count: int = 1,
) -> tuple[Segment, ...]:
    async with open_store() as store:
        for start in range(0, 100 * count, 100):
            await fill(store, start, start + 100)
            await store.seal()
        return store.view.segments


def found(damage: Damage, segment: Segment) -> DamagedSegmentError | None:
    return damage.find([segment], segment.path.name, until=2**62)


def is_refused(damage: Damage, segment: Segment) -> bool:
    try:
        damage.refuse([segment])
    except DamagedSegmentError:
        return True
    return False


async def test_a_file_that_is_put_back_while_it_is_read_is_read_again(
    open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = await segments_of(open_store, fill)
    whole = segment.path.read_bytes()
    segment.path.write_bytes(whole[:-1] + b"?")

    def put_back_after_it_was_read(each: Any) -> str | None:
        problem = problem_of(each)
        each.path.unlink()
        each.path.write_bytes(whole)
        return problem

    damage = Damage()
    with monkeypatch.context() as patch:
        patch.setattr(damage_module, "problem_of", put_back_after_it_was_read)
        assert isinstance(found(damage, segment), DamagedSegmentError)
    assert not is_refused(damage, segment)
    assert damage.segment_ids == ()


async def test_the_same_of_one_that_was_known_to_be_damaged(open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    (segment,) = await segments_of(open_store, fill)
    whole = segment.path.read_bytes()
    segment.path.write_bytes(whole[:-1] + b"?")
    damage = Damage()
    found(damage, segment)
    segment.path.write_bytes(whole[:-2] + b"??")

    def put_back_after_it_was_read(each: Any) -> str | None:
        problem = problem_of(each)
        each.path.unlink()
        each.path.write_bytes(whole)
        return problem

    with monkeypatch.context() as patch:
        patch.setattr(damage_module, "problem_of", put_back_after_it_was_read)
        assert is_refused(damage, segment)
    assert not is_refused(damage, segment)


async def test_what_has_left_the_store_is_forgotten(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        for start in range(0, 300, 100):
            await fill(store, start, start + 100)
            await store.seal()
        for segment in store.view.segments:
            segment.path.write_bytes(b"PAR1")
            found(store.damage, segment)
        assert len(store.damage.segment_ids) == 3
        with store.snapshot():
            await store.keep_up(Policy(age_s=1), LONG_AFTER, nobody)
            await store.keep_up(Policy(), LONG_AFTER, nobody)
            assert len(store.damage.segment_ids) == 3
        await store.keep_up(Policy(), LONG_AFTER, nobody)
        assert store.damage.segment_ids == ()
