"""WatchPatterns on a real store: live, resumed, over restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import limits
from treering_query.retention.upkeep import Policy
from treering_query.store.store import Store
from treering_query.streams import watch, watch_feed
from treering_query.streams.hub import Hub
from treering_query.streams.watch import Watch
from treering_query.streams.watch_news import WatchReader
from treering_runtime.errors import ServiceError

LOG = 7
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
ARRIVAL = 1_800_000_000_000_000_000


@pytest.fixture
def send(frame: MakeFrame, record: MakeRecord) -> Callable[..., Coroutine[Any, Any, None]]:
    """Delivers records from an offset on, a text each."""

    async def deliver(store: Store, first: int, texts: list[str], **fields: Any) -> None:
        await store.open_log(LOG, 0)
        records = [record(first + place, message=f"{text} is here", service="one", **fields) for place, text in enumerate(texts)]
        await store.deliver(LOG, [frame(first, records)], first + len(records))

    return deliver


def watching(
    store: Store, heartbeat_s: float = 60.0, hub: None = None, **fields: LogFilter | int
) -> AsyncIterator[pb.WatchPatternsResponse]:
    return Watch(store, hub or Hub(store, WatchReader, pause_s=0.0), watch.plan(pb.WatchPatternsRequest(**fields)), heartbeat_s).run()


def since(offset: int) -> dict[Any, Any]:
    return {"start_positions": [Position(log_id=LOG, offset=offset)]}


async def take(stream: AsyncIterator[pb.WatchPatternsResponse], count: int) -> list[Any]:
    """So many announcements, signs of life left out."""
    found = []
    async with asyncio.timeout(30):
        while len(found) < count:
            response = await anext(stream)
            if response.HasField("pattern"):
                found.append(response)
    return found


def said(responses: list[Any]) -> list[Any]:
    return [(response.pattern.text.split()[0], response.resume_from[0].offset) for response in responses]


async def nothing_more(stream: AsyncIterator[pb.WatchPatternsResponse], store: Store) -> None:
    """The next thing that a watch has to say is that the service stops."""
    store.board.drain()
    with pytest.raises(ServiceError) as error:
        await take(stream, 1)
    assert error.value.reason == ErrorReason.ERROR_REASON_DRAINING


async def test_only_what_was_never_seen_is_announced_with_its_first_record(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha", "beta"])
        stream = watching(store)
        first = await anext(stream)
        assert not first.HasField("pattern")
        assert list(first.resume_from) == [Position(log_id=LOG, offset=2)]
        await send(store, 2, ["alpha", "gamma", "beta", "gamma", "delta"])
        announced = await take(stream, 2)
        assert said(announced) == [("gamma", 4), ("delta", 7)]
        gamma = announced[0]
        assert (gamma.first_record.position.offset, gamma.first_record.record.message) == (3, "gamma is here")
        assert (gamma.pattern.count, gamma.pattern.example, sum(gamma.pattern.count_by_severity.values())) == (2, "gamma is here", 2)
        assert gamma.pattern.first_time_unix_nano == gamma.first_record.record.time_unix_nano
        await nothing_more(stream, store)


async def test_resuming_brings_what_came_meanwhile_from_segments_and_memory_and_nothing_twice(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha", "beta", "gamma"])
        await store.seal()
        await send(store, 3, ["beta", "delta"])
        stream = watching(store, **since(2))
        assert said(await take(stream, 2)) == [("gamma", 3), ("delta", 5)]
        await nothing_more(stream, store)


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_restart_of_the_store_neither_loses_nor_repeats(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]], sealed: bool
) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha", "beta"])
        if sealed:
            await store.seal()
        stream = watching(store, **since(1))
        (beta,) = await take(stream, 1)
        await stream.aclose()
    async with open_store() as store:
        stream = watching(store, start_positions=beta.resume_from)
        if not sealed:
            await send(store, 0, ["alpha", "beta"])
        await send(store, 2, ["alpha", "gamma"])
        assert said(await take(stream, 1)) == [("gamma", 4)]
        await nothing_more(stream, store)


async def test_a_new_fleet_comes_in_many_looks(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_feed, "AT_ONCE", 3)
    async with open_store() as store:
        await send(store, 0, WORDS)
        stream = watching(store, **since(0))
        assert said(await take(stream, 8)) == [(word, place + 1) for place, word in enumerate(WORDS)]
        await nothing_more(stream, store)


async def test_large_first_records_come_in_answers_that_fit(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", 3_000)
    async with open_store() as store:
        await store.open_log(LOG, 0)
        records = [record(place, message=f"{word} {'x' * 2_000}", service="one") for place, word in enumerate(WORDS)]
        await store.deliver(LOG, [frame(0, records)], 8)
        stream = watching(store, **since(0))
        assert said(await take(stream, 8)) == [(word, place + 1) for place, word in enumerate(WORDS)]
        await stream.aclose()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (LogFilter(min_severity=17), ["gamma"]),
        (LogFilter(services=["other"]), []),
        (LogFilter(environments=["dev"]), ["beta", "delta"]),
        (LogFilter(message_contains="ALPHA"), ["alpha"]),
    ],
)
async def test_the_filter_is_asked_of_the_first_record(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]], chosen: LogFilter, expected: list[str]
) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha", "beta", "gamma", "delta", "alpha", "beta", "alpha"])
        stream = watching(store, filter=chosen, **since(0))
        assert [text for text, _ in said(await take(stream, len(expected)))] == expected
        await nothing_more(stream, store)


async def test_what_has_arrived_since_a_time(open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha"])
        await store.seal()
        await send(store, 1, ["beta"])
        await send(store, 2, ["gamma"])
        stream = watching(store, since_unix_nano=ARRIVAL + 1)
        assert said(await take(stream, 2)) == [("beta", 2), ("gamma", 3)]
        everything = watching(store, since_unix_nano=0)
        assert [text for text, _ in said(await take(everything, 3))] == ["alpha", "beta", "gamma"]
        await nothing_more(stream, store)


async def test_a_pattern_whose_first_record_has_expired_is_announced_without_it(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async def forget(_ids: Sequence[int], _below: Sequence[Position]) -> None:
        pass

    async with open_store() as store:
        await send(store, 0, ["alpha"])
        await store.seal()
        await send(store, 1, ["alpha", "beta"])
        await store.keep_up(Policy(age_s=1), ARRIVAL + 10**18, forget)
        stream = watching(store, **since(0))
        alpha, beta = await take(stream, 2)
        assert not alpha.HasField("first_record")
        assert (alpha.pattern.text, alpha.pattern.count) == ("alpha is here", 1)
        assert beta.HasField("first_record")
        await stream.aclose()


async def test_silence_is_broken_by_a_sign_of_life(open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha"])
        stream = watching(store, heartbeat_s=0.01)
        await anext(stream)
        life = await anext(stream)
        assert not life.HasField("pattern")
        assert list(life.resume_from) == [Position(log_id=LOG, offset=1)]
        await stream.aclose()


async def test_old_patterns_in_new_records_cost_no_query(
    open_store: OpenStore, send: Callable[..., Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store:
        await send(store, 0, ["alpha"])
        stream = watching(store, heartbeat_s=0.01, **since(0))
        await take(stream, 1)
        asked = []
        monkeypatch.setattr(store, "run", lambda *work: asked.append(work))
        await send(store, 1, ["alpha"] * 5)
        async with asyncio.timeout(30):
            while (await anext(stream)).resume_from[0].offset < 6:
                pass
        assert not asked
        await stream.aclose()


def test_a_time_beyond_time_is_refused() -> None:
    with pytest.raises(ServiceError) as error:
        watch.plan(within_limits(pb.WatchPatternsRequest(since_unix_nano=2**63)))
    assert error.value.metadata["field"] == "since_unix_nano"
