"""Callers that hang up, or whose deadline passes, at each await of each call that changes the store: every record stays, once."""

import asyncio
import functools

import pytest

from tests.cancelling import at_each_await
from treering_query.retention.upkeep import Policy
from treering_query.store import intake as intake_module
from treering_runtime.columns import FrameDecoder
from treering_runtime.quarantine import QuarantineSelection

ALL = QuarantineSelection()
LONG_AFTER = 2**62


class Squeamish(FrameDecoder):
    """A decoder with a fault: it cannot read certain words, until it is mended."""

    is_mended = False

    def decode(self, log_id, frames, skip_below=0):
        if not self.is_mended and any(b"unspeakable" in frame.payload for frame in frames):
            raise ValueError("it holds a word that cannot be read")
        return super().decode(log_id, frames, skip_below)


@pytest.fixture
def squeamish(monkeypatch):
    monkeypatch.setattr(intake_module, "FrameDecoder", Squeamish)
    return monkeypatch


class Feed:
    """Delivers records of log 7, all of them counted; every tenth is one that cannot be read."""

    def __init__(self, store, frame, record):
        self.store, self.frame, self.record = store, frame, record
        self.end = self.unreadable = 0

    def next_frame(self, count=10):
        numbers = range(self.end, self.end + count)
        records = [self.record(number, message=("unspeakable" if number % 10 == 3 else "m") + f" {number}") for number in numbers]
        return self.frame(self.end, records)

    async def deliver(self):
        frame = self.next_frame()
        await self.store.deliver(7, [frame], self.end)
        self.delivered(frame)

    def delivered(self, frame):
        self.end += frame.record_count
        self.unreadable += 1


def state_of(store):
    """Offsets that SQL sees, the sum of all statistics, and how many records are quarantined."""
    with store.snapshot() as snapshot:
        offsets = snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()
        counted = snapshot.query("select coalesce(sum(count), 0)::bigint from pattern_counts").column(0)[0].as_py()
    return offsets, counted, store.board.get(7).quarantined


def expected(feed):
    """What must be seen of everything that was delivered while nothing was read again."""
    offsets = [offset for offset in range(feed.end) if offset % 10 != 3]
    return offsets, len(offsets), feed.unreadable


async def settle(store):
    """Returns when nothing is under way, and nothing is left to be sealed."""
    await store.seal()
    await store.quarantined(ALL, None)


async def listed(store):
    found, after = [], None
    while page := await store.quarantined(ALL, after):
        found += page
        after = page[-1].key
    return found


async def held(store):
    async with store.inventory() as inventory:
        await asyncio.sleep(0)
        assert all(segment.path.exists() for segment in inventory.sealed.segments)


CALLS = {
    "seal": lambda store: store.seal(),
    "list": listed,
    "verify": held,
}


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_at_each_await_every_record_stays_once(open_store, frame, record, squeamish, call):
    async with open_store() as store:
        await store.open_log(7, 0)
        feed = Feed(store, frame, record)
        await feed.deliver()
        await settle(store)  # a segment that a snapshot can hold
        await feed.deliver()

        async def look(_):
            assert state_of(store) == expected(feed)
            await feed.deliver()  # the next call finds something to seal
            assert state_of(store) == expected(feed)

        cancelled = await at_each_await(functools.partial(CALLS[call], store), look)
        assert cancelled >= 2
        await settle(store)
        assert state_of(store) == expected(feed)
        assert store.board.get(7).releasable_end == feed.end
        assert store._published.held() == 0
    async with open_store() as store:
        assert state_of(store) == expected(feed)


async def test_calls_cancelled_while_another_change_holds_them_up_lose_nothing(open_store, frame, record, squeamish):
    """A merge runs, a list of the quarantine waits behind it with a batch already begun, and is broken off."""
    async with open_store() as store:
        await store.open_log(7, 0)
        feed, release = Feed(store, frame, record), asyncio.Event()
        for _ in range(5):
            await feed.deliver()
            release.clear()
            merging = asyncio.create_task(store._files.exclusively(release.wait))
            listing = [asyncio.create_task(store.quarantined(ALL, None)) for _ in range(3)]
            await asyncio.wait(listing, timeout=0.01)
            for task in listing:
                task.cancel()
            await asyncio.wait(listing)
            assert state_of(store) == expected(feed)
            release.set()
            await merging
        await settle(store)
        assert state_of(store) == expected(feed)
        assert [item.first_offset for item in await listed(store)] == list(range(3, 50, 10))
    async with open_store() as store:
        assert state_of(store) == expected(feed)
        assert store.board.get(7).next_offset == feed.end


