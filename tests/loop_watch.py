"""How long the callbacks of an event loop keep its thread busy: what everything else on that loop waits for.

Processor time of the loop's own thread, not time by the clock: a machine that is busy with other things fails no test.
"""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class LoopWatch:
    """The longest callback of one loop since `clear`. Made by `watched`."""

    def __init__(self) -> None:
        self._longest = (0.0, "")

    def clear(self) -> None:
        """Forgets what was seen."""
        self._longest = (0.0, "")

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the longest callback."""
        return self._longest[0]

    @property
    def what(self) -> str:
        """The longest callback in words: the task and the line where it waits now, or the function."""
        return self._longest[1]

    def note(self, cpu_s: float, handle: asyncio.Handle) -> None:
        """A callback has run."""
        if cpu_s > self._longest[0]:
            self._longest = (cpu_s, _described(handle))


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[LoopWatch]:
    """Measures each callback of `loop`, from whichever thread this is called. Standard event loops only: they run `Handle._run`."""
    watch, run = LoopWatch(), asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        if handle._loop is not loop:
            run(handle)
            return
        started = time.thread_time()
        run(handle)
        watch.note(time.thread_time() - started, handle)

    asyncio.Handle._run = measured
    try:
        yield watch
    finally:
        asyncio.Handle._run = run


class LoopThread:
    """An event loop on a thread of its own, so that what a client does in the test's thread is not the service's time."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="watched loop")
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begins work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Work of the loop, to its end."""
        return self.start(work).result()

    def close(self) -> None:
        """Ends the loop and its thread."""
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def _described(handle: asyncio.Handle) -> str:
    owner = getattr(handle._callback, "__self__", None)
    return repr(owner) if isinstance(owner, asyncio.Task) else repr(handle)
