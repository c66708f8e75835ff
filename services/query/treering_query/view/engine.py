"""DuckDB for questions that we wrote: one in-memory instance, a cursor for each snapshot, threads that may be interrupted."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import duckdb

from treering.v1.error_pb2 import ErrorReason
from treering_query.settings import QuerySettings
from treering_query.view.snapshot import Snapshot
from treering_runtime.admission import Admission, timed_out
from treering_runtime.errors import ServiceError

T = TypeVar("T")

_INTERRUPT_AGAIN_S = 0.05
"""Pause between two interruptions of one piece of work, seconds."""


class Engine:
    """Runs blocking work on snapshots, a bounded number at a time.

    Args:
        spill: Directory where large sorts and groupings go when memory is full; emptied by DuckDB.
        memory_bytes: DuckDB's memory for all queries together.
        threads: Threads of DuckDB for all queries together.
        running: Queries that run at a time.
        waiting: Queries that may wait.
        timeout_s: Longest time of one piece of work, seconds; a call's own deadline may be nearer.
    """

    def __init__(self, spill: Path, *, memory_bytes: int, threads: int, running: int, waiting: int, timeout_s: float) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            # Of all questions together: one that needs more while others run is refused with a time to try again.
            "memory_limit": f"{memory_bytes}B",
            "threads": threads,
            # Large sorts may go to the disk, but not so far that they fill the disk of the segments.
            "temp_directory": str(spill),
            "max_temp_directory_size": f"{4 * memory_bytes}B",
            # Our statements use what is built in; none may fetch code, none may look into Python's variables.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            # The order of rows is what a statement asks for. Without this, parallel scans would hold results back to sort them.
            "preserve_insertion_order": False,
        }
        self._database = duckdb.connect(":memory:", config=config)
        # Segments never change, and a footer takes longer to read than many a question: a millisecond each. About 100 KiB of memory a
        # segment, inside the limit, least recently used ones go first.
        self._database.execute("set global parquet_metadata_cache = true")
        # As many threads as questions may run: one that is admitted never waits for a thread.
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="query")
        self._admission = Admission("store", running, waiting)
        self._timeout_s = timeout_s

    @classmethod
    def from_settings(cls, settings: QuerySettings) -> "Engine":
        """The engine that the settings ask for."""
        return cls(
            settings.data_dir / "spill",
            memory_bytes=settings.query_memory_bytes,
            threads=settings.query_threads,
            running=settings.query_max_running,
            waiting=settings.query_max_waiting,
            timeout_s=settings.query_timeout_s,
        )

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the instance."""
        return self._database.cursor()

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None) -> T:
        """Runs `work(snapshot)` on a thread; interrupts it when time is over or the caller is cancelled.

        Raises:
            ServiceError: TIMED_OUT, OVERLOADED, or SQL_LIMIT when memory is not enough.
        """
        # One deadline for the wait and the work: a question that waited long may run less.
        began = time.monotonic()
        end = began + min(self._timeout_s, timeout_s if timeout_s is not None else self._timeout_s)
        async with self._admission.slot(end - began):
            snapshot.waited_s += time.monotonic() - began
            return await interruptible(self._threads, snapshot, lambda: work(snapshot), end - time.monotonic())

    def close(self) -> None:
        """Ends the threads and the instance."""
        # Before the instance: a thread that still runs would use a database that is closed.
        self._threads.shutdown(wait=True)
        self._database.close()


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
