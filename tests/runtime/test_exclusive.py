import asyncio

import pytest
from structlog.testing import capture_logs

from tests.cancelling import at_each_await
from treering_runtime.exclusive import Exclusive


class Work:
    """Three steps with an await between them; remembers which were taken, and how many ran at the same time."""

    def __init__(self) -> None:
        self.steps, self.running, self.most = [], 0, 0

    async def __call__(self) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        for step in "abc":
            await asyncio.sleep(0)
            self.steps.append(step)
        self.running -= 1
        return len(self.steps)


async def test_a_cancelled_caller_stops_no_work_that_has_begun() -> None:
    exclusive, work = Exclusive("test"), Work()

    async def after(step: int) -> None:
        await exclusive.finish()
        assert work.steps == list("abc") * step, "each call begins at once, so each one ends"

    cancelled = await at_each_await(lambda: exclusive.run(work), after)
    assert cancelled >= 1
    assert work.most == 1


async def test_a_caller_cancelled_while_it_waits_for_its_turn_begins_nothing() -> None:
    exclusive, first, second = Exclusive("test"), Work(), Work()
    running = asyncio.create_task(exclusive.run(first))
    waiting = asyncio.create_task(exclusive.run(second))
    await asyncio.wait({waiting}, timeout=0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await running == 3
    assert (second.steps, exclusive.is_busy) == ([], False)
    assert await exclusive.run(second) == 3


async def test_pieces_of_many_callers_run_one_after_another_also_when_half_of_them_go() -> None:
    exclusive, work = Exclusive("test"), Work()
    callers = [asyncio.create_task(exclusive.run(work)) for _ in range(20)]
    await asyncio.wait(callers, timeout=0)
    for caller in callers[::2]:
        caller.cancel()
    await asyncio.wait(callers)
    await exclusive.finish()
    assert work.most == 1
    assert len(work.steps) == 3 * 11  # the first had begun; nine others never do


async def test_an_error_reaches_the_caller_and_the_log_when_the_caller_has_gone() -> None:
    exclusive = Exclusive("test")
    release = asyncio.Event()

    async def failing() -> None:
        await release.wait()
        raise OSError("no space")

    caller = asyncio.create_task(exclusive.run(failing))
    await asyncio.wait({caller}, timeout=0)
    with capture_logs() as logs:
        caller.cancel()
        await asyncio.wait({caller})
        release.set()
        await exclusive.finish()
    assert [(each["work"], each["problem"]) for each in logs] == [("test", "no space")]
    with pytest.raises(OSError, match="no space"):
        await exclusive.run(failing)
    assert not exclusive.is_busy
