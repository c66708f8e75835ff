"""The database that counts and sorts records for a segment."""

from pathlib import Path

import duckdb


def scratch_database(directory: Path) -> duckdb.DuckDBPyConnection:
    """A database without data of its own, for one change: close it. After an error of it the next change has another one.

    What it has no memory for is sorted on the disk, below `directory`.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        # Questions have an engine of their own: seals and upkeep leave the other cores to them.
        "threads": 1,
        "memory_limit": "512MB",
        "temp_directory": str(directory / "catalog-spill"),
        # No statement may fetch code from the network.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # Otherwise a name in a statement that is no table would be looked up among the variables of the Python caller.
        "python_enable_replacements": False,
    }
    return duckdb.connect(":memory:", config=config)
