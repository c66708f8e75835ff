"""Answers with records of any size: no message outgrows its bound, each record comes once, and little of the store is read at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pyarrow as pa
import pytest

from tests.patience import PATIENCE_S
from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from tests.settling import settled
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering_query import limits
from treering_query.answers import context, log_list
from treering_query.reading import places
from treering_query.reading.records import row_sizes, stored_records
from treering_query.store.store import Store
from treering_query.streams import tail, watch
from treering_query.streams.export import Exports, plan
from treering_query.streams.hub import Hub
from treering_query.streams.tail import Tail
from treering_query.streams.tail_news import TailReader
from treering_query.streams.watch import Watch
from treering_query.streams.watch_news import WatchReader
from treering_runtime import fitting

LOG = 7
WORDS = ["disk", "door", "lamp", "lock", "mast", "oven", "pump", "road", "sail", "tank", "tree", "wall", "well", "wire", "wood", "yard"]
KINDS = {
    "a long message": {"message": "x" * 16_000},
    "many short attributes": {"attributes": {f"{number:x}": "" for number in range(1_500)}},
    "keys as long as they are kept": {"attributes": {f"{number:06}".ljust(256, "k"): "v" for number in range(60)}},
    "keys that are cut and kept": {"attributes": {f"{number:06}".ljust(300, "k"): "v" for number in range(50)}},
    "nothing": {},
}
"""What records may be full of."""
ROOM = 60_000
"""Bytes of an answer here: a few of the records."""
MOST = ROOM + 40_000
"""With a record that is larger, and what stands beside the records."""


@pytest.fixture(autouse=True)
def _small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", ROOM)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, open_store: OpenStore, frame: MakeFrame) -> AsyncIterator[Store]:
    """32 records of different kinds and one service, the first half of them sealed, eight a segment."""
    full = KINDS[request.param]
    records = [
        LogRecord(
            time_unix_nano=1_700_000_000_000_000_000 + n, service="s", **{"message": f"the {WORDS[n % 16]} of {'ab'[n // 16]}"} | full
        )
        for n in range(32)
    ]
    for n, record in enumerate(records):
        record.message = f"{'the' if n < 16 else 'some'} {WORDS[n % 16]} {record.message}"
    async with open_store() as store:
        await store.open_log(LOG, 0)
        for first in range(0, 32, 8):
            await store.deliver(LOG, [frame(number, [records[number]]) for number in range(first, first + 8)], 32)
            if first < 16:
                await store.seal()
        yield store


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many segments were read together each time: they are to be read one by one."""
    read, records_at = [], places.records_at

    def noted(*args: Any, **kwargs: Any) -> Any:
        read.append(len(args[1].segments))
        return records_at(*args, **kwargs)

    monkeypatch.setattr(limits, "READ_TOGETHER_BYTES", 1)
    monkeypatch.setattr(places, "records_at", noted)
    return read


def whole_and_small(
    messages: list[pb.TailLogsResponse] | list[pb.GetLogContextResponse] | list[pb.ListLogsResponse], together: list[int] | tuple[()] = ()
) -> list[Any]:
    """The offsets in some messages, each of which the transport carries."""
    assert all(message.ByteSize() <= MOST for message in messages)
    assert max(together, default=1) == 1
    return [stored.position.offset for message in messages for stored in message.records]


async def taken(stream: AsyncIterator[pb.TailLogsResponse], count: int) -> list[pb.TailLogsResponse]:
    """Messages until `count` records have come."""
    messages = []
    async with asyncio.timeout(PATIENCE_S), aclosing(stream):  # type: ignore[type-var]
        async for message in stream:
            messages.append(message)
            if sum(len(each.records) for each in messages) >= count:
                return messages
    return messages


@pytest.mark.parametrize("asked", [{"start_positions": [Position(log_id=LOG)]}, {"backlog": 32}])
async def test_a_tail_splits_its_messages(store: Store, together: list[int], asked: dict[str, list[Position]] | dict[str, int]) -> None:
    found = await taken(Tail(store, Hub(store, TailReader), tail.plan(pb.TailLogsRequest(**asked))).run(), 32)
    assert whole_and_small(found, together) == list(range(32))


