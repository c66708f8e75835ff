"""The parent's side of users' SQL: admission, a zygote that is kept alive, one child process a query, its answer as a stream."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.meaning.meaning import MeaningClient
from treering_query.meaning.meant import Meant
from treering_query.settings import QuerySettings
from treering_query.sql import wire
from treering_query.sql.child_stream import ChildStream, messages
from treering_query.sql.end import End
from treering_query.sql.zygote_process import Zygote
from treering_query.store.store import Store
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.segment import Segment, in_both_forms
from treering_query.view.cost import Timing
from treering_query.view.shared_arrow import SharedArrow
from treering_query.view.snapshot import Snapshot
from treering_runtime.admission import Admission
from treering_runtime.errors import ServiceError
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()
T = TypeVar("T")

# A word anywhere in the text. It may be found in vain, which costs time, but never missed.
_LOGS = re.compile(r"logs", re.IGNORECASE)
_PATTERNS = re.compile(r"patterns|templates", re.IGNORECASE)


@dataclass(frozen=True)
class SqlBounds:
    """What one query may use, and how many there may be."""

    running: int
    waiting: int
    memory_bytes: int
    threads: int
    result_bytes: int

    @classmethod
    def from_settings(cls, settings: QuerySettings) -> "SqlBounds":
        """The bounds that the settings ask for."""
        return cls(
            settings.sql_max_running,
            settings.sql_max_waiting,
            settings.sql_memory_bytes,
            settings.sql_threads,
            settings.sql_max_result_bytes,
        )


@dataclass(frozen=True)
class SqlQuery:
    """A checked request."""

    text: str
    max_rows: int
    timeout_s: float
    min_positions: Sequence[Position] = ()
    """What the store includes already, and what the index must when meaning is asked for."""

    @classmethod
    def of(cls, request: pb.ExecuteSqlRequest) -> "SqlQuery":
        """The request with its defaults."""
        timeout_ms = request.timeout_ms if request.HasField("timeout_ms") else limits.DEFAULT_SQL_TIMEOUT_MS
        max_rows = request.max_rows if request.HasField("max_rows") else limits.DEFAULT_SQL_ROWS
        return cls(request.query, max_rows, timeout_ms / 1000, request.min_positions)


class SqlRunner:
    """Runs users' SQL in processes of their own.

    Args:
        store: What is asked.
        segments: The directory of the segments' files.
        bounds: Limits of each query and of all together.
        meaning: Scores the texts of `meaning()` and `about()`.
    """

    def __init__(self, store: Store, segments: Path, bounds: SqlBounds, meaning: MeaningClient) -> None:
        self._store = store
        self._meaning = meaning
        self._segments = segments
        self._bounds = bounds
        self._admission = Admission("sql", bounds.running, bounds.waiting)
        # The child needs a schema also when nothing is in memory.
        self._nothing = SharedArrow(LOGS_SCHEMA.empty_table())
        # of SQL alone, one for each query that may run: what others ask never waits for a fork
        self._threads = ThreadPoolExecutor(bounds.running, thread_name_prefix="sql")
        self._zygote: Zygote | None = None
        # Threads fork, so more than one may notice that the zygote is gone.
        self._renewing = threading.Lock()
        self._closed = False

    async def open(self) -> None:
        """Starts the zygote."""
        self._zygote = await on_own_thread("zygote", Zygote)

    async def close(self) -> None:
        """Ends the zygote; running queries end when their callers' streams do."""
        await on_own_thread("zygote", self._close)
        self._threads.shutdown(wait=False)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _close(self) -> None:
        with self._renewing:
            # Before the zygote ends, under the lock: a query that notices must not start another one.
            self._closed = True
            if self._zygote:
                self._zygote.close()

    async def run(
        self, query: SqlQuery, time_remaining_s: float | None, timing: Timing | None = None
    ) -> AsyncGenerator[pb.ExecuteSqlResponse, None]:
        """The pieces of the result, then the summary. Closing the iterator ends the query's process. `timing` None = it begins now.

        Raises:
            ServiceError: SQL_ERROR, SQL_NOT_ALLOWED, SQL_LIMIT, OVERLOADED, TIMED_OUT; STORE_DAMAGED when it names `logs` and a segment is
                damaged; PEER_UNAVAILABLE when it asks for meaning and embed does not answer.
        """
        timing = timing or Timing()
        started = time.monotonic()
        end = End.of(started, query.timeout_s, time_remaining_s)
        # Before the snapshot: a query that waits must not hold files.
        async with self._admission.slot(end.left()):
            # Held until the child has ended: it opens segments by name, and a file may not go meanwhile.
            with self._store.snapshot() as snapshot:
                snapshot.waited_s += time.monotonic() - started
                # The child opens whatever it is given when the text names `logs`.
                reads_logs = bool(_LOGS.search(query.text))
                segments = snapshot.view.segments if reads_logs else ()
                # On a thread: for a segment that is known to be damaged this may read its whole file.
                await self._on_thread(lambda: self._store.damage.refuse(segments))
                patterns = await self._patterns(snapshot, query, end.left())
                child = await self._begin(snapshot, query, segments, patterns, end.left())
                try:
                    async for part in self._parts(child, snapshot, query, end):
                        if part.HasField("summary"):
                            part.summary.cost.CopyFrom(timing.cost_of_all(snapshot, reads_logs=reads_logs))
                        with timing.away():
                            yield part
                finally:
                    # Also when the caller has gone: the end of the socket ends the process, within the admission.
                    await child.close()

    async def _patterns(self, snapshot: Snapshot, query: SqlQuery, timeout_s: float) -> SharedArrow | None:
        if not _PATTERNS.search(query.text):
            return None
        return await self._store.run(snapshot, lambda taken: SharedArrow(taken.query("from patterns")), timeout_s)

    async def _parts(self, child: ChildStream, snapshot: Snapshot, query: SqlQuery, end: End) -> AsyncIterator[pb.ExecuteSqlResponse]:
        missing = ""
        async for kind, body in messages(child, end):
            if kind == wire.ARROW:
                yield pb.ExecuteSqlResponse(arrow_ipc=body)
            elif kind == wire.TEXTS:
                # While the child makes its tables ready. The time of embed counts as the query's own.
                meant = await self._meaning.of(json.loads(body), query.min_positions, end.left())
                missing, scores = await self._on_thread(partial(_scores, meant, snapshot))
                child.give(scores)
            else:
                summary = await self._summary(kind, body, snapshot)
                summary.degraded_because = "; ".join(filter(None, (missing, self._holes(query))))
                yield pb.ExecuteSqlResponse(summary=summary)
                return
        # The stream ended without a last word: the operating system ended the child by one of its limits.
        raise end.reason()

    def _holes(self, query: SqlQuery) -> str:
        """A hole may concern whatever reads records, or what is counted of them: when its records were written, nobody knows."""
        reads = _LOGS.search(query.text) or _PATTERNS.search(query.text)
        return self._store.board.holes.words if reads else ""

    async def _summary(self, kind: bytes, body: bytes, snapshot: Snapshot) -> pb.SqlSummary:
        try:
            return _summary(kind, body, snapshot)
        except RuntimeError as error:
            # A damaged file is the likeliest reason for an error that is not the user's.
            damage = await self._store.find_damage(snapshot.view.segments, error)
            raise damage or error from error

    async def _begin(
        self, snapshot: Snapshot, query: SqlQuery, segments: Sequence[Segment], patterns: SharedArrow | None, seconds: float
    ) -> ChildStream:
        # The patterns are the last: the child takes them from the end.
        tables = [*(snapshot.view.hot or (self._nothing,)), *((patterns,) if patterns else ())]
        plain, with_resources = (tuple(file.name for file in form) for form in in_both_forms(segments))
        request = wire.Request(
            query=query.text,
            directory=str(self._segments),
            files=plain,
            files_with_resources=with_resources,
            has_patterns=patterns is not None,
            max_rows=query.max_rows,
            max_bytes=self._bounds.result_bytes,
            memory_bytes=self._bounds.memory_bytes,
            threads=self._bounds.threads,
            # A timer of 0 would be no timer.
            seconds=max(seconds, 0.001),
        )
        # A task that outlives its caller: a child that nobody knows of would run until its timer ends it.
        forking = asyncio.create_task(self._on_thread(lambda: self._fork(request, tables)))
        try:
            sock = await asyncio.shield(forking)
        except asyncio.CancelledError:
            # The thread may still be in the fork; its socket is closed when it has come.
            forking.add_done_callback(_close_unwanted)
            raise
        return await ChildStream.open(sock, tables)

    def _fork(self, request: wire.Request, tables: Sequence[SharedArrow]) -> socket.socket:
        """Makes a child; keeps the tables, whose descriptors are closed with them, until it has them, whoever has gone meanwhile."""
        ours, theirs = socket.socketpair()
        try:
            # Closed here in any case: while it is open in this process, the end of the child would not be seen.
            with theirs:
                self._ask_zygote(theirs)
            # On this thread, which owns the tables: their descriptors are open until the kernel has taken them.
            wire.send_request(ours, request, [table.descriptor for table in tables])
        except BaseException:
            ours.close()
            raise
        return ours

    def _ask_zygote(self, sock: socket.socket) -> None:
        zygote = self._zygote
        try:
            if zygote is None:
                raise BrokenPipeError("there is none yet")
            zygote.fork(sock)
        except OSError:
            # Once: a second failure is an error of this query.
            self._renewed(zygote).fork(sock)

    def _renewed(self, gone: Zygote | None) -> Zygote:
        """Another zygote in place of one that is gone. Of several threads that notice, the first one starts it; the others take it."""
        with self._renewing:
            if self._closed:
                raise _draining()
            # Another thread may have renewed it while this one waited for the lock.
            if self._zygote is gone or self._zygote is None:
                _LOG.warning("the process that forks SQL queries is gone; another one is started")
                if gone is not None:
                    gone.close()
                self._zygote = None  # before the new one: it may not start, and the old one is not to be closed twice
                self._zygote = Zygote()
            return self._zygote


def _draining() -> ServiceError:
    return ServiceError(ErrorReason.ERROR_REASON_DRAINING, "the service is stopping; ask again later")


def _close_unwanted(forking: "asyncio.Task[socket.socket]") -> None:
    """The child of a caller that has gone while it was made ends with its socket."""
    # To ask for the exception marks it as seen; nobody else will.
    if not forking.cancelled() and forking.exception() is None:
        forking.result().close()


def _scores(meant: Meant, snapshot: Snapshot) -> tuple[str, SharedArrow]:
    """What has no score, in words, and the scores for the child. Blocks: both grow with the patterns."""
    return meant.missing_in(snapshot.view.patterns), SharedArrow(meant.table())


def _summary(kind: bytes, body: bytes, snapshot: Snapshot) -> pb.SqlSummary:
    """What the child said last."""
    said = json.loads(body)
    if kind == wire.SUMMARY:
        return pb.SqlSummary(row_count=said["row_count"], truncated=said["truncated"], seen=snapshot.seen)
    if said["reason"] == "INTERNAL":
        raise RuntimeError(f"SQL child: {said['message']}")
    raise ServiceError(ErrorReason.Value(f"ERROR_REASON_{said['reason']}"), said["message"], metadata=said["metadata"])
