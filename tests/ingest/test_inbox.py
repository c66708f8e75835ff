import asyncio
from typing import Any

import pytest

from tests.settling import settled
from treering_ingest import inbox as module
from treering_ingest.inbox import Inbox


class Call:
    """The batches of a call, as the test lets them come; `read` counts those that were asked for."""

    def __init__(self) -> None:
        self.coming = asyncio.Queue()
        self.read = 0

    def send(self, *batches: bytes) -> None:
        for each in batches:
            self.coming.put_nowait(each)

    def end(self, error: ConnectionResetError | None = None) -> None:
        self.coming.put_nowait(error or StopAsyncIteration())

    def __aiter__(self) -> "Call":
        return self

    async def __anext__(self) -> Any:
        item = await self.coming.get()
        if isinstance(item, BaseException):
            raise item
        self.read += 1
        return item


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 3_600)


async def test_small_batches_are_gathered_until_the_end() -> None:
    call = Call()
    inbox = Inbox(call)
    call.send(b"a", b"b", b"c")
    taking = asyncio.create_task(inbox.take())
    await settled()
    assert not taking.done()
    call.end()
    assert await taking == [b"a", b"b", b"c"]
    assert await inbox.take() == []
    assert not inbox.is_closed


async def test_small_batches_are_gathered_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0)
    call = Call()
    inbox = Inbox(call)
    call.send(b"a")
    assert await inbox.take() == [b"a"]
    inbox.close()


async def test_a_batch_whose_sender_may_wait_is_handed_out_at_once() -> None:
    call, hurry = Call(), [True]
    inbox = Inbox(call, in_a_hurry=lambda: hurry[0])
    call.send(b"a")
    assert await inbox.take() == [b"a"]
    hurry[0] = False
    call.send(b"b")
    taking = asyncio.create_task(inbox.take())
    await settled()
    assert not taking.done()
    inbox.close()
    assert await taking == []


async def test_large_batches_are_handed_out_at_once_and_one_is_read_ahead() -> None:
    call, large = Call(), bytes(module.GATHER_BYTES)
    inbox = Inbox(call)
    call.send(large, large, large, large)
    await settled()
    assert call.read == 2
    assert await inbox.take() == [large, large]
    await settled()
    assert call.read == 4
    inbox.close()


async def test_batches_of_no_size_are_bounded_too() -> None:
    call = Call()
    inbox = Inbox(call)
    call.send(*[b""] * (module.MAX_GATHERED_BATCHES + 10))
    for _ in range(module.MAX_GATHERED_BATCHES):
        await settled()
    assert call.read == module.MAX_GATHERED_BATCHES
    inbox.close()


async def test_an_error_comes_after_what_came_before_it() -> None:
    call = Call()
    inbox = Inbox(call)
    call.send(b"a")
    call.end(ConnectionResetError("gone"))
    assert await inbox.take() == [b"a"]
    with pytest.raises(ConnectionResetError):
        await inbox.take()


async def test_a_closed_inbox_forgets_what_was_not_taken() -> None:
    call = Call()
    inbox = Inbox(call)
    call.send(b"a")
    await settled()
    inbox.close()
    assert await inbox.take() == []
    assert inbox.is_closed
    call.send(b"b")
    await settled()
    assert call.read == 1
