"""Work on a thread that a deadline, or a caller who goes away, can end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import duckdb

from treering.v1.error_pb2 import ErrorReason
from treering_runtime.admission import timed_out
from treering_runtime.errors import ServiceError

_INTERRUPT_AGAIN_S = 0.05
"""Pause between two interruptions of one piece of work, seconds."""

T = TypeVar("T")


class Interruptible(Protocol):
    """Work that another thread can stop."""

    def interrupt(self) -> None:
        """Stops what runs, if anything does, and what would run later."""


async def interruptible(threads: ThreadPoolExecutor, asked: Interruptible, work: Callable[[], T], timeout_s: float | None = None) -> T:
    """Runs `work()`, which asks `asked`, on one of `threads`; interrupts it when time is over or the caller is cancelled.

    Raises:
        ServiceError: TIMED_OUT, or SQL_LIMIT when memory is not enough.
    """
    # A thread cannot be cancelled. Hence the shield: the future stays true about the thread, and we interrupt it instead.
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(running)
    except TimeoutError:
        await _stopped(asked, running)
        raise timed_out("the query took longer than it may; narrow it, for example by time") from None
    except asyncio.CancelledError:
        await _stopped(asked, running)
        raise
    except duckdb.OutOfMemoryException as error:
        message = "the query needs more memory than it may have; narrow it or group by less"
        later = 1.0  # the memory is shared: without its neighbours the query may fit
        raise ServiceError(ErrorReason.ERROR_REASON_SQL_LIMIT, message, metadata={"limit": "memory"}, retry_after_s=later) from error


async def _stopped(asked: Interruptible, running: "asyncio.Future[T]") -> None:
    """Interrupts and waits until the thread is done with what it asked, so that it can be closed; its outcome is of no use any more.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile, as well: at its deadline, and then because it hung up.
    """
    cancelled = False
    while not running.done():  # again and again: a statement that begins at this moment does not hear of the first time
        asked.interrupt()
        try:
            await asyncio.wait({running}, timeout=_INTERRUPT_AGAIN_S)
        except asyncio.CancelledError:  # the thread still reads: whoever closed the session now would hand it to the next question in use
            cancelled = True
    if not running.cancelled():
        running.exception()
    if cancelled:
        raise asyncio.CancelledError
