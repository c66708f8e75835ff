import asyncio

import pytest

from tests.settling import settled
from treering.v1.log_pb2 import LogRecord
from treering.v1.query_pb2 import GetLogContextRequest
from treering_query.answers import context
from treering_query.sealed import duckdb_catalog
from treering_query.sealed.catalog import NotQuarantinedError
from treering_query.store import intake as intake_module
from treering_runtime.columns import FrameDecoder
from treering_runtime.quarantine import QuarantineSelection

ALL = QuarantineSelection()


class Squeamish(FrameDecoder):
    """A decoder with a fault: it cannot read certain words."""

    words = (b"unspeakable",)

    def decode(self, log_id, frames, skip_below=0):
        if any(word in frame.payload for frame in frames for word in self.words):
            raise ValueError("it holds a word that cannot be read")
        return super().decode(log_id, frames, skip_below)


@pytest.fixture
def squeamish(monkeypatch):
    monkeypatch.setattr(intake_module, "FrameDecoder", Squeamish)
    return monkeypatch


def messages(store):
    with store.snapshot() as snapshot:
        return snapshot.query('select "offset" o, message m from logs order by 1').to_pylist()


def counted(store):
    with store.snapshot() as snapshot:
        return sum(snapshot.query("select count from patterns").column(0).to_pylist())


async def deliver(store, frame, record, bad=(3, 7)):
    await store.open_log(7, 0)
    records = [record(number, message=f"unspeakable {number}" if number in bad else f"m {number}") for number in range(10)]
    await store.deliver(7, [frame(0, records[:5]), frame(5, records[5:])], 10)


async def test_set_aside_to_the_record_and_listed_with_reason_and_bytes(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record)
        assert [row["o"] for row in messages(store)] == [0, 1, 2, 4, 5, 6, 8, 9]
        found = await store.quarantined(ALL, None)
        assert [(item.first_offset, item.record_count, item.reason) for item in found] == [
            (3, 1, "it holds a word that cannot be read"),
            (7, 1, "it holds a word that cannot be read"),
        ]
        assert found[0].payload == frame(3, [record(3, message="unspeakable 3")]).payload
        assert await store.quarantined(ALL, found[0].key) == found[1:]
        assert await store.quarantined(ALL, found[1].key) == []
        assert await store.quarantined(QuarantineSelection(7, 4, 8), None) == found[1:]
        assert await store.quarantined(QuarantineSelection(8), None) == []
        assert store.board.get(7).releasable_end == 10  # listing made it durable


async def test_progress_is_sealed_although_every_record_was_set_aside(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record, bad=range(10))
        await store.seal()
        assert (store.board.get(7).releasable_end, store.board.get(7).quarantined) == (10, 10)


async def test_retried_records_are_stored_once_at_their_place_and_leave(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record)
        assert await store.read_again(await store.quarantined(ALL, None)) == 0
        assert store.board.get(7).quarantined == 2
    squeamish.setattr(Squeamish, "words", (b"unspeakable 7",))
    async with open_store() as store:
        assert await store.read_again(await store.quarantined(ALL, None)) == 1
        assert [item.first_offset for item in await store.quarantined(ALL, None)] == [7]
        assert store.board.get(7).quarantined == 1
    squeamish.undo()
    async with open_store() as store:
        assert await store.read_again(await store.quarantined(ALL, None)) == 1
        assert await store.quarantined(ALL, None) == []
        assert [row["o"] for row in messages(store)] == list(range(10))
        assert (counted(store), store.board.get(7).quarantined) == (10, 0)
    async with open_store() as store:
        assert [row["o"] for row in messages(store)] == list(range(10))
        assert messages(store)[3]["m"] == "unspeakable 3"
        assert (counted(store), store.board.get(7).quarantined) == (10, 0)


async def test_of_two_that_read_the_same_again_at_once_one_stores_it(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record)
        items = await store.quarantined(ALL, None)
        squeamish.setattr(Squeamish, "words", ())
        first, second = await asyncio.gather(store.read_again(items), store.read_again(items), return_exceptions=True)
        assert (first, type(second)) == (2, NotQuarantinedError)
        assert [row["o"] for row in messages(store)] == list(range(10))
        assert (counted(store), store.board.get(7).quarantined) == (10, 0)


async def test_a_retried_record_stands_among_its_neighbours(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record)
        await store.quarantined(ALL, None)
        await store.open_log(7, 0)
        await store.deliver(7, [frame(10, [record(number, message=f"m {number}") for number in range(10, 20)])], 20)
        await store.seal()
        squeamish.setattr(Squeamish, "words", ())
        assert await store.read_again(await store.quarantined(ALL, None)) == 2
        request = GetLogContextRequest(before=4, after=4, all_services=True)
        request.position.log_id, request.position.offset = 7, 9
        with store.snapshot() as snapshot:
            found = context.plan(request).answer(snapshot)
        assert [each.position.offset for each in found.records] == list(range(5, 14))


async def test_a_pattern_that_only_a_retried_record_has_is_listed_once(open_store, frame, record, squeamish):
    async with open_store() as store:
        await deliver(store, frame, record)
        items = await store.quarantined(ALL, None)
        squeamish.setattr(Squeamish, "words", ())
        await store.open_log(7, 0)
        await store.deliver(7, [frame(10, [record(3, message="unspeakable 33")])], 11)  # the pattern is hot meanwhile
        assert await store.read_again(items) == 2
        await store.seal()
    async with open_store() as store:
        with store.snapshot() as snapshot:
            texts = snapshot.query("select service, text from patterns where text like 'unspeak%'").to_pylist()
            assert len(texts) == len({tuple(row.values()) for row in texts})
            assert sum(snapshot.query("select count from patterns where text like 'unspeak%'").column(0).to_pylist()) == 3


async def test_records_that_were_set_aside_while_a_lot_is_sealing_are_listed(open_store, frame, record, squeamish):
    async with open_store(rows=5) as store:
        await deliver(store, frame, record, bad=(0,))
        sealing = asyncio.create_task(store.seal())
        await settled()  # the lot is on its way now
        found = await store.quarantined(ALL, None)
        await sealing
        assert [item.first_offset for item in found] == [0]


async def test_small_entries_count_in_a_page_for_what_they_take(open_store, frame, monkeypatch, squeamish):
    monkeypatch.setattr(duckdb_catalog, "QUARANTINE_PAGE_BYTES", 1_000)
    async with open_store() as store:
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, [LogRecord(message="unspeakable")] * 9)], 9)
        assert len(await store.quarantined(ALL, None)) < 9


@pytest.mark.parametrize("size", [10, 600_000])
async def test_a_long_list_comes_in_pages(open_store, frame, record, squeamish, size):
    async with open_store() as store:
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, [record(number, message="unspeakable" + "x" * size) for number in range(9)])], 9)
        pages, after = [], None
        while page := await store.quarantined(ALL, after):
            pages.append(page)
            after = page[-1].key
        assert [item.first_offset for page in pages for item in page] == list(range(9))
        assert (len(pages) > 3) == (size > 10)