async def test_a_delivery_cancelled_at_each_await_is_taken_whole_when_it_comes_again(open_store, frame, record, squeamish):
    async with open_store() as store:
        await store.open_log(7, 0)
        feed = Feed(store, frame, record)
        coming = [feed.next_frame()]

        async def come_again(_):
            await store.deliver(7, coming, 0)
            feed.delivered(coming.pop())
            assert state_of(store) == expected(feed)
            coming.append(feed.next_frame())

        assert await at_each_await(lambda: store.deliver(7, list(coming), 0), come_again) >= 1
        await settle(store)
        assert state_of(store) == expected(feed)
        with store.snapshot() as snapshot:
            assert snapshot.query("select count(*) from patterns").column(0)[0].as_py() == 5
    async with open_store() as store:
        assert state_of(store) == expected(feed)
        with store.snapshot() as snapshot:
            assert snapshot.query("select count(*) from patterns").column(0)[0].as_py() == 5


async def test_reading_again_cancelled_at_each_await_stores_each_record_once(open_store, frame, record, squeamish):
    async with open_store() as store:
        await store.open_log(7, 0)
        feed = Feed(store, frame, record)
        for _ in range(30):
            await feed.deliver()
        items = await listed(store)
        assert len(items) == 30
        squeamish.setattr(Squeamish, "is_mended", True)

        async def look(_):
            await store.quarantined(ALL, None)  # comes after the change that may still run
            left = {item.first_offset for item in await listed(store)}
            offsets, counted, quarantined = state_of(store)
            assert offsets == [offset for offset in range(feed.end) if offset not in left]
            assert (counted, quarantined) == (len(offsets), len(left))

        async def read_one():
            for item in (await store.quarantined(ALL, None))[:1]:
                assert await store.read_again([item]) == 1

        assert await at_each_await(read_one, look) >= 2
        while left := await listed(store):
            assert await store.read_again(left) == len(left)
        assert state_of(store) == (list(range(feed.end)), feed.end, 0)
    async with open_store() as store:
        assert state_of(store) == (list(range(feed.end)), feed.end, 0)


async def test_upkeep_cancelled_at_each_await_goes_on_at_the_next_turn(open_store, frame, record, squeamish, tmp_path):
    """Merges, drops and removals of files; the records of one service expire, those of the others stay."""
    told = []

    async def forget(pattern_ids, below):
        await asyncio.sleep(0)
        told.extend(pattern_ids)

    async with open_store() as store:
        await store.open_log(7, 0)
        feed, gone = Feed(store, frame, record), Policy(service_age_s={"svc1": 1})

        async def look(_):
            await store.quarantined(ALL, None)
            offsets, counted, _ = state_of(store)
            assert counted == len(offsets) == len(set(offsets))
            assert [offset for offset in offsets if offset % 5 != 1] == [each for each in expected(feed)[0] if each % 5 != 1]
            for _ in range(4):
                await feed.deliver()
                await store.seal()

        await look(0)
        assert await at_each_await(lambda: store.keep_up(gone, LONG_AFTER, forget), look) >= 5
        while await store.keep_up(gone, LONG_AFTER, forget):
            pass
        await store.keep_up(gone, LONG_AFTER, forget)
        stayed = [offset for offset in expected(feed)[0] if offset % 5 != 1]
        assert state_of(store) == (stayed, len(stayed), feed.unreadable)
        names = {file.name for file in (tmp_path / "store" / "segments").iterdir()}
        assert names == {name for segment in store.view.segments for name in segment.names}
        assert len(set(told)) == 1
    async with open_store() as store:
        assert state_of(store) == (stayed, len(stayed), feed.unreadable)
