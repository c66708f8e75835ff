"""ExportLogs: everything that a filter selects, a batch at a time.

An export is an open result of the database, from which one batch is read when the caller has taken the one before. Between two batches
it holds no thread and none of the turns of typed queries: only its snapshot, the open result, and its place among the exports, of which
there is a bounded number. What it keeps in memory depends on neither the size of the store nor on how slowly it is read.
"""

import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import duckdb
import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.reading.open_result import OpenResult
from treering_query.reading.open_results import OpenResults
from treering_query.reading.slices import Slice, newest_first
from treering_query.store.store import Store
from treering_query.values.predicate import Predicate
from treering_query.view import hot
from treering_query.view.cost import Timing
from treering_query.view.interruptible import interruptible
from treering_query.view.relation import user_columns
from treering_query.view.snapshot import Snapshot
from treering_runtime.admission import Admission
from treering_runtime.fitting import pieces

_BATCH_BYTES = 256 * 1024
"""Records of one batch, bytes in memory, about. Four exports at a time take 40 MiB with this and 60 with a MiB, at the same rate."""

_BATCH_ROWS = 16_384
"""Most records of one batch."""

_THREADS = 2
"""Batches that are read at a time, of all exports together: each takes milliseconds, and memory while it is made."""

_HOT = Slice((), hot=True)


def plan(request: pb.ExportLogsRequest, meant: Meant = NOTHING) -> Predicate:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD.
    """
    return filters.where(request.filter, meant)


class Exports:
    """All exports of a service.

    Args:
        store: What is exported.
        running: How many run at a time.
        waiting: How many more may wait for that.
    """

    def __init__(self, store: Store, running: int, waiting: int) -> None:
        self._store = store
        self._results = OpenResults(limits.EXPORT_MEMORY_BYTES)
        # A number of its own: an export may last for hours, and must not take the turns of questions.
        self.admission = Admission("export", running, waiting, patience_s=limits.EXPORT_PATIENCE_S, words="exports")
        # Fewer threads than exports: a thread is needed for a batch, not for the time in which the caller reads.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="export")

    async def run(
        self, predicate: Predicate, timeout_s: float | None, timing: Timing | None = None
    ) -> AsyncGenerator[pb.ExportLogsResponse, None]:
        """The parts, then the summary; `timeout_s` is for the wait before the first; `timing` None = the export begins now.

        Raises:
            ServiceError: OVERLOADED or TIMED_OUT before the first part only; SQL_LIMIT; STORE_DAMAGED.
        """
        timing = timing or Timing()
        began = time.monotonic()
        async with self.admission.slot(timeout_s):
            # The result closes first: it reads files that the snapshot holds.
            with self._store.snapshot() as snapshot, closing(self._results.of(snapshot)) as result:
                snapshot.waited_s += time.monotonic() - began
                export = _Export(predicate, result)
                # A generator that runs on threads, one step at a time; never two at once, as each is awaited.
                steps = export.steps(snapshot)
                while (pieces := await self._next(snapshot, result, steps)) is not None:
                    # While the caller reads, nothing runs for it.
                    for piece in pieces:
                        with timing.away():
                            yield pb.ExportLogsResponse(arrow_ipc=piece)
                summary = pb.ExportSummary(row_count=export.row_count, seen=snapshot.seen, cost=timing.cost(snapshot))
                yield pb.ExportLogsResponse(summary=summary)

    async def _next(self, snapshot: Snapshot, result: OpenResult, steps: Iterator[list[bytes]]) -> list[bytes] | None:
        try:
            # A caller that goes away interrupts the batch; after that the result can be closed.
            return await interruptible(self._threads, result, lambda: next(steps, None))
        except duckdb.Error as error:
            damage = await self._store.find_damage(snapshot.last_read, error)
            raise damage or error from error

    def close(self) -> None:
        """Ends the threads; exports that run have been cancelled before."""
        # Before the results: a batch that is being read uses its connection.
        self._threads.shutdown()
        self._results.close()


class _Export:
    """One export: its steps run on threads, one after the other."""

    def __init__(self, predicate: Predicate, result: OpenResult) -> None:
        self._predicate = predicate
        self._result = result
        self._pieces = _Pieces()
        self.row_count = 0

    def steps(self, snapshot: Snapshot) -> Iterator[list[bytes]]:
        """What each batch adds to the Arrow IPC stream, then its end."""
        # Of the hot part, which needs no file: all parts have the same columns.
        schema = self._result.schema(_HOT, self._sql(_HOT), self._predicate.parameters)
        with pa.ipc.new_stream(pa.PythonFile(self._pieces, mode="w"), schema) as writer:
            # One part is open at a time; the next is planned when this one is read to its end.
            for part in newest_first(snapshot, self._predicate):
                for batch in self._result.batches(part, self._sql(part), self._predicate.parameters, _rows(part, snapshot)):
                    # Parts may differ in nullability or in dictionaries; the stream has one schema.
                    writer.write_batch(batch.cast(schema))
                    self.row_count += batch.num_rows
                    yield self._pieces.take()
        # The end of the Arrow stream is written by the `with`, so it is taken after it.
        yield self._pieces.take()

    def _sql(self, part: Slice) -> str:
        return f"select {user_columns()} from {part.records} where {self._predicate.sql}"


def _rows(part: Slice, snapshot: Snapshot) -> int:
    """Records of a part that take about `_BATCH_BYTES` in memory."""
    if part.segments:
        rows = sum(segment.row_count for segment in part.segments)
        size = sum(segment.memory_bytes for segment in part.segments)
    else:
        rows, size = hot.total_rows(snapshot.view.hot), sum(chunk.read_bytes for chunk in snapshot.view.hot)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(size, 1)))


class _Pieces:
    """A file for the Arrow writer that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.closed = False

    def write(self, data: memoryview) -> int:
        # Copied: Arrow may reuse its buffer after the call.
        self._kept += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> list[bytes]:
        """What was written since the last call, in messages as large as they may be."""
        # A new buffer: the one before is read by the pieces.
        whole, self._kept = self._kept, bytearray()
        return list(pieces(whole))
