"""The three services as the command line meets them: answers that are known, over real gRPC."""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Never, TypeAlias

import grpc
import pyarrow as pa
import pytest
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from treering.inner import SocketPlace, socket_address
from treering.v1 import admin_pb2, admin_pb2_grpc, embed_pb2, embed_pb2_grpc, ingest_pb2, ingest_pb2_grpc, query_pb2, query_pb2_grpc
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogRecord, Position, StoredRecord
from treering_cli.app import app
from treering_runtime.errors import ServiceError
from treering_runtime.statuses import to_status

LOG_ID = 0xABC
STORED = StoredRecord(
    position=Position(log_id=LOG_ID, offset=7),
    record=LogRecord(
        time_unix_nano=1_500_000_000_123_456_789, severity=17, service="s", message="evil \x1b[31m\nline", attributes={"k": "v"}
    ),
    pattern_id=2**63 + 1,
)


COST = query_pb2.QueryCost(rows_read=1_000, bytes_read=2_000, segments_read=1, segments_skipped=2, wait_ms=3, work_ms=4)


class Ingest(ingest_pb2_grpc.IngestServiceServicer):
    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.resource: dict[str, str] = {}

    def GetIngestStatus(
        self, request: ingest_pb2.GetIngestStatusRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.GetIngestStatusResponse:
        sink = ingest_pb2.SinkStatus(name="query", last_error="refused", next_offset=5)
        return ingest_pb2.GetIngestStatusResponse(log_id=LOG_ID, sinks=[sink])

    def UploadLogs(
        self, request_iterator: Iterator[ingest_pb2.UploadLogsRequest], context: grpc.ServicerContext
    ) -> ingest_pb2.UploadLogsResponse:
        count = sum(len(each.batch.records) for each in request_iterator if not self.records.extend(each.batch.records))  # type: ignore[misc]
        return ingest_pb2.UploadLogsResponse(accepted_count=count, log_id=LOG_ID, end_offset_exclusive=len(self.records))

    def StreamLogs(
        self, request_iterator: Iterator[ingest_pb2.StreamLogsRequest], context: grpc.ServicerContext
    ) -> Iterator[ingest_pb2.StreamLogsResponse]:
        for request in request_iterator:
            good = [record for record in request.batch.records if record.message]
            self.records += good
            self.resource = dict(request.batch.resource)
            bad = [place for place, record in enumerate(request.batch.records) if not record.message]
            reason = ingest_pb2.REJECTION_REASON_MESSAGE_EMPTY
            yield ingest_pb2.StreamLogsResponse(
                last_durable_sequence=request.sequence,
                accepted_count=len(good),
                rejection_counts=[ingest_pb2.RejectionCount(reason=reason, count=len(bad))] if bad else [],
                rejected_records=[ingest_pb2.RejectedRecord(index=place, reason=reason) for place in bad],
                log_id=LOG_ID,
                end_offset_exclusive=len(self.records),
            )


class Embed(embed_pb2_grpc.EmbedServiceServicer, admin_pb2_grpc.EmbedAdminServiceServicer):
    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self.asked: list[str] = []
        self.cancelled: list[int | None] = []
        self.course: list[embed_pb2.ReindexStatus | grpc.StatusCode | None] = []
        """How a reindex stands, asked for again and again: a status, None while the index is not open, or a gRPC code to fail with."""

    def GetEmbedStatus(self, request: embed_pb2.GetEmbedStatusRequest, context: grpc.ServicerContext) -> embed_pb2.GetEmbedStatusResponse:
        seen = [Position(log_id=LOG_ID, offset=len(self._ingest.records))]
        now = self.course.pop(0) if self.course else embed_pb2.ReindexStatus(phase=embed_pb2.REINDEX_PHASE_IDLE)
        if isinstance(now, grpc.StatusCode):
            context.abort(now, "")
        return embed_pb2.GetEmbedStatusResponse(seen=seen, index_ready=now is not None, reindex=now)

    def StartReindex(self, request: admin_pb2.StartReindexRequest, context: grpc.ServicerContext) -> admin_pb2.StartReindexResponse:
        self.asked.append(request.model)
        if request.model == "nonsense":
            _refuse(context, ErrorReason.ERROR_REASON_INVALID_FIELD, "model: there is no model nonsense", field="model")
        if request.model == "late":
            _refuse(context, ErrorReason.ERROR_REASON_REINDEX_RUNNING, "a reindex runs: 3 of 10 patterns")
        return admin_pb2.StartReindexResponse(
            reindex=embed_pb2.ReindexStatus(
                phase=embed_pb2.REINDEX_PHASE_PREPARING,
                model=request.model or "in use",
                total_count=10,
                reindex_id=3,
                request_id=request.request_id,
            )
        )

    def CancelReindex(self, request: admin_pb2.CancelReindexRequest, context: grpc.ServicerContext) -> admin_pb2.CancelReindexResponse:
        self.cancelled.append(request.reindex_id if request.HasField("reindex_id") else None)
        if not self.course:
            _refuse(context, ErrorReason.ERROR_REASON_NOT_FOUND, "no reindex runs", field="reindex_id")
        return admin_pb2.CancelReindexResponse(reindex=self.course[0])


class Query(query_pb2_grpc.QueryServiceServicer):
    problem = ""
    exported: Sequence[query_pb2.ExportLogsResponse] = ()
    """The parts of an export."""
    embed: Embed
    address: str
    inner: str

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self.requests: list[Any] = []
        self.mistake: dict[str, str] = {}
        self.polls = 0
        self.faults: list[grpc.StatusCode] = []
        """gRPC codes that the next questions about its state fail with."""

    def GetQueryStatus(self, request: query_pb2.GetQueryStatusRequest, context: grpc.ServicerContext) -> query_pb2.GetQueryStatusResponse:
        self.polls += 1
        if self.faults:
            context.abort(self.faults.pop(0), "")
        seen = len(self._ingest.records) if self.polls > 2 else 0
        return query_pb2.GetQueryStatusResponse(seen=[Position(log_id=LOG_ID, offset=seen)], problem=self.problem)

    def ExportLogs(self, request: query_pb2.ExportLogsRequest, context: grpc.ServicerContext) -> Iterator[query_pb2.ExportLogsResponse]:
        yield from self.exported

    def SearchLogs(self, request: query_pb2.SearchLogsRequest, context: grpc.ServicerContext) -> query_pb2.SearchLogsResponse:
        self.requests.append(request)
        result = query_pb2.SearchResult(
            score=0.5,
            why=[query_pb2.SEARCH_REASON_MEANING],
            pattern_id=2**63 + 1,
            pattern="evil <*>",
            service="s",
            count=3,
            records=[STORED],
        )
        return query_pb2.SearchLogsResponse(results=[result], degraded_because="embed does not answer", cost=COST)

    def ExecuteSql(self, request: query_pb2.ExecuteSqlRequest, context: grpc.ServicerContext) -> Iterator[query_pb2.ExecuteSqlResponse]:
        if request.query == "selec":
            _refuse(context, ErrorReason.ERROR_REASON_SQL_ERROR, "no such word")
        if self.mistake:
            _refuse(context, ErrorReason.ERROR_REASON_SQL_ERROR, "Parser Error: syntax error", **self.mistake)
        columns = {
            "t": pa.array([1_500_000_000_123_456_789], pa.timestamp("ns")),
            "id": pa.array([2**63 + 1], pa.uint64()),
            "b": pa.array([b"\x01\xff"]),
            "m": pa.array([[("k", "v\x9b")]], pa.map_(pa.string(), pa.string())),
            "n": pa.array([None], pa.int64()),
        }
        batch = pa.record_batch(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield query_pb2.ExecuteSqlResponse(arrow_ipc=sink.getvalue().to_pybytes(), summary=query_pb2.SqlSummary(row_count=1, cost=COST))

    def AggregateLogs(self, request: query_pb2.AggregateLogsRequest, context: grpc.ServicerContext) -> query_pb2.AggregateLogsResponse:
        self.requests.append(request)
        groups = [query_pb2.AggregateGroup(value="17"), query_pb2.AggregateGroup()]
        rows = [
            query_pb2.AggregateRow(
                groups=groups[: len(request.group_by)], values=[query_pb2.MetricValue(value=count)] * len(request.metrics)
            )
            for count in (10, 2.5)
        ]
        return query_pb2.AggregateLogsResponse(rows=rows, cost=COST)

    def ListPatterns(self, request: query_pb2.ListPatternsRequest, context: grpc.ServicerContext) -> query_pb2.ListPatternsResponse:
        pattern = query_pb2.Pattern(pattern_id=2**63 + 1, service="s", text="evil <*>", count=3, count_by_severity={17: 3})
        return query_pb2.ListPatternsResponse(patterns=[pattern], total_count=1, cost=COST)

    def ComparePatterns(
        self, request: query_pb2.ComparePatternsRequest, context: grpc.ServicerContext
    ) -> query_pb2.ComparePatternsResponse:
        self.requests.append(request)
        pattern = query_pb2.Pattern(pattern_id=2**63 + 1, service="s", text="evil \x1b[31m <*>", count=3, count_by_severity={17: 3})
        new = query_pb2.PatternDifference(pattern=pattern, log_likelihood_ratio=12.345, change=query_pb2.PATTERN_CHANGE_NEW)
        differences = [new] if request.filter.services != ["quiet"] else []
        return query_pb2.ComparePatternsResponse(
            differences=differences, total_count=300, baseline_total_count=0, difference_count=len(differences), new_count=len(differences)
        )

    def GetLogContext(self, request: query_pb2.GetLogContextRequest, context: grpc.ServicerContext) -> query_pb2.GetLogContextResponse:
        self.requests.append(request)
        return query_pb2.GetLogContextResponse(records=[STORED], index=0, cost=COST)

    def ListLogs(self, request: query_pb2.ListLogsRequest, context: grpc.ServicerContext) -> query_pb2.ListLogsResponse:
        self.requests.append(request)
        first = int(request.page_token or 0)
        shown = list(range(first, min(first + request.page_size, 2_500)))
        records = [StoredRecord(position=Position(log_id=LOG_ID, offset=number), record=STORED.record) for number in shown]
        if request.max_message_bytes:
            for record in records:
                record.whole_message_bytes = 5_000
        token = str(shown[-1] + 1) if shown and shown[-1] < 2_499 else ""
        return query_pb2.ListLogsResponse(records=records, next_page_token=token, cost=COST)

    def ListFields(self, request: query_pb2.ListFieldsRequest, context: grpc.ServicerContext) -> query_pb2.ListFieldsResponse:
        self.requests.append(request)
        kinds = [query_pb2.FieldKindCount(kind=2, count=3), query_pb2.FieldKindCount(kind=1, count=1)]
        fields = [
            query_pb2.FieldSummary(field=query_pb2.FieldRef(field=1), record_count=8, kinds=[query_pb2.FieldKindCount(kind=1, count=8)]),
            query_pb2.FieldSummary(field=query_pb2.FieldRef(field=7)),
            query_pb2.FieldSummary(field=query_pb2.FieldRef(attribute="status"), record_count=4, kinds=kinds),
            query_pb2.FieldSummary(field=query_pb2.FieldRef(attribute="service"), record_count=2, kinds=kinds[1:]),
        ]
        return query_pb2.ListFieldsResponse(fields=fields, total_count=4, record_count=8, cost=COST)

    def ListFieldValues(
        self, request: query_pb2.ListFieldValuesRequest, context: grpc.ServicerContext
    ) -> query_pb2.ListFieldValuesResponse:
        self.requests.append(request)
        values = [query_pb2.FieldValue(value="17", count=5), query_pb2.FieldValue(value="", count=2)]
        lists = [
            query_pb2.FieldValues(
                field=ref,
                values=values[: 1 + index],
                distinct_count=3,
                record_count=9,
                missing_count=index,
                scanned_back_to_unix_nano=10**18,
            )
            for index, ref in enumerate(request.fields)
        ]
        return query_pb2.ListFieldValuesResponse(fields=lists, degraded_because="a hole", cost=COST)

    def TailLogs(self, request: query_pb2.TailLogsRequest, context: grpc.ServicerContext) -> Iterator[query_pb2.TailLogsResponse]:
        self.requests.append(request)
        yield query_pb2.TailLogsResponse(records=[STORED])


def _refuse(context: grpc.ServicerContext, reason: ErrorReason.ValueType, message: str, **metadata: str) -> Never:
    context.abort_with_status(rpc_status.to_status(to_status(ServiceError(reason, message, metadata=metadata))))


@pytest.fixture
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    ingest = Ingest()
    query = Query(ingest)
    query.embed = Embed(ingest)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(ingest, server)
    embed_pb2_grpc.add_EmbedServiceServicer_to_server(query.embed, server)
    admin_pb2_grpc.add_EmbedAdminServiceServicer_to_server(query.embed, server)
    query_pb2_grpc.add_QueryServiceServicer_to_server(query, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    place = SocketPlace.made(tmp_path_factory.mktemp("services") / "inner" / "s")
    server.add_insecure_port(place.target)
    server.start()
    query.address, query.inner = address, socket_address(place.path)
    yield query
    server.stop(0).wait()


Run: TypeAlias = Callable[..., Result]
"""Runs a command: its arguments, what it reads from standard input."""


@pytest.fixture
def run(services: Query, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("INGEST", "EMBED", "QUERY"):
        monkeypatch.setenv(f"TREERING_{name}", services.address)
        monkeypatch.setenv(f"TREERING_INNER_{name}", services.inner)
    monkeypatch.chdir(tmp_path)

    def invoke(*args: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)

    return invoke