async def test_a_tail_of_what_is_new_splits_its_messages(store: Store, frame: MakeFrame, record: MakeRecord) -> None:
    stream = Tail(store, Hub(store, TailReader), tail.plan(pb.TailLogsRequest())).run()
    reading = asyncio.create_task(taken(stream, 24))
    await settled()
    with store.snapshot() as snapshot:
        again = [stored.record for stored in stored_records(snapshot.query('from logs order by "offset" limit 24'))]
    await store.deliver(LOG, [frame(32 + number, [each]) for number, each in enumerate(again)], 56)
    await store.deliver(LOG, [frame(56, [record(1)])], 57)
    assert whole_and_small(await reading)[:24] == list(range(32, 56))


async def test_a_watch_splits_its_messages(store: Store, together: list[int]) -> None:
    asked = pb.WatchPatternsRequest(start_positions=[Position(log_id=LOG)])
    messages = []
    async with asyncio.timeout(PATIENCE_S), aclosing(Watch(store, Hub(store, WatchReader), watch.plan(asked)).run()) as stream:
        async for message in stream:
            messages.append(message)
            if sum(each.HasField("pattern") for each in messages) == 32:
                break
    announced = [message.first_record.position.offset for message in messages if message.HasField("pattern")]
    assert announced == list(range(32))
    assert all(message.ByteSize() <= MOST for message in messages)
    assert max(together, default=1) == 1


@pytest.mark.parametrize("offset", [0, 13, 20, 31])
async def test_neighbours_come_in_pages_the_nearest_ones_first(store: Store, together: list[int], offset: int) -> None:
    asked = pb.GetLogContextRequest(position=Position(log_id=LOG, offset=offset), before=1_000, after=1_000)
    pages = []
    while not pages or asked.page_token:
        with store.snapshot() as snapshot:
            pages.append(await store.run(snapshot, context.plan(asked).answer))
        asked.page_token = pages[-1].next_page_token
    assert sorted(whole_and_small(pages, together)) == list(range(32))
    assert pages[0].records[pages[0].index].position.offset == offset
    shown: set[int] = set()
    for page in pages:  # without a gap around the record, however far the pages have come
        shown |= {stored.position.offset for stored in page.records}
        assert sorted(shown) == list(range(min(shown), max(shown) + 1))
        assert page.index == sum(stored.position.offset < offset for stored in page.records)


@pytest.mark.parametrize(("order", "wanted"), [(pb.LOG_ORDER_NEWEST_FIRST, range(31, -1, -1)), (pb.LOG_ORDER_BY_POSITION, range(32))])
async def test_lists_come_in_pages_however_large_the_records(
    store: Store, together: list[int], order: pb.LogOrder.ValueType, wanted: range
) -> None:
    asked = pb.ListLogsRequest(order=order, page_size=1_000)
    pages = []
    while not pages or asked.page_token:
        with store.snapshot() as snapshot:
            pages.append(await store.run(snapshot, log_list.plan(asked).answer))
        asked.page_token = pages[-1].next_page_token
    assert whole_and_small(pages, together) == list(wanted)


async def test_an_export_splits_its_messages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting.pieces, "__defaults__", (ROOM,))
    exports = Exports(store, 1, 1)
    messages = [message async for message in exports.run(plan(pb.ExportLogsRequest(filter=LogFilter(services=["s"]))), None)]
    exports.close()
    assert all(message.ByteSize() <= MOST for message in messages)
    with pa.ipc.open_stream(b"".join(message.arrow_ipc for message in messages)) as reader:
        assert sorted(reader.read_all().column("offset").to_pylist()) == list(range(32))


async def test_what_a_row_takes_is_never_more_than_was_counted(store: Store) -> None:
    with store.snapshot() as snapshot:
        table = snapshot.query("from _hot union all by name from (select * exclude(pattern_id), pattern_id from logs)")
    sizes = [8 + stored.ByteSize() for stored in stored_records(table)]
    assert all(size <= counted <= 2.2 * size + 200 for size, counted in zip(sizes, row_sizes(table).tolist(), strict=True))
