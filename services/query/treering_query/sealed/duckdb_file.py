"""A database file of DuckDB that is opened again after an error, and changed in transactions with a checkpoint after each.

The database's main file is protected by checksums and its own write-ahead log is not, hence the checkpoints. One that fails takes nothing
back: the commit stands in the database's write-ahead log. But the database refuses every further statement after it, as after other errors
of the disk, so the file is opened again before the next change.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import structlog

from treering_runtime.errors import StartError

_LOG = structlog.get_logger()


class DuckDbFile:
    """The open file. Belongs to one thread.

    Args:
        file: Created when it is not there.
        tables: Statements that make its tables; without effect where they were applied already. None: it is only read.

    Raises:
        StartError: The file cannot be read.
    """

    def __init__(self, file: Path, tables: str | None) -> None:
        self._file = file
        self._read_only = tables is None
        self._suspect = False
        try:
            self.connection = self._connect()
            if tables is not None:
                self.connection.execute(tables)
        # Nothing is made new here: an empty catalog beside full segments would have their files deleted as orphans.
        except duckdb.Error as error:
            problem = str(error).splitlines()[0]
            raise StartError(f"{file} cannot be read ({problem}); restore it, or move the data directory away to start afresh") from error
        # What a crash left in the write-ahead log was replayed by `_connect`. It goes into the main file, which has checksums, before new
        # changes.
        if tables is not None:
            self._checkpoint()
            # Only if the checkpoint failed: then the connection refuses everything, and the first user would meet an error of the start.
            self.recover()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        # The same values each time: DuckDB refuses a second connection to an open file with another configuration.
        config: dict[str, str | bool | int | float | list[str]] = {
            # Questions have an engine of their own: seals and upkeep leave the other cores to them.
            "threads": 1,
            "memory_limit": "512MB",
            # Its statements need little memory; the directory of spills belongs to the database that sorts records.
            "temp_directory": "",
            # No statement may fetch code from the network.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Otherwise a name in a statement that is no table would be looked up among the variables of the Python caller.
            "python_enable_replacements": False,
        }
        return duckdb.connect(str(self._file), config=config, read_only=self._read_only)

    def suspect(self) -> None:
        """Something failed: `recover` will open the file again."""
        # Not done here: the disk has just failed and would most likely fail again. The next operation needs the file, and opens it.
        self._suspect = True

    def recover(self) -> bool:
        """Makes the file usable after an error; True when it was opened again, so that what was read before may be outdated.

        Every cursor of `connection` must be closed: the database lives, invalid, as long as one of them does.

        Raises:
            duckdb.Error: It cannot be opened now; to be tried again.
        """
        if not self._suspect:
            return False
        # A close that fails leaves nothing to save: what is committed is in the files.
        with contextlib.suppress(duckdb.Error):
            self.connection.close()
        self.connection = self._connect()
        # After the open: if it raises, the file stays suspect, and the next operation tries again.
        self._suspect = False
        return True

    def atomically(self, change: Callable[[], object]) -> None:
        """Makes a change of several statements in one transaction, then a checkpoint.

        Raises:
            Exception: Whatever failed. The change is not made then; only if `commit` itself failed it may be: `suspect`, `recover`, read.
        """
        run = self.connection
        # Outside of the `try`: a `begin` that fails has opened nothing that could be undone.
        run.execute("begin")
        try:
            change()
            run.execute("commit")
        # Whatever it is: a transaction left open would take in the statements of the next change.
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # the first error is the one to know; a database that is invalid has nothing to undo
                run.execute("rollback")
            raise
        # After the commit, and not part of it: from here on the change is durable, in the write-ahead log of the database.
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Moves what is committed into the main file. A failure is a warning: whoever saw an error would make the change a second time."""
        try:
            self.connection.execute("checkpoint")
        except duckdb.Error as error:
            # The commit stands, but DuckDB refuses all further statements after some errors of a checkpoint. So it is opened again, when it
            # is needed.
            self.suspect()
            problem = str(error).splitlines()[0]
            _LOG.warning("the catalog's checkpoint failed; what is committed stays in its write-ahead log", problem=problem)

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()
