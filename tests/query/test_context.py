"""GetLogContext on a real store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query.answers import context
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError

LOG = 7


@pytest.fixture
async def store(open_store: OpenStore, fill: Fill) -> AsyncIterator[Store]:
    async with open_store() as store:
        for start in (0, 50, 100):
            await fill(store, start, start + 50, 10)
            await store.seal()
        await fill(store, 150, 200)
        yield store


async def _context(store: Store, offset: int, log_id: int = LOG, **fields: int) -> tuple[list[Any], Any]:
    plan = context.plan(pb.GetLogContextRequest(position=Position(log_id=log_id, offset=offset), **fields))
    with store.snapshot() as snapshot:
        response = await store.run(snapshot, plan.answer)
    return [stored.position.offset for stored in response.records], response.index


@pytest.mark.parametrize("offset", [0, 3, 48, 52, 101, 149, 150, 199])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 2), (25, 25), (1000, 1000)])
@pytest.mark.parametrize("all_services", [False, True])
@pytest.mark.parametrize("near", [1, 12, 4_000])
async def test_neighbours_across_segments_and_memory(
    store: Store, offset: int, before: int, after: int, all_services: bool, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_NEAR", near)
    step = 1 if all_services else 5
    series = [number for number in range(200) if number % step == offset % step]
    place = series.index(offset)
    expected = series[max(0, place - before) : place + after + 1]
    found, index = await _context(store, offset, before=before, after=after, all_services=all_services)
    assert found == expected
    assert found[index] == offset


async def test_ten_on_each_side_unless_told(store: Store) -> None:
    found, index = await _context(store, 100)
    assert len(found) == 21
    assert index == 10


async def test_log_zero_is_the_only_log(store: Store) -> None:
    assert await _context(store, 100, log_id=0, before=0, after=0) == ([100], 0)


@pytest.mark.parametrize(("log_id", "offset"), [(LOG, 200), (LOG, 2**63), (8, 0), (0, 2**64 - 1)])
async def test_a_place_without_record_is_not_found(store: Store, log_id: int, offset: int) -> None:
    with pytest.raises(ServiceError) as error:
        await _context(store, offset, log_id=log_id)
    assert error.value.reason == ErrorReason.ERROR_REASON_NOT_FOUND


async def test_an_empty_store_has_no_neighbours(open_store: OpenStore) -> None:
    async with open_store() as store:
        with pytest.raises(ServiceError) as error:
            await _context(store, 0, log_id=0)
    assert error.value.reason == ErrorReason.ERROR_REASON_NOT_FOUND


@pytest.mark.parametrize("field", ["before", "after"])
def test_too_many_neighbours_are_refused(field: str) -> None:
    with pytest.raises(ServiceError) as error:
        context.plan(within_limits(pb.GetLogContextRequest(**{field: 1_001})))
    assert error.value.metadata == {"field": field, "limit": "1000"}
