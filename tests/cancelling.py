"""Cancels work at each of its awaits in turn: what a caller that hangs up, or whose deadline passes, can do to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any

_MOST_AWAITS = 10_000
"""Work with more suspensions than this does not end by itself: the test fails instead of going on for ever."""


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that is cancelled when it has suspended `step` times."""

    def __init__(self, work: Coroutine[Any, Any, Any], step: int) -> None:
        self._work = work
        self._left = step
        self.task: asyncio.Task[Any] | None = None

    def send(self, value: Any) -> Any:
        suspended = self._work.send(value)
        self._left -= 1
        if self._left == 0 and self.task is not None:
            # not at once: the task first takes note of what it waits for
            asyncio.get_running_loop().call_soon(self.task.cancel)
        return suspended

    def throw(self, *error: Any) -> Any:
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._work.__await__())


async def cancelled_at(step: int, work: Coroutine[Any, Any, Any]) -> bool:
    """Runs work and cancels it at its `step`th suspension, counted from 1; False when it ended before that.

    Errors of the work itself are raised.
    """
    counted = _Counted(work, step)
    counted.task = asyncio.get_running_loop().create_task(counted)
    try:
        await counted.task
    except asyncio.CancelledError:
        return True
    return False


async def at_each_await(begin: Callable[[], Coroutine[Any, Any, Any]], after: Callable[[int], Awaitable[None]]) -> int:
    """Begins work again and again, each time cancelled one await later, until it ends by itself; `after(step)` looks each time.

    Returns how many times it was cancelled: assert that it is as often as you think, at least once.
    """
    for step in range(1, _MOST_AWAITS):
        was_cancelled = await cancelled_at(step, begin())
        await after(step)
        if not was_cancelled:
            return step - 1
    raise AssertionError(f"the work suspended {_MOST_AWAITS} times and did not end")


async def drained(answers: AsyncIterator[Any]) -> None:
    """Takes every answer of a streaming rpc, so that it can be cancelled like one that answers once."""
    async for _ in answers:
        pass
