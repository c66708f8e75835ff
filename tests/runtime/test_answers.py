"""What is counted of answers is given back in the end, whatever becomes of their calls."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.cancelling import at_each_await
from tests.settling import settled
from treering_runtime import answers as answers_module
from treering_runtime import caller
from treering_runtime.answers import Answers, CallBounds
from treering_runtime.errors import ServiceError
from treering_runtime.limits import UNCOUNTED_ANSWER_BYTES
from treering_runtime.shares import Shares

ANSWER = bytes(UNCOUNTED_ANSWER_BYTES + 1)


class Call:
    """A call whose answers are taken once `taken` is set, or whose caller goes away."""

    def __init__(self, problem: grpc.aio.InternalError | None = None, beginning: Any = None) -> None:
        self.taken, self.written, self.begun, self._problem = asyncio.Event(), [], 0, problem
        self._beginning = beginning or asyncio.sleep

    def peer(self) -> str:
        return "ipv4:10.0.0.7:41000"

    async def send_initial_metadata(self, metadata: Any) -> None:
        await self._beginning(0)
        self.begun += 1

    async def write(self, message: str) -> None:
        await self.taken.wait()
        if self._problem:
            raise self._problem
        self.written.append(message)


@pytest.fixture
def made() -> Iterator[tuple[Shares, Callable[..., Answers]]]:
    token = caller._CALLER.set(caller.Caller("unix:somebody"))  # of the whole process: tests that come after have no caller
    calls = Shares("max_open_calls", 100, ("calls", "are open"))
    yield calls, lambda **bounds: Answers(CallBounds(**bounds), calls)
    caller._CALLER.reset(token)


async def test_cancelled_at_each_await_nothing_stays_counted_once_it_was_taken(made: tuple[Shares, Any]) -> None:
    _, make = made
    answers, calls = make(), []

    async def give() -> None:
        calls.append(Call())
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(calls[-1].taken.set))
        await answers.give(calls[-1], ANSWER)

    async def looked(step: int) -> None:
        calls[-1].taken.set()
        await settled()
        assert answers._unread.total == 0

    assert await at_each_await(give, looked) > 0
    assert calls[-1].written == [ANSWER]


async def test_an_answer_stays_counted_while_it_is_on_its_way_though_its_handler_has_gone(made: tuple[Shares, Any]) -> None:
    _, make = made
    answers, call = make(), Call()
    giving = asyncio.create_task(answers.give(call, ANSWER))
    await settled()
    giving.cancel()
    await asyncio.wait({giving})
    assert answers._unread.total == len(ANSWER)
    call.taken.set()
    await settled()
    assert answers._unread.total == 0


async def test_an_answer_whose_caller_goes_away_at_its_beginning_is_given_back(made: tuple[Shares, Any]) -> None:
    _, make = made
    answers = make()

    async def gone(_: int) -> None:
        raise grpc.aio.InternalError("the call is closed")

    with pytest.raises(asyncio.CancelledError):
        await answers.give(Call(beginning=gone), ANSWER)
    await settled()
    assert answers._unread.total == 0


async def test_an_answer_of_which_not_even_the_beginning_is_taken_ends_its_call(made: tuple[Shares, Any]) -> None:
    _, make = made
    answers, call = make(unread_s=0.01), Call()
    call._beginning = lambda _: call.taken.wait()
    with pytest.raises(ServiceError, match="nothing of the answer was taken"):
        await answers.give(call, ANSWER)
    call.taken.set()
    await settled()
    assert answers._unread.total == 0


async def test_a_small_answer_that_nobody_takes_ends_its_call(made: tuple[Shares, Any]) -> None:
    _, make = made
    with pytest.raises(ServiceError, match=r"nothing of the answer was taken for 0\.01 s"):
        await make(unread_s=0.01).give(Call(), b"small")


async def test_a_small_answer_is_not_counted_and_the_beginning_is_said_with_it(made: tuple[Shares, Any]) -> None:
    _, make = made
    answers, call = make(), Call()
    giving = asyncio.create_task(answers.give(call, b"small"))
    await settled()
    assert (answers._unread.total, call.begun) == (0, 0)
    call.taken.set()
    await giving
    await answers.give(call, ANSWER)
    await answers.give(call, ANSWER, begins=False)
    assert call.begun == 1


async def test_the_callers_going_away_is_a_cancellation(made: tuple[Shares, Any]) -> None:
    _, make = made
    call = Call(grpc.aio.InternalError("the call is closed"))
    call.taken.set()
    with pytest.raises(asyncio.CancelledError):
        await make().give(call, ANSWER)


async def test_what_was_taken_late_loses_its_call_and_not_its_connection(made: tuple[Shares, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls, make = made
    answers, call = make(unread_s=0.01), Call()
    monkeypatch.setattr(answers_module, "hang_up", lambda peer: pytest.fail("it took what was written"))
    with pytest.raises(ServiceError, match="nothing of the answer was taken"):
        await answers.give(call, ANSWER)
    assert (calls.total, answers._unread.total) == (1, len(ANSWER))
    call.taken.set()
    await asyncio.gather(*answers._untaken)
    assert (calls.total, answers._unread.total) == (0, 0)


async def test_a_write_that_fails_after_its_call_has_gone_is_no_fault(made: tuple[Shares, Any]) -> None:
    _, make = made
    faults, loop = [], asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    call = Call(grpc.aio.InternalError("the call is closed"))
    giving = asyncio.create_task(make().give(call, ANSWER))
    await settled()
    giving.cancel()
    await asyncio.wait({giving})
    del giving  # it holds the frames that hold the write
    call.taken.set()
    await settled()
    gc.collect()
    # what other tests left behind is collected here as well
    assert [context for context in faults if isinstance(context.get("exception"), grpc.aio.InternalError)] == []
