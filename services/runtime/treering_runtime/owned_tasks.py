"""Work that belongs to the service: a caller that goes away does not stop it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

_LOG = structlog.get_logger()

T = TypeVar("T")


def _nothing() -> None:
    """Nobody wants to hear of the end."""


class OwnedTasks:
    """Runs work that changes state across awaits, each piece as a task of its own. Belongs to one event loop.

    Args:
        name: What the work is, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T], ended: Callable[[], None] = _nothing) -> T:
        """Returns what `work` returns; its errors are raised here. A cancelled caller does not stop it.

        Args:
            work: Begins at once.
            ended: Called when it has ended, whatever its outcome and whoever still waits.
        """
        task = asyncio.create_task(work)
        # the event loop refers weakly to its tasks: without this one, the work could vanish in the middle
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # As a callback of the task and not after the await: it is called also when nobody waits any more.
        task.add_done_callback(lambda _: ended())
        try:
            # `shield` lets the caller be cancelled alone; the task does not notice.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Only now: a caller that is still there gets the error itself, and it would be logged twice.
            task.add_done_callback(self._log_error)
            raise

    async def ended(self) -> None:
        """Returns when nothing runs any more."""
        while self._running:
            # `asyncio.wait` raises none of their errors: each belongs to its caller, or was logged.
            await asyncio.wait(self._running)

    def _log_error(self, task: "asyncio.Task[Any]") -> None:
        """The caller is gone: nobody else would hear of it."""
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("work failed after its caller had gone", work=self._name, problem=str(error), exc_info=error)
