"""Many tails and watches over one hub: each gets what is its own, once and in order, and the store is asked once for all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cancelling import at_each_await
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import limits
from treering_query.store.store import Store
from treering_query.streams import tail, tail_news, watch, watch_feed
from treering_query.streams.hub import Hub
from treering_query.streams.tail import Tail
from treering_query.streams.tail_feed import TailMatches
from treering_query.streams.tail_news import TailReader
from treering_query.streams.watch import Watch
from treering_query.streams.watch_news import WatchReader
from treering_query.values.segment import Segment
from treering_query.view.session import Session, Values
from treering_query.view.view import View
from treering_runtime import caller
from treering_runtime.errors import ServiceError

LOG = 7
FILTERS = [
    LogFilter(),
    LogFilter(services=["svc1"]),
    LogFilter(min_severity=17),
    LogFilter(environments=["dev"], services=["svc2", "svc3"]),
    LogFilter(message_contains="USER 1"),
    LogFilter(positions=[Position(log_id=LOG, offset=offset) for offset in range(0, 3_000, 7)]),
]


def selects(number: int, chosen: LogFilter) -> Any | bool:
    """The plain twin of the filters above, for the record of a number."""
    return (
        (not chosen.services or f"svc{number % 5}" in chosen.services)
        and (9, 13, 17)[number % 3] >= chosen.min_severity
        and (not chosen.environments or ("prod", "dev")[number % 2] in chosen.environments)
        and chosen.message_contains.lower() in f"user {number} logged in"
        and (not chosen.positions or number % 7 == 0)
    )


def wanted(chosen: LogFilter, start: int, stop: int) -> list[Any]:
    return [number for number in range(start, stop) if selects(number, chosen)]


class Reading:
    """A client that reads a tail until it is told what the last offset is."""

    def __init__(self, store: Store, hub: Hub[TailMatches], chosen: LogFilter, **fields: list[Any] | list[Position]) -> None:
        self.chosen = chosen
        self.offsets, self.skipped, self.place = [], 0, 0
        self._moved = asyncio.Condition()
        tailing = Tail(store, hub, tail.plan(pb.TailLogsRequest(filter=chosen, **fields)), 0.05)
        self.task = asyncio.create_task(self._read(tailing))

    async def _read(self, tailing: Tail) -> None:
        async for response in tailing.run():
            async with self._moved:
                self.offsets += [stored.position.offset for stored in response.records]
                self.skipped += response.skipped_count
                self.place = max([position.offset for position in response.resume_from], default=0)
                self._moved.notify_all()

    async def until(self, offset: int) -> None:
        async with asyncio.timeout(60), self._moved:
            await self._moved.wait_for(lambda: self.place >= offset)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def store(open_store: OpenStore, fill: Fill) -> AsyncIterator[Store]:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        await fill(store, 100, 200)
        yield store


@pytest.fixture
def tails(store: Store) -> Hub[Any]:
    return Hub(store, TailReader, pause_s=0.0)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """Counts statements that the store runs."""
    asked = Counter()
    query = Session.query

    def counted(self: Session, view: View, segments: Callable[[], Sequence[Segment]], sql: str, parameters: Values) -> Any:
        asked["all"] += 1
        return query(self, view, segments, sql, parameters)

    monkeypatch.setattr(Session, "query", counted)
    return asked


async def joined(hub: Hub[watch_feed.Announcement], count: int) -> None:
    while hub._round is None or len(hub._round._feeds) < count:  # noqa: ASYNC110 - the followers are on their way
        await asyncio.sleep(0)


async def test_fifty_tails_ask_the_store_once_for_each_delivery_and_miss_nothing_across_seals(
    store: Store, tails: Hub[Any], fill: Fill, questions: Counter[Any]
) -> None:
    readers = [Reading(store, tails, FILTERS[number % len(FILTERS)]) for number in range(50)]
    await joined(tails, 50)
    questions.clear()
    deliveries = 20
    for number in range(deliveries):
        first = 200 + number * 100
        await fill(store, first, first + 100)
        if number % 5 == 4:
            await store.seal()
    last = 200 + deliveries * 100
    await asyncio.gather(*(reader.until(last) for reader in readers))
    for reader in readers:
        assert reader.offsets == wanted(reader.chosen, 200, last)
        assert reader.skipped == 0
    # one statement for each look, and another one where the records are in a segment by then
    assert questions["all"] <= 2 * deliveries
    await asyncio.gather(*(reader.stop() for reader in readers))


async def test_fifty_watches_ask_the_store_once_for_each_delivery(
    store: Store, frame: MakeFrame, record: MakeRecord, questions: Counter[Any]
) -> None:
    hub = Hub(store, WatchReader, pause_s=0.0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    found = [[] for _ in range(50)]

    async def read(number: int) -> None:
        chosen = LogFilter(services=["one"]) if number % 2 else LogFilter(message_contains="a")
        async for response in Watch(store, hub, watch.plan(pb.WatchPatternsRequest(filter=chosen)), 0.05).run():
            if response.HasField("pattern"):
                found[number].append(response.pattern.text.split()[0])

    reading = [asyncio.create_task(read(number)) for number in range(50)]
    await joined(hub, 50)
    questions.clear()
    for place, word in enumerate(words):
        service = ("one", "two")[place % 2]
        await store.deliver(LOG, [frame(200 + place, [record(200 + place, message=f"{word} is here", service=service)])], 201 + place)
    expected = [[word for word in words if "a" in word], words[::2]]
    async with asyncio.timeout(60):
        while any(found[number] != expected[number % 2] for number in range(50)):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert questions["all"] <= 3 * len(words) * 2  # patterns, their records, their counts; a pass that joins templates looks once more
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_tail_from_an_old_position_reads_alone_and_then_joins(store: Store, tails: Hub[Any], fill: Fill, sealed: bool) -> None:
    live = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    old = Reading(store, tails, FILTERS[1], start_positions=[Position(log_id=LOG, offset=42)])
    for first in range(200, 600, 50):
        await fill(store, first, first + 50)
        if sealed:
            await store.seal()
    await asyncio.gather(live.until(600), old.until(600))
    assert live.offsets == wanted(FILTERS[0], 200, 600)
    assert old.offsets == wanted(FILTERS[1], 42, 600)
    await asyncio.gather(live.stop(), old.stop())


async def test_who_comes_while_the_hub_reads_begins_after_that(
    store: Store, tails: Hub[Any], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    run, held, going = store.run, asyncio.Event(), asyncio.Event()

    async def slow(snapshot: Any, work: Any, timeout_s: None = None) -> Any:
        result = await run(snapshot, work, timeout_s)
        going.set()
        await held.wait()
        return result

    monkeypatch.setattr(store, "run", slow)
    await fill(store, 200, 300)
    await going.wait()
    second = Reading(store, tails, FILTERS[1], start_positions=[Position(log_id=LOG, offset=250)])
    monkeypatch.setattr(store, "run", run)
    await joined(tails, 2)
    held.set()
    await fill(store, 300, 400)
    await asyncio.gather(first.until(400), second.until(400))
    assert first.offsets == wanted(FILTERS[0], 200, 400)
    assert second.offsets == wanted(FILTERS[1], 250, 400)
    await asyncio.gather(first.stop(), second.stop())


async def test_records_that_are_not_shared_any_more_are_read_again(
    store: Store, tails: Hub[Any], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TAIL_SHARED_BYTES", 1)
    monkeypatch.setattr(limits, "TAIL_MESSAGE_RECORDS", 7)
    reader = Reading(store, tails, FILTERS[2])
    await joined(tails, 1)
    await fill(store, 200, 400)
    await store.seal()
    await fill(store, 400, 500)
    await reader.until(500)
    assert reader.offsets == wanted(FILTERS[2], 200, 500)
    await reader.stop()


async def test_a_reader_that_lags_skips_the_oldest_keeps_no_records_and_is_told(
    store: Store, tails: Hub[Any], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_TAIL_BEHIND_RECORDS", 30)
    monkeypatch.setattr(limits, "TAIL_SHARED_BYTES", 1)
    other = Reading(store, tails, FILTERS[0])
    slow = Tail(store, tails, tail.plan(pb.TailLogsRequest()), 60.0).run()
    waiting = asyncio.ensure_future(anext(slow))
    await joined(tails, 2)
    await fill(store, 200, 201)
    assert [stored.position.offset for stored in (await waiting).records] == [200]
    for first in range(201, 401, 20):
        await fill(store, first, first + 20)
        await other.until(first + 20)
    offsets, skipped = [], 0
    async with asyncio.timeout(60):
        while len(offsets) < 30:
            response = await anext(slow)
            offsets += [stored.position.offset for stored in response.records]
            skipped += response.skipped_count
    assert (offsets, skipped) == (list(range(371, 401)), 170)
    assert response.resume_from == [Position(log_id=LOG, offset=401)]
    assert other.skipped == 0
    await slow.aclose()
    await other.stop()


async def test_large_records_come_in_answers_that_fit(
    store: Store, tails: Hub[Any], frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", 3_000)
    reader = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    records = [record(200 + place, message=f"{place} {'x' * 2_000}") for place in range(9)]
    await store.deliver(LOG, [frame(200, records)], 209)
    await reader.until(209)
    assert reader.offsets == list(range(200, 209))
    await reader.stop()


async def test_when_reading_for_all_fails_each_reads_alone_and_only_the_one_at_fault_ends(
    store: Store, tails: Hub[Any], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = Reading(store, tails, FILTERS[1]), Reading(store, tails, LogFilter(services=["bad"]))
    await joined(tails, 2)
    query = Session.query

    def failing(self: Session, view: View, segments: Callable[[], Sequence[Segment]], sql: str, parameters: Values) -> Any:
        if "bad" in str(parameters):
            raise ServiceError(ErrorReason.ERROR_REASON_SQL_LIMIT, "too much for this one")
        return query(self, view, segments, sql, parameters)

    monkeypatch.setattr(Session, "query", failing)
    await fill(store, 200, 300)
    async with asyncio.timeout(60):
        with pytest.raises(ServiceError, match="too much for this one"):
            await bad.task
    await fill(store, 300, 400)
    await good.until(400)
    assert good.offsets == wanted(FILTERS[1], 200, 400)
    await good.stop()


async def test_a_watch_that_reads_slowly_misses_nothing(
    store: Store, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_feed, "AT_ONCE", 3)
    hub = Hub(store, WatchReader, pause_s=0.0)
    slow = Watch(store, hub, watch.plan(pb.WatchPatternsRequest()), 60.0).run()
    await anext(slow)
    waiting = asyncio.ensure_future(anext(slow))
    await joined(hub, 1)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    for place, word in enumerate(words):
        await store.deliver(LOG, [frame(200 + place, [record(200 + place, message=f"{word} is here")])], 201 + place)
        async with asyncio.timeout(60):
            while hub._round._next[LOG] < 201 + place:  # noqa: ASYNC110 - the hub reads on, whoever lags
                await asyncio.sleep(0)
    found = [(await waiting).pattern.text.split()[0]]
    async with asyncio.timeout(60):
        while len(found) < len(words):
            found.append((await anext(slow)).pattern.text.split()[0])
    assert found == words
    await slow.aclose()


async def test_nothing_is_left_when_the_last_one_goes(store: Store, tails: Hub[Any], fill: Fill) -> None:
    before = asyncio.all_tasks()
    reader = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    await reader.stop()
    async with asyncio.timeout(60):
        while asyncio.all_tasks() - before:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert tails._round is None
    assert store._published.held() == 0


async def test_all_end_when_the_service_stops(store: Store, tails: Hub[Any]) -> None:
    readers = [Reading(store, tails, chosen) for chosen in FILTERS]
    await joined(tails, len(readers))
    store.board.drain()
    for reader in readers:
        async with asyncio.timeout(60):
            with pytest.raises(ServiceError) as error:
                await reader.task
        assert error.value.reason == ErrorReason.ERROR_REASON_DRAINING


async def test_a_new_log_that_begins_late_is_followed_from_there(
    store: Store, tails: Hub[Any], frame: MakeFrame, record: MakeRecord
) -> None:
    reader = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    begin = 50_000_000_000
    await store.open_log(9, begin)
    await store.deliver(9, [frame(begin, [record(0), record(1)])], begin + 2)
    await reader.until(begin + 2)
    assert reader.offsets == [begin, begin + 1]
    await reader.stop()


async def test_a_tail_cancelled_at_any_await_leaves_the_hub_to_the_others(store: Store, tails: Hub[Any], fill: Fill) -> None:
    other = Reading(store, tails, FILTERS[0])
    await joined(tails, 1)
    end = 200

    async def some() -> None:
        nonlocal end
        tailing = Tail(store, tails, tail.plan(pb.TailLogsRequest(backlog=5)), 60.0).run()
        try:
            await anext(tailing)
            delivered = asyncio.create_task(fill(store, end, end + 10))
            end += 10
            await asyncio.shield(delivered)
            await anext(tailing)
        finally:
            await tailing.aclose()

    async def only_the_other_is_there(step: int) -> None:
        await other.until(end)
        assert len(tails._round._feeds) == 1

    assert await at_each_await(some, only_the_other_is_there) > 3
    assert other.offsets == list(range(200, end))
    await other.stop()


moves = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(1, 60)),
        st.tuples(st.just("seal"), st.just(0)),
        st.tuples(st.just("join"), st.integers(0, len(FILTERS) - 1)),
        st.tuples(st.just("resume"), st.integers(0, len(FILTERS) - 1)),
        st.tuples(st.just("leave"), st.integers(0, 10)),
        st.tuples(st.just("breathe"), st.integers(1, 20)),
    ),
    min_size=5,
    max_size=25,
)


async def play(open_store: OpenStore, fill: Fill, directory: Path, plays: list[Any]) -> None:
    """Tails come and go while records are delivered and sealed; each must have got what a plain filter says."""
    end, readers = 0, []
    async with open_store(directory=directory) as store:
        await store.open_log(LOG, 0)
        hub = Hub(store, TailReader, pause_s=0.0)
        for move, value in plays:
            match move:
                case "deliver":
                    await fill(store, end, end + value, size=17)
                    end += value
                case "seal":
                    await store.seal()
                case "join" | "resume":
                    begin = end if move == "join" else end // 2
                    place = [Position(log_id=LOG, offset=begin)]
                    readers.append((begin, Reading(store, hub, FILTERS[value], start_positions=place)))
                case "leave" if readers:
                    _, reader = readers.pop(value % len(readers))
                    await reader.stop()
                case "breathe":
                    for _ in range(value):
                        await asyncio.sleep(0)
        await fill(store, end, end + 1)
        for begin, reader in readers:
            await reader.until(end + 1)
            assert reader.offsets == wanted(reader.chosen, begin, end + 1)
            await reader.stop()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plays=moves, shared_bytes=st.sampled_from([1, 5_000, limits.TAIL_SHARED_BYTES]), window=st.sampled_from([7, 100_000]))
def test_each_tail_gets_what_a_plain_filter_selects(
    open_store: OpenStore, fill: Fill, tmp_path_factory: pytest.TempPathFactory, plays: list[Any], shared_bytes: Any, window: Any
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "TAIL_SHARED_BYTES", shared_bytes)
        patched.setattr(tail_news, "WINDOW_OFFSETS", window)
        asyncio.run(play(open_store, fill, tmp_path_factory.mktemp("hub"), plays))


async def test_what_is_read_for_all_spends_nobodys_turns(
    store: Store, tails: Hub[Any], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, run = [], store.run

    async def noted(snapshot: Any, work: Any, timeout_s: None = None) -> Any:
        asked.append(caller.current())
        return await run(snapshot, work, timeout_s)

    monkeypatch.setattr(store, "run", noted)
    first = caller.as_ourselves()
    first.run(caller.serve, "unix:greedy")
    reader = first.run(Reading, store, tails, LogFilter(), backlog=1)
    await joined(tails, 1)
    assert set(asked) == {"unix:greedy"}
    asked.clear()
    await fill(store, 200, 300)
    await reader.until(300)
    assert set(asked) == {caller.OURSELVES}
    await reader.stop()
