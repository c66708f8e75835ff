"""Cancelling the asyncio uploader at each of its awaits loses nothing that was accepted, and doubles nothing."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from tests.cancelling import at_each_await, cancelled_at
from tests.sdk.conftest import FakeIngest, Serving
from treering import AsyncClient, LogRecord, TimedOutError
from treering.channels import Endpoints
from treering.upload_state import UploadResult
from treering.uploader_aio import AsyncUploader

SMALL = {"linger_s": math.inf, "max_batch_records": 10}
ALL = [f"record {number}" for number in range(25)]
PATIENCE_S = 30


async def fill(uploader: AsyncUploader, messages: list[str] = ALL) -> None:
    for message in messages:
        await uploader.send(LogRecord(message=message))


async def failing(uploader: AsyncUploader, error: asyncio.exceptions.CancelledError) -> None:
    async with uploader:
        await fill(uploader)
        raise error


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(serving.endpoints) as made:
        yield made


async def test_a_cancelled_send_has_not_taken_its_record(client: AsyncClient, ingest: FakeIngest) -> None:
    accepted = []
    uploader = client.uploader(max_batch_records=1, max_pending_bytes=1)

    async def send_next() -> None:
        message = f"record {len(accepted)}"
        await uploader.send(LogRecord(message=message))
        accepted.append(message)

    async def refill(_: int) -> None:
        await send_next()  # so that the next one has to wait, too

    assert await at_each_await(send_next, refill) >= 1
    result = await uploader.close(PATIENCE_S)
    assert ingest.stored == accepted
    assert result.accepted == len(accepted)


async def test_a_cancelled_flush_sends_all_the_same(client: AsyncClient, ingest: FakeIngest) -> None:
    uploader = client.uploader(**SMALL)
    sent = []

    async def fill_again(step: int) -> None:
        for number in range(15):
            sent.append(f"record {step} {number}")
            await uploader.send(LogRecord(message=sent[-1]))

    await fill_again(0)
    assert await at_each_await(uploader.flush, fill_again) >= 1
    result = await uploader.close(PATIENCE_S)
    assert ingest.stored == sent
    assert result.accepted == len(sent)


@pytest.mark.parametrize("end", [AsyncUploader.close, lambda uploader: uploader.__aexit__(None, None, None)], ids=["close", "block"])
async def test_a_cancelled_end_stores_all_the_same(client: AsyncClient, ingest: FakeIngest, end: Any) -> None:
    sent, uploaders = [], []

    async def begin(step: int) -> None:
        uploaders.append(client.uploader(**SMALL))
        batch = [f"record {step} {number}" for number in range(15)]
        sent.extend(batch)
        await fill(uploaders[-1], batch)

    async def look(step: int) -> None:
        result = await uploaders[-1].close(PATIENCE_S)
        assert (result.accepted, result.pending) == (15, 0)
        assert ingest.stored == sent
        await begin(step)

    await begin(0)
    assert await at_each_await(lambda: end(uploaders[-1]), look) >= 2


@pytest.mark.parametrize("method", [AsyncUploader.close, AsyncUploader.flush])
async def test_whoever_stops_waiting_does_not_shorten_the_sending(
    away: Endpoints,
    serving: Serving,
    ingest: FakeIngest,
    method: Callable[..., Coroutine[Any, Any, UploadResult]] | Callable[[AsyncUploader], Coroutine[Any, Any, None]],
) -> None:
    async with AsyncClient(away) as client:
        uploader = client.uploader(**SMALL, drain_for_s=0)
        await fill(uploader)
        assert await cancelled_at(1, method(uploader))
        serving.start()
        assert (await uploader.close(PATIENCE_S)).pending == 0
    serving.stop()
    assert ingest.stored == ALL


async def test_a_block_that_is_cancelled_stores_exactly_what_send_took(client: AsyncClient, ingest: FakeIngest) -> None:
    taken, results = [], []

    async def block() -> None:
        async with client.uploader(max_batch_records=3, max_pending_bytes=40) as uploader:
            results.append(uploader)
            for number in range(12):
                message = f"record {len(results)} {number}"
                await uploader.send(LogRecord(message=message))
                taken.append(message)

    async def look(_: int) -> None:
        assert ingest.stored == taken
        assert results[-1].result().pending == 0

    assert await at_each_await(block, look) >= 5


async def test_whoever_cancels_the_sending_task_at_any_await_does_not_stop_it(client: AsyncClient, ingest: FakeIngest) -> None:
    sent, cancelled, caller = [], [0], asyncio.current_task()
    while cancelled:
        step = cancelled.pop() + 1
        uploader = client.uploader(**SMALL)
        uploader._driver.task = asyncio.get_running_loop().create_future()  # nothing is sent before all is queued
        batch = [f"record {step} {number}" for number in range(25)]
        sent.extend(batch)
        await fill(uploader, batch)
        stop = uploader._core.stop_taking
        uploader._core.stop_taking = lambda step=step, stop=stop: (stop(), asyncio.current_task() is caller or cancelled.append(step))  # type: ignore[misc]
        uploader._driver.task = asyncio.create_task(cancelled_at(step, uploader._driver.run(uploader._core)))
        result = await uploader.close(PATIENCE_S)
        assert (result.accepted, result.pending) == (25, 0)
        assert ingest.stored == sent
    assert step > 3


def test_the_end_of_the_loop_without_close_stores_what_was_taken(serving: Serving, ingest: FakeIngest) -> None:
    async def forget() -> None:
        client = AsyncClient(serving.endpoints)
        await fill(client.uploader(**SMALL))

    asyncio.run(forget())
    assert ingest.stored == ALL


def test_the_end_of_the_loop_is_not_delayed_for_long(away: Endpoints) -> None:
    async def forget() -> AsyncUploader:
        uploader = AsyncClient(away).uploader(**SMALL, drain_for_s=0.2)
        await fill(uploader)
        return uploader

    uploader = asyncio.run(forget())
    assert uploader.result().pending == 25
    with pytest.raises(TimedOutError, match=r"25 records were not acknowledged within 0\.2 s and may not be stored: nobody answers"):
        uploader._core._refuse()


async def test_a_task_that_is_cancelled_twice_fails_the_upload(away: Endpoints) -> None:
    uploader = AsyncClient(away).uploader(**SMALL)
    await fill(uploader)
    flushing = asyncio.create_task(uploader.flush())
    for _ in range(2):
        uploader._driver.task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(TimedOutError, match="25 records were not acknowledged before their event loop ended"):
        await flushing
    with pytest.raises(TimedOutError):
        await uploader.close()


async def test_a_cancellation_goes_on_after_what_was_queued_is_sent(client: AsyncClient, ingest: FakeIngest) -> None:
    uploader, error = client.uploader(**SMALL), asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError) as caught:
        await failing(uploader, error)
    assert caught.value is error
    assert ingest.stored == ALL
    assert uploader.result().pending == 0


async def test_a_second_cancellation_ends_the_draining(client: AsyncClient, ingest: FakeIngest) -> None:
    ingest.faults.append("silent")
    uploader = client.uploader(**SMALL, drain_for_s=3600)

    async def block() -> None:
        async with uploader:
            await fill(uploader)

    task = asyncio.create_task(block())
    await uploader._core._until(lambda: uploader._core.closing)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert uploader.result().pending
    assert uploader._driver.task.done()
