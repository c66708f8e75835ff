"""DuckDB for questions that we wrote: one in-memory instance, a cursor for each snapshot, threads that may be interrupted."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import duckdb

from treering_query.settings import QuerySettings
from treering_query.view.interruptible import interruptible
from treering_query.view.snapshot import Snapshot
from treering_runtime.admission import Admission

T = TypeVar("T")


class SnapshotEngine:
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
    def from_settings(cls, settings: QuerySettings) -> "SnapshotEngine":
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
