"""Open results: a SELECT of ours over any number of records, from which one batch is read when the one before has been used.

They have a database instance of their own with one thread: the thread that asks for a batch is the one that reads it, so that nothing is
read ahead but what `_AHEAD` says, and two threads do not decode two row groups of one file. Typed queries keep their memory and threads.
"""

import duckdb

from treering_query.reading.open_result import OpenResult
from treering_query.view.session import Session
from treering_query.view.snapshot import Snapshot

_AHEAD = "1MB"
"""What the database reads of a result before it is asked for; 10 MiB unless it is told otherwise."""


class OpenResults:
    """Makes results that are read a batch at a time.

    Args:
        memory_bytes: DuckDB's memory for all of them together; no more is used than is read at a time.
    """

    def __init__(self, memory_bytes: int) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_bytes}B",
            # The thread that asks does the reading: nothing runs between two batches.
            "threads": 1,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "enable_external_file_cache": False,  # each byte is read once
        }
        self._database = duckdb.connect(":memory:", config=config)

    def of(self, snapshot: Snapshot) -> OpenResult:
        """One that reads from a snapshot; close it before the snapshot."""
        # A connection of its own for each export: an open result holds its connection.
        cursor = self._database.cursor()
        cursor.execute(f"set streaming_buffer_size = '{_AHEAD}'")
        return OpenResult(Session(cursor), snapshot)

    def close(self) -> None:
        """Ends the instance."""
        self._database.close()
