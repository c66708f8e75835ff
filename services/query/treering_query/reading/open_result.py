"""One open result: read a batch at a time, from any thread."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing

import duckdb
import pyarrow as pa

from treering_query.reading.slices import Slice
from treering_query.view.session import Session
from treering_query.view.snapshot import Snapshot


class OpenResult:
    """Reads parts of one snapshot. For one thread at a time, each step may come from another; `interrupt` may come from any."""

    def __init__(self, session: Session, snapshot: Snapshot) -> None:
        self._session = session
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._interrupted = False
        self._reader: pa.RecordBatchReader | None = None

    def schema(self, part: Slice, sql: str, parameters: Mapping[str, object]) -> pa.Schema:
        """The columns of what `batches` gives; reads no record."""
        with self._lock, closing(self._opened(part, sql, parameters, 1)) as reader:
            return reader.schema

    def batches(self, part: Slice, sql: str, parameters: Mapping[str, object], rows: int) -> Iterator[pa.RecordBatch]:
        """Runs a SELECT over `part.records`, about `rows` rows at a time.

        Raises:
            DamagedSegmentError: One of the segments is known to be damaged.
            duckdb.Error: It cannot be read, was interrupted, or there is not enough memory.
        """
        with self._lock:
            self._reader = self._opened(part, sql, parameters, rows)
        # Outside of the lock between two batches: `close` must not wait for a caller that does not read.
        while (batch := self._next_batch()) is not None:
            yield batch

    def _opened(self, part: Slice, sql: str, parameters: Mapping[str, object], rows: int) -> pa.RecordBatchReader:
        # DuckDB forgets an interrupt that comes between two statements; the flag does not.
        self._refuse_interrupted()
        # Before it is opened: a file that is known to be damaged is refused, not read in part.
        self._snapshot.reads(part.segments)
        self._snapshot.has_read_hot |= part.hot
        return self._session.stream(self._snapshot.view, sql, parameters, rows)

    def _next_batch(self) -> pa.RecordBatch | None:
        with self._lock:
            self._refuse_interrupted()
            if self._reader is None:
                return None
            try:
                return self._reader.read_next_batch()
            except StopIteration:
                self._reader = None
                return None
            except (pa.ArrowException, OSError) as error:
                raise _of_the_database(error) from error

    def _refuse_interrupted(self) -> None:
        if self._interrupted:
            raise duckdb.InterruptException("stopped before it began")

    def interrupt(self) -> None:
        """Stops what is read now and refuses further steps."""
        self._interrupted = True
        self._session.interrupt()

    def close(self) -> None:
        """Gives back memory and files; a step that runs is waited for."""
        with self._lock:
            # A step that still waits for the lock finds this and reads nothing.
            self._interrupted = True
            # The reader before its connection.
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            self._session.close()


def _of_the_database(error: Exception) -> duckdb.Error:
    """The database's own error, which Arrow passes on as one of reading: its kind stands in front."""
    text = str(error)
    # Arrow's C stream passes a text and no type.
    if text.startswith("Out of Memory Error"):
        return duckdb.OutOfMemoryException(text)
    if text.startswith("INTERRUPT Error"):
        return duckdb.InterruptException(text)
    return duckdb.Error(text)
