"""Every rpc with the widest request that is allowed, over as many patterns as templates are joined from: none keeps the loop for long."""

import asyncio
import gc
import itertools
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.loop_watch import LoopThread, watched
from tests.stubs import together
from treering.inner import SocketPlace, socket_address
from treering.v1 import admin_pb2
from treering.v1 import query_pb2 as pb
from treering.v1.admin_pb2 import ScorePatternsResponse, TextScores
from treering.v1.admin_pb2_grpc import (
    EmbedAdminServiceServicer,
    QueryAdminServiceStub,
    add_EmbedAdminServiceServicer_to_server,
    add_QueryAdminServiceServicer_to_server,
)
from treering.v1.batch_pb2 import LogBatch
from treering.v1.embed_pb2 import PatternScore, SearchPatternsResponse
from treering.v1.embed_pb2_grpc import EmbedServiceServicer, add_EmbedServiceServicer_to_server
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering.v1.query_pb2_grpc import QueryServiceStub, add_QueryServiceServicer_to_server
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query import limits
from treering_query.answers.status import Status
from treering_query.meaning.embed_client import EmbedClient
from treering_query.meaning.meaning import MeaningClient
from treering_query.search.searcher import Searcher
from treering_query.service import QueryServicer
from treering_query.settings import QuerySettings
from treering_query.sql.runner import SqlBounds, SqlRunner
from treering_query.store.deliveries import HotBounds
from treering_query.store.store import Store
from treering_query.view.engine import SnapshotEngine
from treering_runtime.channels import Peer
from treering_runtime.limits import MAX_MESSAGE_BYTES
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.server import Server

PATTERNS = limits.MAX_TEMPLATE_PATTERNS
MOST_CPU_S = 0.05
"""Of one callback: health checks and short deadlines bear several of these in a row."""

LOG = 7
MIB = 1024 * 1024
BEGIN = 1_700_000_000_000_000_000
_FRAME_RECORDS = 20_000
_SLICE = 16_384
_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]

EVERY_RECORD = LogFilter(environments=["prod"])
"""Selects all, and narrows by more than services: searches then name each pattern to the embed service."""

ABOUT_ALL = LogFilter(about="everything")


