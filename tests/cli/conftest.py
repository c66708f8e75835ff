"""The three services as the command line meets them: answers that are known, over real gRPC."""

from concurrent import futures

import grpc
import pyarrow as pa
import pytest
from grpc_status import rpc_status
from typer.testing import CliRunner

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


class Ingest(ingest_pb2_grpc.IngestServiceServicer):
    def __init__(self):
        self.records = []

    def GetIngestStatus(self, request, context):
        sink = ingest_pb2.SinkStatus(name="query", last_error="refused", next_offset=5)
        return ingest_pb2.GetIngestStatusResponse(log_id=LOG_ID, sinks=[sink])

    def UploadLogs(self, request_iterator, context):
        count = sum(len(request.records) for request in request_iterator if not self.records.extend(request.records))
        return ingest_pb2.UploadLogsResponse(accepted_count=count, log_id=LOG_ID, end_offset_exclusive=len(self.records))

    def StreamLogs(self, request_iterator, context):
        for request in request_iterator:
            good = [record for record in request.records if record.message]
            self.records += good
            bad = [place for place, record in enumerate(request.records) if not record.message]
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
    def __init__(self, ingest):
        self._ingest = ingest
        self.asked = []
        self.course = []
        """How a reindex stands, asked for again and again: a status, None while the index is not open, or a gRPC code to fail with."""

    def GetEmbedStatus(self, request, context):
        seen = [Position(log_id=LOG_ID, offset=len(self._ingest.records))]
        now = self.course.pop(0) if self.course else embed_pb2.ReindexStatus(phase=embed_pb2.REINDEX_PHASE_IDLE)
        if isinstance(now, grpc.StatusCode):
            context.abort(now, "")
        return embed_pb2.GetEmbedStatusResponse(seen=seen, index_ready=now is not None, reindex=now)

    def StartReindex(self, request, context):
        self.asked.append(request.model)
        if request.model == "nonsense":
            _refuse(context, ErrorReason.ERROR_REASON_INVALID_FIELD, "model: there is no model nonsense", field="model")
        if request.model == "late":
            _refuse(context, ErrorReason.ERROR_REASON_REINDEX_RUNNING, "a reindex runs: 3 of 10 patterns")
        return admin_pb2.StartReindexResponse(
            reindex=embed_pb2.ReindexStatus(phase=embed_pb2.REINDEX_PHASE_PREPARING, model=request.model or "in use", total_count=10)
        )


class Query(query_pb2_grpc.QueryServiceServicer):
    problem = ""
    exported = ()
    """The parts of an export."""

    def __init__(self, ingest):
        self._ingest = ingest
        self.requests = []
        self.mistake = {}
        self.polls = 0
        self.faults = []
        """gRPC codes that the next questions about its state fail with."""

    def GetQueryStatus(self, request, context):
        self.polls += 1
        if self.faults:
            context.abort(self.faults.pop(0), "")
        seen = len(self._ingest.records) if self.polls > 2 else 0
        return query_pb2.GetQueryStatusResponse(seen=[Position(log_id=LOG_ID, offset=seen)], problem=self.problem)

    def ExportLogs(self, request, context):
        yield from self.exported

    def SearchLogs(self, request, context):
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
        return query_pb2.SearchLogsResponse(results=[result], degraded_because="embed does not answer")

    def ExecuteSql(self, request, context):
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
        yield query_pb2.ExecuteSqlResponse(arrow_ipc=sink.getvalue().to_pybytes(), summary=query_pb2.SqlSummary(row_count=1))

    def AggregateLogs(self, request, context):
        self.requests.append(request)
        groups = [query_pb2.AggregateGroup(value="17"), query_pb2.AggregateGroup()]
        rows = [
            query_pb2.AggregateRow(
                groups=groups[: len(request.group_by)], values=[query_pb2.MetricValue(value=count)] * len(request.metrics)
            )
            for count in (10, 2.5)
        ]
        return query_pb2.AggregateLogsResponse(rows=rows)

    def ListPatterns(self, request, context):
        pattern = query_pb2.Pattern(pattern_id=2**63 + 1, service="s", text="evil <*>", count=3, count_by_severity={17: 3})
        return query_pb2.ListPatternsResponse(patterns=[pattern], total_count=1)

    def ComparePatterns(self, request, context):
        self.requests.append(request)
        pattern = query_pb2.Pattern(pattern_id=2**63 + 1, service="s", text="evil \x1b[31m <*>", count=3, count_by_severity={17: 3})
        new = query_pb2.PatternDifference(pattern=pattern, log_likelihood_ratio=12.345, change=query_pb2.PATTERN_CHANGE_NEW)
        differences = [new] if request.filter.services != ["quiet"] else []
        return query_pb2.ComparePatternsResponse(
            differences=differences, total_count=300, baseline_total_count=0, difference_count=len(differences), new_count=len(differences)
        )

    def GetLogContext(self, request, context):
        self.requests.append(request)
        return query_pb2.GetLogContextResponse(records=[STORED], index=0)

    def TailLogs(self, request, context):
        self.requests.append(request)
        yield query_pb2.TailLogsResponse(records=[STORED])


def _refuse(context, reason, message, **metadata):
    context.abort_with_status(rpc_status.to_status(to_status(ServiceError(reason, message, metadata=metadata))))


@pytest.fixture
def services(tmp_path_factory):
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


@pytest.fixture
def run(services, monkeypatch, tmp_path):
    for name in ("INGEST", "EMBED", "QUERY"):
        monkeypatch.setenv(f"TREERING_{name}", services.address)
        monkeypatch.setenv(f"TREERING_INNER_{name}", services.inner)
    monkeypatch.chdir(tmp_path)

    def invoke(*args, stdin=None):
        return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)

    return invoke
