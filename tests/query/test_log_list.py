"""ListLogs against a plain Python twin: order, pages while records arrive, cut messages, what is read for a page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import AttributeFilter, LogFilter, LogRecord, Position
from treering_query import limits
from treering_query.answers import log_list
from treering_query.answers.log_list import cut_messages
from treering_query.reading import slices
from treering_query.store.store import Store
from treering_query.values.schemas import LOGS_SCHEMA
from treering_runtime.errors import ServiceError

NEWEST, OLDEST, POSITION = pb.LOG_ORDER_NEWEST_FIRST, pb.LOG_ORDER_OLDEST_FIRST, pb.LOG_ORDER_BY_POSITION
START = 1_700_000_000_000_000_000
LOGS = (7, 2**63 + 5, 8)
"""Log ids, beyond what a signed number holds."""

KEYS = {
    NEWEST: lambda row: (-row[0], -row[1], -row[2]),
    OLDEST: lambda row: (row[0], row[1], row[2]),
    POSITION: lambda row: (row[1], row[2]),
}
"""What ascends in each order, of a row of time, log id, offset, record."""


async def ask(store: Store, **fields: LogFilter | int | str) -> Any:
    plan = log_list.plan(within_limits(pb.ListLogsRequest(**fields)))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def place(stored: Any) -> tuple[Any, Any, Any]:
    return stored.record.time_unix_nano, stored.position.log_id, stored.position.offset


FILTERS = {
    "all": (LogFilter(), lambda record: True),
    "service": (LogFilter(services=["a"]), lambda record: record.service == "a"),
    "text": (LogFilter(message_contains="TEN"), lambda record: "ten" in record.message),
    "attribute": (LogFilter(attributes=[AttributeFilter(key="k", exclude=True)]), lambda record: "k" not in record.attributes),
    "time": (
        LogFilter(start_time_unix_nano=START + 2, end_time_unix_nano=START + 5),
        lambda record: START + 2 <= record.time_unix_nano < START + 5,
    ),
}


@dataclass
class World:
    """A store that grows, and a plain list of what is in it."""

    store: object
    frame: object
    random: Random
    rows: list[Any] = field(default_factory=list)
    ends: dict[Any, Any] = field(default_factory=dict)

    async def grow(self) -> None:
        """Some records more, of times that many share, earlier ones among them; now and then what is hot is sealed."""
        log_id, count = self.random.choice(LOGS), self.random.randrange(1, 30)
        records = [
            LogRecord(
                time_unix_nano=START + self.random.randrange(8),
                service=self.random.choice("ab"),
                message=f"one of {self.random.choice(['ten', 'two'])}",
                attributes={"k": "v"} if self.random.random() < 0.5 else {},
            )
            for _ in range(count)
        ]
        begin = self.ends.get(log_id, 0)
        if not begin:
            await self.store.open_log(log_id, 0)
        await self.store.deliver(log_id, [self.frame(begin, records)], begin + count)
        self.ends[log_id] = begin + count
        self.rows += [(record.time_unix_nano, log_id, begin + number, record) for number, record in enumerate(records)]
        if self.random.random() < 0.4:
            await self.store.seal()

    def expected(self, order: pb.LogOrder.ValueType, holds: Callable[[Any], Any]) -> list[Any]:
        return [row[:3] for row in sorted(filter(lambda row: holds(row[3]), self.rows), key=KEYS[order])]

    def seen(self) -> list[Any]:
        return [Position(log_id=log_id, offset=end) for log_id, end in sorted(self.ends.items())]


@pytest.mark.parametrize("seed", range(5))
async def test_pages_join_to_what_the_first_one_saw_whatever_arrives_meanwhile(
    open_store: OpenStore, frame: MakeFrame, seed: Callable[[range], int]
) -> None:
    random = Random(seed)
    async with open_store() as store:
        world = World(store, frame, random)
        for _ in range(6):
            await world.grow()
        for _ in range(12):
            order, name = random.choice(list(KEYS)), random.choice(list(FILTERS))
            chosen, holds = FILTERS[name]
            expected, seen = world.expected(order, holds), world.seen()
            found, token = [], ""
            while True:
                size = random.choice([1, 3, 10, 1_000])
                page = await ask(store, filter=chosen, order=order, page_size=size, page_token=token)
                assert list(page.seen) == seen
                assert len(page.records) <= size
                found += map(place, page.records)
                if not (token := page.next_page_token):
                    break
                if random.random() < 0.3:
                    await world.grow()
            assert found == expected, (order, name)


async def test_records_are_whole_and_newest_first_unless_told_otherwise(open_store: OpenStore, fill: Fill, record: MakeRecord) -> None:
    async with open_store() as store:
        await fill(store, 0, 150)
        await store.seal()
        await fill(store, 150, 250)
        page = await ask(store)
    assert [stored.position.offset for stored in page.records] == list(range(249, 149, -1))
    assert [stored.record for stored in page.records] == [record(number) for number in range(249, 149, -1)]
    assert all(stored.pattern_id and stored.arrival_time_unix_nano and not stored.whole_message_bytes for stored in page.records)
    assert page.next_page_token


async def test_a_log_that_is_new_since_the_first_page_is_on_none(
    open_store: OpenStore, fill: Fill, frame: MakeFrame, record: MakeRecord
) -> None:
    async with open_store() as store:
        await fill(store, 0, 20)
        first = await ask(store, page_size=5, order=OLDEST)
        await store.open_log(6, 0)
        await store.deliver(6, [frame(0, [record(10), record(1_000)])], 2)
        second = await ask(store, page_size=100, order=OLDEST, page_token=first.next_page_token)
        fresh = await ask(store, order=OLDEST)
    assert [place(each)[1:] for each in second.records] == [(7, offset) for offset in range(5, 20)]
    assert {each.position.log_id for each in fresh.records} == {6, 7}


async def test_500_records_of_one_nanosecond_are_listed_in_the_order_of_the_log(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord
) -> None:
    async with open_store() as store:
        await store.open_log(7, 0)
        for begin in range(0, 500, 100):
            records = [record(0, message=f"number {begin + number}") for number in range(100)]
            await store.deliver(7, [frame(begin, records)], 500)
            await store.seal()
        for order, wanted in ((NEWEST, range(499, -1, -1)), (OLDEST, range(500)), (POSITION, range(500))):
            found, token = [], ""
            while True:
                page = await ask(store, order=order, page_size=33, page_token=token)
                found += [stored.position.offset for stored in page.records]
                if not (token := page.next_page_token):
                    break
            assert found == list(wanted)


async def test_of_equal_times_a_later_part_may_hold_the_first(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_ROWS", 1)
    async with open_store() as store:
        await store.open_log(7, 0)
        # The latest record of the first part is as old as the first page ends; the other part has as old ones of higher offsets.
        for begin, times in ((0, [5, 1, 5]), (3, [5, 0, 5])):
            records = [record(0, time_unix_nano=START + time, message=f"number {begin + n}") for n, time in enumerate(times)]
            await store.deliver(7, [frame(begin, records)], 6)
            await store.seal()
        for order, wanted in ((NEWEST, [5, 3, 2, 0, 1, 4]), (OLDEST, [4, 1, 0, 2, 3, 5])):
            for size in (1, 2, 3):
                found, token = [], ""
                while True:
                    page = await ask(store, order=order, page_size=size, page_token=token)
                    found += [stored.position.offset for stored in page.records]
                    if not (token := page.next_page_token):
                        break
                assert found == wanted, size


async def test_an_empty_store_and_an_empty_selection_have_an_empty_page(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        page = await ask(store)
        assert (list(page.records), page.next_page_token, list(page.seen)) == ([], "", [])
        await fill(store, 0, 10)
        page = await ask(store, filter=LogFilter(services=["nobody"]))
        assert (list(page.records), page.next_page_token) == ([], "")


async def test_the_newest_page_opens_the_newest_segment_alone_and_no_damaged_one_before_it(
    open_store: OpenStore, fill: Fill, tmp_path: Path
) -> None:
    async with open_store() as store:
        for begin in range(0, 600, 100):
            await fill(store, begin, begin + 100)
            await store.seal()
        for segment in store.view.segments[:5]:
            segment.path.write_bytes(b"damaged")
        with store.snapshot() as snapshot:
            page = await store.run(snapshot, log_list.plan(pb.ListLogsRequest(page_size=99)).answer)
            assert [segment.last_time for segment in snapshot.read_segments.values()] == [store.view.segments[5].last_time]
    assert [stored.position.offset for stored in page.records] == list(range(599, 500, -1))


async def test_no_more_of_the_store_is_read_than_can_hold_the_page(
    open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_ROWS", 100)
    async with open_store() as store:
        for begin in range(0, 600, 100):
            await fill(store, begin, begin + 100)
            await store.seal()
        await fill(store, 600, 650)
        for order, size, read in ((NEWEST, 10, 0), (NEWEST, 60, 1), (OLDEST, 10, 1), (POSITION, 150, 2)):
            with store.snapshot() as snapshot:
                page = await store.run(snapshot, log_list.plan(pb.ListLogsRequest(order=order, page_size=size)).answer)
                assert (len(page.records), len(snapshot.read_segments)) == (size, read)
        token = (await ask(store, order=POSITION, page_size=550)).next_page_token
        with store.snapshot() as snapshot:
            plan = log_list.plan(pb.ListLogsRequest(order=POSITION, page_size=550, page_token=token))
            page = await store.run(snapshot, plan.answer)
            assert len(snapshot.read_segments) == 1
    assert [stored.position.offset for stored in page.records] == list(range(550, 650))


@pytest.mark.parametrize("order", KEYS)
async def test_a_page_ends_where_the_answer_is_full(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, order: pb.LogOrder.ValueType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", 3_000)
    async with open_store() as store:
        await store.open_log(7, 0)
        for begin in (0, 40):
            records = [record(number, message="m" * (1 + number * 37 % 1_000)) for number in range(begin, begin + 40)]
            await store.deliver(7, [frame(begin, records)], 80)
            await store.seal()
        found, token, pages = [], "", 0
        while True:
            page = await ask(store, order=order, page_size=1_000, page_token=token)
            assert page.ByteSize() < 3_500
            found, pages = found + [stored.position.offset for stored in page.records], pages + 1
            if not (token := page.next_page_token):
                break
    assert found == (list(range(79, -1, -1)) if order == NEWEST else list(range(80)))
    assert pages > 10


async def test_a_cut_message_says_how_long_it_is_and_makes_room_for_more(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", 3_000)
    async with open_store() as store:
        await store.open_log(7, 0)
        records = [record(number, message="ß" * 900 if number % 2 else "short") for number in range(8)]
        await store.deliver(7, [frame(0, records)], 8)
        page = await ask(store, order=POSITION, max_message_bytes=5)
    assert [(each.record.message, each.whole_message_bytes) for each in page.records] == [("short", 0), ("ßß", 1_800)] * 4
    assert not page.next_page_token


def _messages(*texts: Any) -> Any:
    empty = {"service": "", "environment": "", "trace_id": b"", "span_id": b"", "attributes": [], "resource": ""}
    rows = [{name: empty.get(name, 0) for name in LOGS_SCHEMA.names} | {"message": text} for text in texts]
    return pa.Table.from_pylist(rows, LOGS_SCHEMA)


@given(texts=st.lists(st.text(), max_size=8), most=st.integers(1, 12))
def test_messages_are_cut_between_characters(texts: list[Any], most: int) -> None:
    table = cut_messages(_messages(*texts), most)
    for text, cut, whole in zip(texts, *(table.column(name).to_pylist() for name in ("message", "whole_message_bytes")), strict=True):
        size = len(text.encode())
        assert cut == (text if size <= most else text.encode()[:most].decode(errors="ignore"))
        assert whole == (size if size > most else 0)
        assert text.startswith(cut)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 10_001}, "page_size"),
        ({"max_message_bytes": 0}, "max_message_bytes"),
        ({"order": 0}, "order"),
        ({"order": 9}, "order"),
        ({"filter": LogFilter(services=["svc1"])}, "page_token"),
        ({"order": OLDEST}, "page_token"),
        ({"max_message_bytes": 9}, "page_token"),
        ({"page_token": "AAAA"}, "page_token"),
    ],
)
async def test_what_cannot_be_served_is_refused_by_its_name(
    open_store: OpenStore,
    fill: Fill,
    changes: dict[str, int] | dict[str, LogFilter] | dict[str, pb.LogOrder.ValueType] | dict[str, str],
    field: str,
) -> None:
    async with open_store() as store:
        await fill(store, 0, 20)
        token = (await ask(store, page_size=5)).next_page_token
        with pytest.raises(ServiceError) as caught:
            await ask(store, **{"page_size": 5, "page_token": token} | changes)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert caught.value.metadata["field"] == field


async def test_a_token_gives_its_page_as_often_as_it_is_asked_for(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 50)
        await store.seal()
        token = (await ask(store, page_size=10)).next_page_token
        once = await ask(store, page_size=10, page_token=token)
        await fill(store, 50, 100)
        again = await ask(store, page_size=10, page_token=token)
    assert once == again