class GenerousEmbed(EmbedServiceServicer, EmbedAdminServiceServicer):
    """Every pattern is about every text. On threads of its own, so that its time is not the query service's."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def ScorePatterns(self, request, context) -> Iterator[ScorePatternsResponse]:
        for start in range(0, len(self.ids), _SLICE):
            ids = self.ids[start : start + _SLICE]
            scores = [TextScores(scores=[0.9] * len(ids))] * len(request.texts)
            yield ScorePatternsResponse(pattern_ids=ids, texts=scores, mask_version=MASK_VERSION)

    def SearchPatterns(self, request, context) -> SearchPatternsResponse:
        chosen = dict.fromkeys([*self.ids[: request.limit], *request.also_score_ids])
        scores = [PatternScore(pattern_id=key, score=0.7) for key in chosen]
        return SearchPatternsResponse(scores=scores, mask_version=MASK_VERSION)


@pytest.fixture(scope="module")
def embed(tmp_path_factory):
    servicer = GenerousEmbed()
    server = grpc.server(futures.ThreadPoolExecutor(2), options=_OPTIONS)
    add_EmbedServiceServicer_to_server(servicer, server)
    add_EmbedAdminServiceServicer_to_server(servicer, server)
    place = SocketPlace.made(tmp_path_factory.mktemp("embed") / "inner" / "s")
    server.add_insecure_port(place.target)
    servicer.address = socket_address(place.path)
    server.start()
    yield servicer
    server.stop(0).wait()


class Crowded:
    """A query service with `PATTERNS` patterns, half of them sealed, one record of each."""

    def __init__(self, directory, embed_address: str) -> None:
        self._directory = directory
        self._embed_address = embed_address

    async def open(self) -> str:
        """Fills it; the address."""
        self._engine = SnapshotEngine(self._directory / "spill", memory_bytes=512 * MIB, threads=2, running=4, waiting=64, timeout_s=300)
        bounds = HotBounds(10 * PATTERNS, 1024 * MIB, 3600)
        self.store = Store(self._directory, self._engine, bounds, CollectorRegistry())
        await self.store.open()
        await self.store.open_log(LOG, 0)
        await self._fill(0, PATTERNS // 2)
        await self.store.seal()
        await self._fill(PATTERNS // 2, PATTERNS)
        await self.store.templates.settled()
        return await self._serve()

    async def _fill(self, start: int, end: int) -> None:
        for first in range(start, end, _FRAME_RECORDS):
            frame = await asyncio.to_thread(_frame, first, min(first + _FRAME_RECORDS, end))
            await self.store.deliver(LOG, [frame], PATTERNS)

    async def _serve(self) -> str:
        self._embed = EmbedClient(Peer(self._embed_address))
        bounds = SqlBounds(running=2, waiting=4, memory_bytes=512 * MIB, threads=2, result_bytes=64 * MIB)
        self._sql = SqlRunner(self.store, self._directory / "segments", bounds, MeaningClient(self._embed))
        await self._sql.open()
        self._front = Server("127.0.0.1:0", (), CollectorRegistry())
        searcher, status = Searcher(self.store, self._embed), Status(self.store, QuerySettings())
        servicer = QueryServicer(self.store, self._sql, status, searcher, MeaningClient(self._embed))
        add_QueryServiceServicer_to_server(servicer, self._front.grpc)
        add_QueryAdminServiceServicer_to_server(servicer, self._front.grpc)  # on one server here: both planes are of one loop
        await self._front.start()
        return self._front.address

    async def close(self) -> None:
        """Stops serving."""
        await self._front.stop(0)
        await self._sql.close()
        await self._embed.close()
        await self.store.close()
        self._engine.close()


def _frame(start: int, end: int) -> DeliveredFrame:
    payload = LogBatch(records=[_record(number) for number in range(start, end)]).SerializeToString()
    return DeliveredFrame(first_offset=start, record_count=end - start, arrival_time_unix_nano=BEGIN + start, payload=payload)


def _record(number: int) -> LogRecord:
    """A pattern of its own, and a template of its own: two words differ from any other one's."""
    message = f"job {_word(number)} was handed over to {_word(7 * number + 3)} by the scheduler"
    return LogRecord(
        time_unix_nano=BEGIN + number * 1_000_000, severity=9, service=f"svc{number % 50}", environment="prod", message=message
    )


def _word(number: int) -> str:
    """A word without digits, which are masked."""
    letters = "bcdfghjklmnpqrstvwxz"
    digits = []
    while number or not digits:
        number, digit = divmod(number, len(letters))
        digits.append(letters[digit])
    return "q" + "".join(digits)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, embed):
    """What stands for the service: its stub, and what watches its loop."""
    thread = LoopThread()
    service = Crowded(tmp_path_factory.mktemp("crowded"), embed.address)
    with watched(thread.loop) as watch:
        address = thread.run(service.open())
        embed.ids = list(itertools.chain(*(table.column("pattern_id").to_pylist() for table in service.store.view.patterns)))
        assert len(set(embed.ids)) == PATTERNS
        # A full collection takes 90 ms over these patterns' templates and the test process, and falls into any callback.
        gc.collect()
        gc.freeze()
        with grpc.insecure_channel(address, options=_OPTIONS) as channel:
            yield together(channel, QueryServiceStub, QueryAdminServiceStub), watch
        gc.unfreeze()
        thread.run(service.close())
    thread.close()


TEXTS = [f"text {number}" for number in range(limits.MAX_SQL_TEXTS)]

