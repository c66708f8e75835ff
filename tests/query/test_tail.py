"""TailLogs on a real store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import limits
from treering_query.store.store import Store
from treering_query.streams import tail
from treering_query.streams.hub import Hub
from treering_query.streams.tail import Tail
from treering_query.streams.tail_news import TailReader
from treering_runtime.errors import ServiceError

LOG = 7


@pytest.fixture
async def store(open_store: OpenStore, fill: Fill) -> AsyncIterator[Store]:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        await fill(store, 100, 200)
        yield store


def _tail(
    store: Store, heartbeat_s: float = 60.0, hub: None = None, **fields: int | list[Any] | LogFilter
) -> AsyncIterator[pb.TailLogsResponse]:
    return Tail(store, hub or Hub(store, TailReader, pause_s=0.0), tail.plan(pb.TailLogsRequest(**fields)), heartbeat_s).run()


async def _take(stream: AsyncIterator[pb.TailLogsResponse], count: int) -> list[Any]:
    offsets = []
    async with asyncio.timeout(30):
        while len(offsets) < count:
            offsets += [stored.position.offset for stored in (await anext(stream)).records]
    return offsets


async def test_backlog_then_live_without_gap_or_repeat(store: Store, fill: Fill) -> None:
    stream = _tail(store, backlog=150)
    assert await _take(stream, 150) == list(range(50, 200))
    waiting = asyncio.create_task(_take(stream, 30))
    await fill(store, 200, 230)
    assert await waiting == list(range(200, 230))
    await stream.aclose()


async def test_resumes_from_a_position(store: Store) -> None:
    stream = _tail(store, start_positions=[Position(log_id=LOG, offset=42)])
    assert await _take(stream, 158) == list(range(42, 200))
    await stream.aclose()


async def test_resume_from_names_the_first_record_that_was_not_sent(store: Store) -> None:
    stream = _tail(store, backlog=10)
    first = await anext(stream)
    assert [(position.log_id, position.offset) for position in first.resume_from] == [(LOG, 200)]
    await stream.aclose()


async def test_a_filter_selects(store: Store) -> None:
    stream = _tail(store, backlog=5, filter=LogFilter(services=["svc3"]))
    assert await _take(stream, 5) == [178, 183, 188, 193, 198]
    await stream.aclose()


async def test_silence_is_broken_by_a_sign_of_life(store: Store) -> None:
    stream = _tail(store, heartbeat_s=0.01)
    response = await anext(stream)
    assert not response.records
    assert response.resume_from == [Position(log_id=LOG, offset=200)]
    await stream.aclose()


async def test_a_slow_reader_skips_the_oldest_and_is_told(store: Store, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TAIL_BEHIND_RECORDS", 20)
    stream = _tail(store, backlog=1)
    assert await _take(stream, 1) == [199]
    await fill(store, 200, 300)
    response = await anext(stream)
    assert response.skipped_count == 80
    assert [stored.position.offset for stored in response.records] == list(range(280, 300))
    await stream.aclose()


async def test_what_was_asked_for_by_position_is_never_skipped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TAIL_BEHIND_RECORDS", 20)
    monkeypatch.setattr(limits, "TAIL_MESSAGE_RECORDS", 7)
    stream = _tail(store, start_positions=[Position(log_id=LOG, offset=0)])
    assert await _take(stream, 200) == list(range(200))
    await stream.aclose()


async def test_too_long_a_backlog_is_refused() -> None:
    with pytest.raises(ServiceError) as error:
        tail.plan(within_limits(pb.TailLogsRequest(backlog=10_001)))
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
