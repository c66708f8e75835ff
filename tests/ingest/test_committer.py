import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Never

import pytest

from tests.ingest.conftest import FaultyDisk, MakeBatch
from tests.patience import PATIENCE_S
from tests.settling import settled
from treering_ingest import committer as committer_module
from treering_ingest.commit_policy import CommitPolicy
from treering_ingest.committer import Committer
from treering_ingest.durable_log import DiskFullError, LogFailedError
from treering_ingest.settings import Durability
from treering_ingest.wal import open_log


class Noted:
    def __init__(self) -> None:
        self.groups = []
        self.syncs = 0

    def committed(self, records: Any, size_bytes: Any, seconds: float) -> None:
        self.groups.append(records)

    def synced(self, seconds: float) -> None:
        self.syncs += 1


@pytest.fixture
def committing(faulty_disk: FaultyDisk) -> Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted]]]:
    @asynccontextmanager
    async def run(**policy: float | Durability) -> AsyncIterator[tuple[Committer, Noted]]:
        noted = Noted()
        committer = Committer(open_log(faulty_disk), CommitPolicy(**policy), noted)
        committer.start()
        yield committer, noted
        faulty_disk.free_bytes = None
        await committer.stop()

    return run


@pytest.fixture
def held_sync(faulty_disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], None], threading.Event, threading.Event]:
    """Syncs of the log wait until `release` is set; `entered` tells that one does."""
    entered, release = threading.Event(), threading.Event()
    kind = type(faulty_disk.create("probe"))
    original = kind.sync

    def sync(file: Path) -> None:
        entered.set()
        assert release.wait(PATIENCE_S)
        original(file)

    def hold() -> None:
        monkeypatch.setattr(kind, "sync", sync)

    return hold, entered, release


async def test_an_acknowledged_batch_is_synced(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing() as (committer, _):
        ticket = committer.stage(batch(count=3))
        assert not committer.is_durable(ticket)
        await committer.wait_durable(ticket)
        assert committer.is_durable(ticket)
        assert committer.log.synced.offset == 3
        assert committer.waiting_bytes == 0


async def test_what_waits_during_a_sync_shares_the_next_one(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]],
    batch: MakeBatch,
    held_sync: tuple[Any, threading.Event, threading.Event],
) -> None:
    hold, entered, release = held_sync
    async with committing() as (committer, noted):
        hold()
        first = asyncio.create_task(committer.wait_durable(committer.stage(batch())))
        await asyncio.to_thread(entered.wait, PATIENCE_S)
        ticket = [committer.stage(batch()) for _ in range(50)][-1]
        release.set()
        await asyncio.gather(first, committer.wait_durable(ticket))
        assert noted.groups == [1, 50]
        assert noted.syncs == 2


