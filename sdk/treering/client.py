"""The blocking client."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from treering import calls
from treering.blocking import BlockingCaller
from treering.channels import Endpoints, connect
from treering.limits import DEFAULT_TIMEOUT_S
from treering.results import SqlResult
from treering.rpc import Service, Streaming, Unary
from treering.upload_state import UploaderOptions
from treering.uploader import Uploader
from treering.v1 import embed_pb2, ingest_pb2, query_pb2
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogFilter, Position, StoredRecord
from treering.v1.query_pb2_grpc import QueryServiceStub


class Client(BlockingCaller):
    """Talks to Treering, blocking. Safe to share between threads.

    Connections are made with the first call of each service, so a program that only uploads needs no more than `ingest`.

    Args:
        endpoints: Where the services answer; None reads TREERING_INGEST, TREERING_EMBED and TREERING_QUERY, else the default ports.
        timeout: The deadline of calls that name none, seconds.
        channel: Use this channel for all services instead of connecting; `close` leaves it open.

    Example:
        >>> with Client() as client:
        ...     with client.uploader() as upload:
        ...         upload.send(LogRecord(service="checkout", message="payment 4711 timed out"))
        ...     found = client.search_logs("customers cannot pay", min_positions=upload.result().positions)
    """

    upload_logs = Unary(calls.upload_logs, "ingest", "UploadLogs", ingest_pb2.UploadLogsResponse, endless=True)
    stream_logs = Streaming(calls.stream_logs, "ingest", "StreamLogs", ingest_pb2.StreamLogsResponse, endless=True)
    get_ingest_status = Unary(calls.get_ingest_status, "ingest", "GetIngestStatus", ingest_pb2.GetIngestStatusResponse)

    search_patterns = Unary(calls.search_patterns, "embed", "SearchPatterns", embed_pb2.SearchPatternsResponse)
    embed_texts = Unary(calls.embed_texts, "embed", "EmbedTexts", embed_pb2.EmbedTextsResponse)
    get_embed_status = Unary(calls.get_embed_status, "embed", "GetEmbedStatus", embed_pb2.GetEmbedStatusResponse)

    aggregate_logs = Unary(calls.aggregate_logs, "query", "AggregateLogs", query_pb2.AggregateLogsResponse)
    execute_sql = Streaming(calls.execute_sql, "query", "ExecuteSql", query_pb2.ExecuteSqlResponse)
    search_logs = Unary(calls.search_logs, "query", "SearchLogs", query_pb2.SearchLogsResponse)
    list_patterns = Unary(calls.list_patterns, "query", "ListPatterns", query_pb2.ListPatternsResponse)
    get_pattern = Unary(calls.get_pattern, "query", "GetPattern", query_pb2.GetPatternResponse)
    compare_patterns = Unary(calls.compare_patterns, "query", "ComparePatterns", query_pb2.ComparePatternsResponse)
    watch_patterns = Streaming(calls.watch_patterns, "query", "WatchPatterns", query_pb2.WatchPatternsResponse, endless=True)
    tail_logs = Streaming(calls.tail_logs, "query", "TailLogs", query_pb2.TailLogsResponse, endless=True)
    get_log_context = Unary(calls.get_log_context, "query", "GetLogContext", query_pb2.GetLogContextResponse)
    get_query_status = Unary(calls.get_query_status, "query", "GetQueryStatus", query_pb2.GetQueryStatusResponse)
    export_logs = Streaming(calls.export_logs, "query", "ExportLogs", query_pb2.ExportLogsResponse, endless=True)

    def __init__(
        self, endpoints: Endpoints | None = None, *, timeout: float = DEFAULT_TIMEOUT_S, channel: grpc.Channel | None = None
    ) -> None:
        self.endpoints = endpoints or Endpoints.from_environment()
        self.timeout = timeout
        self._own = [] if channel else [connect(address) for address in self.endpoints.all()]
        ingest, embed, query = [channel] * 3 if channel else self._own
        self._ingest_channel = ingest
        self._reconnect = None if channel else lambda: connect(self.endpoints.ingest)
        self._stubs = {"ingest": IngestServiceStub(ingest), "embed": EmbedServiceStub(embed), "query": QueryServiceStub(query)}

    def _stub(self, service: Service) -> Any:
        return self._stubs[service]

    def _address(self, service: Service) -> str:
        address: str = getattr(self.endpoints, service)
        return address

    def uploader(self, producer_id: str = "", **options: Unpack[UploaderOptions]) -> Uploader:
        """A batching uploader that resumes; see `Uploader` for its options. Use it as a context manager."""
        return Uploader(self._ingest_channel, self.endpoints.ingest, producer_id, reconnect=self._reconnect, **options)

    def sql(
        self,
        query: str,
        *,
        max_rows: int = 0,
        timeout_ms: int = 0,
        min_positions: tuple[Position, ...] = (),
        timeout: float | None = None,
    ) -> SqlResult:
        """Runs one read-only SELECT and collects its result; arguments and errors are those of `execute_sql`."""
        return SqlResult(self.execute_sql(query, max_rows=max_rows, timeout_ms=timeout_ms, min_positions=min_positions, timeout=timeout))

    def patterns(
        self,
        *,
        filter: LogFilter | None = None,  # noqa: A002 - the contract's name
        order: calls.PatternOrder = "count",
        unit: calls.PatternUnit = "pattern",
        sparkline_buckets: int = 0,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[query_pb2.Pattern]:
        """Every pattern or template that the filter selects, page after page; `timeout` is for each page. See `list_patterns`."""
        token = ""
        while True:
            page = self.list_patterns(
                filter=filter,
                order=order,
                unit=unit,
                sparkline_buckets=sparkline_buckets,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            yield from page.patterns
            token = page.next_page_token
            if not token:
                return

    def tail(
        self,
        *,
        filter: LogFilter | None = None,  # noqa: A002 - the contract's name
        backlog: int = 0,
        start: tuple[Position, ...] = (),
    ) -> Iterator[StoredRecord]:
        """Records as they become visible, one by one, without end. Raises when the connection is lost; `tail_logs` says how to resume."""
        for response in self.tail_logs(filter=filter, backlog=backlog, start=start):
            yield from response.records

    def close(self) -> None:
        """Closes the connections; running calls fail."""
        for channel in self._own:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
