"""Tasks that run as long as the service: one that fails ends the service, and is not forgotten."""

import asyncio
from collections.abc import Coroutine

import structlog

_LOG = structlog.get_logger()


class Background:
    """Watches tasks. Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = asyncio.Event()
        self.failure = ""
        """Which task failed, and how; empty while all is well."""

    def start(self, name: str, run: Coroutine[None, None, None]) -> None:
        """Starts a task. It may return when its work is done; an exception is a failure."""
        task = asyncio.create_task(run, name=name)
        task.add_done_callback(self._ended)
        # Kept: asyncio holds tasks by weak references only, and one that nobody holds may vanish while it runs.
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        # `exception()` also marks the error as seen, or asyncio would report it a second time when the task is collected.
        if task.cancelled() or not (error := task.exception()):
            return
        _LOG.error("a task of the service failed", task=task.get_name(), exc_info=error)
        # The first one: tasks that fail after it often fail because of it.
        self.failure = self.failure or f"{task.get_name()} failed: {type(error).__name__}: {error}"
        self._failed.set()

    async def wait_failed(self) -> None:
        """Returns when a task has failed; otherwise never."""
        await self._failed.wait()

    async def stop(self) -> None:
        """Cancels what still runs."""
        for task in self._tasks:
            task.cancel()
        # Waits for all of them, whatever they end with: their clean-up must be over before the log is closed.
        await asyncio.gather(*self._tasks, return_exceptions=True)
