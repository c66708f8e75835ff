"""ExportLogs: everything that a filter selects, a slice of the store at a time."""

import functools
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import filters
from treering_query.filters import Predicate
from treering_query.meant import NOTHING, Meant
from treering_query.slices import Slice, newest_first
from treering_query.store.relation import user_columns
from treering_query.store.snapshot import Snapshot
from treering_query.store.store import Store

_PIECE_BYTES = 1024 * 1024
_BATCH_ROWS = 16_384


def plan(request: pb.ExportLogsRequest, meant: Meant = NOTHING) -> Predicate:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD.
    """
    return filters.where(request.filter, meant)


class Export:
    """One export. Holds one slice of the store in memory at a time; a slow reader makes it wait, and keeps its segments."""

    def __init__(self, store: Store, predicate: Predicate) -> None:
        self._store = store
        self._predicate = predicate
        self._pieces = _Pieces()
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._rows = 0

    async def run(self) -> AsyncIterator[pb.ExportLogsResponse]:
        """The parts, then the summary."""
        with self._store.snapshot() as snapshot:
            for part in newest_first(snapshot, self._predicate):
                await self._store.run(snapshot, functools.partial(self._write, part))
                for piece in self._pieces.take():
                    yield pb.ExportLogsResponse(arrow_ipc=piece)
            self._writer.close()
            for piece in self._pieces.take():
                yield pb.ExportLogsResponse(arrow_ipc=piece)
            yield pb.ExportLogsResponse(summary=pb.ExportSummary(row_count=self._rows, seen=snapshot.seen))

    def _write(self, part: Slice, snapshot: Snapshot) -> None:
        sql = f"select {user_columns()} from {part.records} where {self._predicate.sql}"
        table = part.query(snapshot, sql, self._predicate.parameters)
        if self._schema is None:
            self._schema = table.schema
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._pieces, mode="w"), table.schema)
        self._writer.write_table(table.cast(self._schema), max_chunksize=_BATCH_ROWS)
        self._rows += table.num_rows


class _Pieces:
    """A file for the Arrow writer that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self.closed = False

    def write(self, data: memoryview) -> int:
        view = memoryview(data)
        self._kept += [bytes(view[start : start + _PIECE_BYTES]) for start in range(0, len(view), _PIECE_BYTES)]
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> list[bytes]:
        """What was written since the last call, in messages as large as they may be."""
        whole, self._kept = b"".join(self._kept), []
        return [whole[start : start + _PIECE_BYTES] for start in range(0, len(whole), _PIECE_BYTES)]