async def test_a_group_is_bounded_by_bytes(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    one = batch()
    async with committing(max_group_bytes=3 * len(one.payload)) as (committer, noted):
        tickets = [committer.stage(one) for _ in range(10)]
        await committer.wait_durable(tickets[-1])
        assert noted.groups == [3, 3, 3, 1]


async def test_a_lingering_group_goes_as_soon_as_it_is_full(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    one = batch()
    async with committing(linger_s=3_600, linger_bytes=3 * len(one.payload)) as (committer, noted):
        tickets = [committer.stage(one) for _ in range(2)]
        await settled()
        committer.stage(one)
        while not noted.groups:
            await committer.advanced.wait()
        assert noted.groups == [3]
        assert committer.is_durable(tickets[-1] + 1)


async def test_a_lingering_group_goes_as_soon_as_somebody_waits_for_it(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(linger_s=3_600) as (committer, noted):
        committer.stage(batch())
        await settled()
        await committer.wait_durable(committer.stage(batch()))
        assert noted.groups == [2]


async def test_one_who_sends_alone_is_not_held_back(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(company_s=3_600, linger_s=3_600) as (committer, noted):
        for _ in range(3):
            await committer.wait_durable(committer.stage(batch(b"alone", 1)))
        assert noted.groups == [1, 1, 1]


async def test_an_acknowledgement_is_held_back_until_the_other_sender_waits_too(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(company_s=3_600, linger_s=3_600) as (committer, noted):
        first = asyncio.create_task(committer.wait_durable(committer.stage(batch(b"one", 1))))
        second = committer.stage(batch(b"two", 1))
        await settled()
        assert noted.groups == []
        await asyncio.gather(first, committer.wait_durable(second))
        assert noted.groups == [2]


async def test_those_who_shared_a_sync_are_expected_to_share_the_next(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(company_s=3_600, linger_s=3_600) as (committer, noted):
        for sequence in (1, 2, 3):
            tickets = [committer.stage(batch(name, sequence)) for name in (b"one", b"two", b"three")]
            await asyncio.gather(*map(committer.wait_durable, tickets))
        assert noted.groups == [3, 3, 3]


async def test_company_that_does_not_come_is_waited_for_once(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(company_s=0.01, linger_s=3_600) as (committer, noted):
        tickets = [committer.stage(batch(name, 1)) for name in (b"one", b"two")]
        await asyncio.gather(*map(committer.wait_durable, tickets))
        await committer.wait_durable(committer.stage(batch(b"one", 2)))
        assert noted.groups == [2, 1]
        assert committer._company == 1


async def test_a_lingering_group_is_committed_at_the_stop(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(linger_s=3_600) as (committer, _):
        ticket = committer.stage(batch())
        await committer.stop()
        assert committer.is_durable(ticket)


async def test_with_interval_an_acknowledgement_does_not_wait_for_the_sync(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch, faulty_disk: FaultyDisk
) -> None:
    async with committing(durability=Durability.INTERVAL, sync_interval_s=3_600) as (committer, noted):
        await committer.wait_durable(committer.stage(batch()))
        assert (noted.syncs, committer.log.synced.offset) == (0, 0)
        await committer.stop()
        assert committer.log.synced.offset == 1


async def test_with_interval_the_sync_comes_by_itself(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(durability=Durability.INTERVAL, sync_interval_s=0.01) as (committer, _):
        await committer.wait_durable(committer.stage(batch()))
        while committer.log.synced.offset == 0:
            assert await committer.advanced.wait(PATIENCE_S)


async def synced(committer: Any, offset: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while committer.log.synced.offset < offset:
            await committer.advanced.wait()


async def test_with_interval_a_group_that_gathers_does_not_hold_up_the_sync(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch
) -> None:
    async with committing(durability=Durability.INTERVAL, sync_interval_s=0.01, linger_s=3_600) as (committer, _):
        await committer.wait_durable(committer.stage(batch()))
        committer.stage(batch())  # nobody waits for it
        await synced(committer, 1)


async def test_with_interval_a_full_disk_does_not_hold_up_the_sync_of_what_was_acknowledged(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]],
    batch: MakeBatch,
    faulty_disk: FaultyDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer_module, "DISK_RETRY_S", 3_600)
    async with committing(durability=Durability.INTERVAL, sync_interval_s=0.05, linger_s=0) as (committer, _):
        faulty_disk.free_bytes = 10_000
        committer._last_sync = time.monotonic()  # so that the sync is not due before the disk is full
        await committer.wait_durable(committer.stage(batch()))
        faulty_disk.free_bytes = 10
        with pytest.raises(DiskFullError):
            await committer.wait_durable(committer.stage(batch()))
        await synced(committer, 1)
        assert committer.lack


async def test_a_failed_sync_fails_all_who_wait_now_and_later(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch, faulty_disk: FaultyDisk
) -> None:
    async with committing() as (committer, _):
        await committer.wait_durable(committer.stage(batch()))
        faulty_disk.fail_syncs = True
        waiting = [asyncio.create_task(committer.wait_durable(committer.stage(batch()))) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [LogFailedError] * 3
        await committer.wait_failed()
        assert "Input/output error" in committer.failure
        with pytest.raises(LogFailedError):
            await committer.wait_durable(committer.staged_count)


@pytest.mark.parametrize("fault", ["fail_syncs", "free_bytes"])
async def test_each_who_waits_gets_an_error_of_its_own(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]],
    batch: MakeBatch,
    faulty_disk: FaultyDisk,
    fault: str,
) -> None:
    async with committing() as (committer, _):
        await committer.wait_durable(committer.stage(batch()))
        setattr(faulty_disk, fault, 1)
        waiting = [asyncio.create_task(committer.wait_durable(committer.stage(batch()))) for _ in range(3)]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        expected = LogFailedError if fault == "fail_syncs" else DiskFullError
        assert [type(error) for error in errors] == [expected] * 3
        assert len({id(error) for error in errors}) == 3
        again = await asyncio.gather(*[committer.wait_durable(committer.staged_count) for _ in range(2)], return_exceptions=True)
        assert len({id(error) for error in (*errors, *again)}) == 5


async def test_one_who_waits_for_less_does_not_wait_for_one_who_came_before(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]],
    batch: MakeBatch,
    held_sync: tuple[Any, threading.Event, threading.Event],
) -> None:
    hold, entered, release = held_sync
    one = batch()
    async with committing(max_group_bytes=len(one.payload)) as (committer, noted):
        noted.synced = lambda seconds: hold()  # the second one
        first, second = committer.stage(one), committer.stage(one)
        later = asyncio.create_task(committer.wait_durable(second))
        sooner = asyncio.create_task(committer.wait_durable(first))
        assert await asyncio.to_thread(entered.wait, 10)
        await asyncio.wait({sooner, later}, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        release.set()
        assert (sooner.done(), later.done()) == (True, False)
        await later


async def test_a_full_disk_tells_those_who_wait_and_loses_nothing(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch, faulty_disk: FaultyDisk
) -> None:
    async with committing() as (committer, _):
        faulty_disk.free_bytes = 10
        ticket = committer.stage(batch())
        for _ in range(2):
            with pytest.raises(DiskFullError):
                await committer.wait_durable(ticket)
        faulty_disk.free_bytes = None
        while not committer.is_durable(ticket):
            assert await committer.advanced.wait(PATIENCE_S)
        assert committer.log.synced.offset == 1
        assert committer.lack is None


async def test_without_memory_for_a_further_thread_the_log_is_written_and_sealed(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]],
    batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: object) -> Never:
        raise RuntimeError("can't start new thread")

    async with committing() as (committer, _):
        monkeypatch.setattr("threading.Thread.start", start)
        await committer.wait_durable(committer.stage(batch()))
        await committer.stop()
        assert (committer.failure, committer.log.synced.offset) == ("", 1)


async def test_a_stop_while_the_disk_is_full_tells_those_who_wait(
    committing: Callable[..., AbstractAsyncContextManager[tuple[Committer, Noted], bool | None]], batch: MakeBatch, faulty_disk: FaultyDisk
) -> None:
    async with committing() as (committer, _):
        faulty_disk.free_bytes = 10
        ticket = committer.stage(batch())
        with pytest.raises(DiskFullError):
            await committer.wait_durable(ticket)
        await committer.stop()
        with pytest.raises(LogFailedError, match="not stored"):
            await committer.wait_durable(ticket)
