"""A real store in the test's own directory, and frames to feed it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import duckdb
import pytest
from prometheus_client import CollectorRegistry

from tests.query.query_front import Away, serving_front
from treering import AsyncClient, calls
from treering.channels import Endpoints
from treering.inner.channels import connect_async as inner_channel
from treering.rpc import Streaming, Unary
from treering.v1 import admin_pb2
from treering.v1.admin_pb2_grpc import QueryAdminServiceStub, add_QueryAdminServiceServicer_to_server
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.query_pb2_grpc import QueryServiceStub
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.meaning.embed_client import EmbedClient
from treering_query.meaning.meaning import MeaningClient
from treering_query.meaning.scorer import Scorer
from treering_query.retention.retention_clock import Clocks
from treering_query.sealed.damage import Damage
from treering_query.sealed.opening import open_sealer
from treering_query.sealed.sealing import Sealer
from treering_query.service import QueryServicer
from treering_query.sql.runner import SqlBounds, SqlRunner
from treering_query.store.deliveries import HotBounds
from treering_query.store.intake import DeliveryReader, unknown
from treering_query.store.pattern_rows import listed
from treering_query.store.store import Store
from treering_query.templates import NO_TEMPLATES
from treering_query.view.engine import SnapshotEngine
from treering_query.view.hot import Chunk
from treering_query.view.snapshot import Snapshot
from treering_query.view.view import View
from treering_runtime.answers import USUAL_BOUNDS, CallBounds
from treering_runtime.channels import Peer
from treering_runtime.doors import Socket
from treering_runtime.server import Server

AWAY = Away()
ARRIVAL = 1_800_000_000_000_000_000
MIB = 1024 * 1024
STOPPED = Clocks(wall=lambda: ARRIVAL, monotonic=lambda: 0, boottime=lambda: 0)
"""Clocks of a machine on which it is always the time at which the first record arrives."""


OpenStore: TypeAlias = Callable[..., AbstractAsyncContextManager[Store]]
"""Opens a store in the test's own directory: rows in memory, directory, clocks, what opens its sealer."""
OpenSql: TypeAlias = Callable[..., AbstractAsyncContextManager[SqlRunner]]
"""Runs SQL over a store: the store, its directory, a scorer, bounds by name."""
MakeFrame: TypeAlias = Callable[[int, Sequence[LogRecord]], DeliveredFrame]
"""A frame of records that begins at an offset."""
MakeRecord: TypeAlias = Callable[..., LogRecord]
"""The record of a number, with other values of some fields."""
Fill: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""Delivers records: the store, the first number, the number behind the last, records a frame."""
SnapshotOf: TypeAlias = Callable[..., Snapshot]
"""A snapshot of batches of records in memory."""


def _frame(first_offset: int, records: Sequence[LogRecord]) -> DeliveredFrame:
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(
        first_offset=first_offset, record_count=len(records), arrival_time_unix_nano=ARRIVAL + first_offset, payload=payload
    )


@pytest.fixture
def frame() -> MakeFrame:
    return _frame


@pytest.fixture
def record() -> MakeRecord:
    def make(number: int, **fields: str | int | dict[Any, Any] | bytes) -> LogRecord:
        chosen: dict[str, Any] = {
            "time_unix_nano": 1_700_000_000_000_000_000 + number * 1_000_000_000,
            "severity": (9, 13, 17)[number % 3],
            "service": f"svc{number % 5}",
            "environment": ("prod", "dev")[number % 2],
            "message": f"user {number} logged in",
            "attributes": {"ms": str(number)},
        } | fields
        return LogRecord(**chosen)

    return make


@asynccontextmanager
async def _opened(directory: Path, rows: int, clocks: Clocks, opened: Callable[[Path], Sealer] = open_sealer) -> AsyncIterator[Store]:
    engine = SnapshotEngine(directory / "spill", memory_bytes=256 * MIB, threads=2, running=4, waiting=64, timeout_s=30)
    store = Store(directory, engine, HotBounds(rows, 64 * MIB, 3600), CollectorRegistry(), clocks, opened=opened)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        engine.close()


@pytest.fixture
def open_store(tmp_path: Path) -> OpenStore:
    def start(
        rows: int = 1_000_000,
        directory: Path = tmp_path / "store",
        clocks: Clocks = STOPPED,
        opened: Callable[[Path], Sealer] = open_sealer,
    ) -> AbstractAsyncContextManager[Store]:
        directory.mkdir(exist_ok=True)
        return _opened(directory, rows, clocks, opened)

    return start


@pytest.fixture
def open_sql() -> OpenSql:
    @asynccontextmanager
    async def opened(store: Store, directory: Path, scorer: Scorer = AWAY, **changes: int) -> AsyncIterator[SqlRunner]:
        bounds = {"running": 2, "waiting": 4, "memory_bytes": 256 * MIB, "threads": 2, "result_bytes": 16 * MIB} | changes
        runner = SqlRunner(store, directory / "segments", SqlBounds(**bounds), MeaningClient(scorer))
        await runner.open()
        try:
            yield runner
        finally:
            await runner.close()

    return opened


@pytest.fixture
def fill(frame: MakeFrame, record: MakeRecord) -> Fill:
    """Delivers records `start` to `stop` of log 7, `size` a frame."""

    async def deliver(store: Store, start: int, stop: int, size: int = 100) -> None:
        await store.open_log(7, 0)
        for first in range(start, stop, size):
            records = [record(number) for number in range(first, min(first + size, stop))]
            await store.deliver(7, [frame(first, records)], stop)

    return deliver


class Asking(AsyncClient):
    """Asks both planes of the query service."""

    digest_store = Unary(calls.digest_store, "query", "DigestStore", admin_pb2.DigestStoreResponse)
    verify_store = Streaming(calls.verify_store, "query", "VerifyStore", admin_pb2.VerifyStoreResponse, endless=True)

    servicer: QueryServicer
    public: str
    """The address of the public plane."""

    def __init__(self, endpoints: Endpoints, inner: str) -> None:
        super().__init__(endpoints)
        self.inner = inner
        self._own.append(inner_channel(inner))
        stubs = vars(QueryServiceStub(self._own[2])) | vars(QueryAdminServiceStub(self._own[3]))
        self._stubs["query"] = SimpleNamespace(**stubs)


Serving: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[Store, Asking]]]
"""A store that answers over gRPC, and a client of it; bounds of its answers."""


@pytest.fixture
def serving(open_store: OpenStore, open_sql: OpenSql, tmp_path: Path) -> Serving:
    @asynccontextmanager
    async def started(bounds: CallBounds = USUAL_BOUNDS) -> AsyncIterator[tuple[Store, Asking]]:
        async with open_store() as store, open_sql(store, tmp_path / "store", waiting=64) as sql:
            embed = EmbedClient(Peer("unix:/no/such/directory/s"))
            async with serving_front(store, sql, embed, bounds) as (front, servicer):
                inner = Server(Socket(tmp_path / "inner" / "s", "query"), (), CollectorRegistry(), bounds=bounds)
                add_QueryAdminServiceServicer_to_server(servicer, inner.grpc)
                await inner.start()
                client = Asking(Endpoints(query=front.address), inner.address)
                client.servicer, client.public = servicer, front.address
                try:
                    yield store, client
                finally:
                    await client.close()
                    await inner.stop(0)
                    await embed.close()

    return started


@pytest.fixture(scope="module")
def snapshot_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotOf]:
    """Snapshots of records in memory, each batch a chunk of its own."""
    database = duckdb.connect(":memory:", config={"threads": 1, "python_enable_replacements": False})
    intake = DeliveryReader(tmp_path_factory.mktemp("intake") / "reading", {})

    def make(*batches: list[LogRecord]) -> Snapshot:
        chunks: tuple[Chunk, ...] = ()
        patterns, known, offset = [], set[int](), 0
        for batch in filter(None, batches):
            taken, _ = intake.take(7, [_frame(offset, batch)], 0)
            chunks = (*chunks, Chunk(taken.records))
            patterns.append(listed(unknown(taken.patterns, known), NO_TEMPLATES))
            known.update(taken.patterns.column("pattern_id").to_pylist())
            offset += len(batch)
        return Snapshot(View(active=chunks, patterns=tuple(patterns)), database.cursor, lambda: None, Damage())

    yield make
    intake.close()
    database.close()
