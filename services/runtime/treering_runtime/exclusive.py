"""Work that one may do at a time, and that a caller who goes away does not stop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from treering_runtime.owned_tasks import OwnedTasks

T = TypeVar("T")


class Exclusive:
    """Runs pieces of work one after another, each as a task of its own. Belongs to one event loop.

    A caller waits for its turn and then for the result. Cancelled while it waits for its turn, its work never begins; cancelled later, the
    work goes on to its end, and the next piece begins only then. So at most one task runs, whatever the callers do, and what a piece of
    work does after an `await` is always done.

    Args:
        name: What the work is, for the log.
    """

    def __init__(self, name: str) -> None:
        self._tasks = OwnedTasks(name)
        # A lock of asyncio is fair: whoever waits longest is next.
        self._turn = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """True while a piece of work runs."""
        return self._turn.locked()

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs `work()` when its turn has come, and returns what it returns; its errors are raised here."""
        # Cancelled here, nothing is left behind: `work` was not called, so there is no coroutine that nobody awaits.
        await self._turn.acquire()
        # no await between the turn and the task: a cancellation here could leave the turn taken for ever
        return await self._tasks.run(work(), self._turn.release)

    async def finish(self) -> None:
        """Returns when no piece of work runs any more."""
        # Before the loop is closed: work that nobody waits for any more still changes state.
        await self._tasks.ended()
