"""The database that counts and sorts records for a segment."""

import contextlib
from pathlib import Path

import duckdb


class ScratchDatabase:
    """A database without data of its own. Belongs to one thread.

    Args:
        directory: Below it records are sorted for which there is no memory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: duckdb.DuckDBPyConnection | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one change: close it, and what was registered on it is gone."""
        # Kept between two changes: to make one takes 17 ms of a core, which is a quarter of a small seal.
        if self._open is None:
            self._open = self._made()
        return self._open.cursor()

    def close(self) -> None:
        """Ends it; the next change has another one. Also after an error: some leave a database that refuses everything."""
        if self._open is not None:
            with contextlib.suppress(duckdb.Error):  # there is nothing in it to lose
                self._open.close()
            self._open = None

    def _made(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, str | bool | int | float | list[str]] = {
            # Questions have an engine of their own: seals and upkeep leave the other cores to them.
            "threads": 1,
            # Above this limit a rewrite sorts its records on the disk, in the directory below.
            "memory_limit": "512MB",
            "temp_directory": str(self._directory / "catalog-spill"),
            # No statement may fetch code from the network.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Otherwise a name in a statement that is no table would be looked up among the variables of the Python caller.
            "python_enable_replacements": False,
        }
        return duckdb.connect(":memory:", config=config)