REQUESTS = {
    "AggregateLogs-each-pattern": pb.AggregateLogsRequest(
        filter=ABOUT_ALL, group_by=[pb.FieldRef(field=pb.LOG_FIELD_PATTERN)], limit=70_000
    ),
    "AggregateLogs-many-texts": pb.AggregateLogsRequest(
        filter=ABOUT_ALL,
        group_by=[pb.FieldRef(about=text) for text in TEXTS[: limits.MAX_GROUP_BY]],
        metrics=[
            pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT, of=pb.FieldRef(about=text)) for text in TEXTS[limits.MAX_GROUP_BY + 1 :]
        ],
    ),
    "ExecuteSql-each-pattern": pb.ExecuteSqlRequest(query="select * from patterns", max_rows=PATTERNS),
    "ExecuteSql-many-texts": pb.ExecuteSqlRequest(
        query=f"select {', '.join(f'''sum(meaning(pattern_id, '{text}'))''' for text in TEXTS)} from patterns"
    ),
    "SearchLogs-each-pattern": pb.SearchLogsRequest(
        text="handed over", filter=EVERY_RECORD, page_size=limits.MAX_SEARCH_RESULTS, samples_per_pattern=limits.MAX_SAMPLES_PER_PATTERN
    ),
    "SearchLogs-flat": pb.SearchLogsRequest(text="handed over", flat=True, page_size=limits.MAX_SEARCH_RESULTS),
    "SearchLogs-by-words": pb.SearchLogsRequest(
        text="which scheduler was it that jobs were handed to", mode=pb.SEARCH_MODE_KEYWORD, page_size=limits.MAX_SEARCH_RESULTS
    ),
    "SearchLogs-about": pb.SearchLogsRequest(
        text="which scheduler was it that jobs were handed to", filter=ABOUT_ALL, page_size=limits.MAX_SEARCH_RESULTS
    ),
    "SearchLogs-like": pb.SearchLogsRequest(like=Position(log_id=LOG, offset=5), filter=EVERY_RECORD, page_size=limits.MAX_SEARCH_RESULTS),
    "ListPatterns": pb.ListPatternsRequest(
        filter=ABOUT_ALL,
        order=pb.PATTERN_ORDER_GROWTH,
        page_size=limits.MAX_PAGE_PATTERNS,
        sparkline_buckets=limits.MAX_SPARKLINE_PARTS,
    ),
    "GetPattern": pb.GetPatternRequest(filter=ABOUT_ALL, buckets=limits.MAX_DETAIL_PARTS, samples=limits.MAX_SAMPLES_PER_PATTERN),
    "ComparePatterns": pb.ComparePatternsRequest(
        filter=ABOUT_ALL, baseline=LogFilter(about="something else"), page_size=limits.MAX_PAGE_PATTERNS, unit=pb.PATTERN_UNIT_TEMPLATE
    ),
    "GetLogContext": pb.GetLogContextRequest(
        position=Position(log_id=LOG, offset=PATTERNS // 2),
        before=limits.MAX_CONTEXT_RECORDS,
        after=limits.MAX_CONTEXT_RECORDS,
        all_services=True,
    ),
    "ListLogs": pb.ListLogsRequest(filter=ABOUT_ALL, page_size=limits.MAX_LIST_RECORDS),
    "ListFields": pb.ListFieldsRequest(filter=ABOUT_ALL, page_size=limits.MAX_LIST_FIELDS),
    "ListFieldValues": pb.ListFieldValuesRequest(
        filter=ABOUT_ALL,
        fields=[pb.FieldRef(field=pb.LOG_FIELD_PATTERN)] * limits.MAX_VALUE_FIELDS,
        values_per_field=limits.MAX_FIELD_VALUES,
    ),
    "GetQueryStatus": pb.GetQueryStatusRequest(),
    "DigestStore": admin_pb2.DigestStoreRequest(log_id=LOG, first_offset=0, end_offset_exclusive=PATTERNS, step=PATTERNS // 4_000),
    "VerifyStore": admin_pb2.VerifyStoreRequest(),
    "ExportLogs": pb.ExportLogsRequest(filter=ABOUT_ALL),
    "TailLogs": pb.TailLogsRequest(backlog=limits.MAX_BACKLOG_RECORDS, filter=EVERY_RECORD),
    "WatchPatterns": pb.WatchPatternsRequest(start_positions=[Position(log_id=LOG, offset=0)]),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_rpc_keeps_the_loop_for_long(crowded, embed, name):
    stub, watch = crowded
    request = REQUESTS[name]
    if name == "GetPattern":
        request.pattern_id = embed.ids[0]
    call = getattr(stub, name.partition("-")[0])
    watch.clear()
    _asked(call, request)
    assert watch.cpu_s < MOST_CPU_S, watch.what


def _asked(call, request) -> None:
    """Calls, and reads what comes: everything, or of an endless answer a few messages."""
    answer = call(request, timeout=120)
    if not isinstance(answer, grpc.Call):
        return
    for _ in itertools.islice(answer, 8) if isinstance(request, pb.TailLogsRequest | pb.WatchPatternsRequest) else answer:
        pass
    answer.cancel()
