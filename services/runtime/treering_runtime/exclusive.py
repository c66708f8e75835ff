"""Work that one may do at a time, and that a caller who goes away does not stop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

_LOG = structlog.get_logger()

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
        self._name = name
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[Any] | None = None

    @property
    def is_busy(self) -> bool:
        """True while a piece of work runs."""
        return self._turn.locked()

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs `work()` when its turn has come, and returns what it returns; its errors are raised here."""
        await self._turn.acquire()
        # no await between the turn and the task: a cancellation here could leave the turn taken for ever
        task = self._running = asyncio.create_task(work())
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._log_error)
            raise

    async def finish(self) -> None:
        """Returns when the piece of work that runs now has ended, whatever its outcome."""
        if self._running is not None:
            await asyncio.wait({self._running})

    def _ended(self, _: "asyncio.Task[Any]") -> None:
        self._running = None
        self._turn.release()

    def _log_error(self, task: "asyncio.Task[Any]") -> None:
        """The caller is gone: nobody else would hear of it."""
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("work failed after its caller had gone", work=self._name, problem=str(error), exc_info=error)
