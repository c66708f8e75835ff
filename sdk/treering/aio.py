"""The asyncio client."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from treering import calls
from treering.channels import Endpoints, connect_async
from treering.errors import from_call
from treering.limits import DEFAULT_TIMEOUT_S
from treering.results import SqlResult
from treering.rpc import AsyncStreaming, AsyncUnary, Rpc
from treering.upload_state import UploaderOptions
from treering.uploader_aio import AsyncUploader
from treering.v1 import embed_pb2, ingest_pb2, query_pb2
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogFilter, Position, StoredRecord
from treering.v1.query_pb2_grpc import QueryServiceStub


class AsyncClient:
    """Talks to Treering from asyncio. Belongs to the event loop that it is made in; everything else is as in `Client`.

    Args:
        endpoints: Where the services answer; None reads TREERING_INGEST, TREERING_EMBED and TREERING_QUERY, else the default ports.
        timeout: The deadline of calls that name none, seconds.
        channel: Use this channel for all services instead of connecting; `close` leaves it open.

    Example:
        >>> async with AsyncClient() as client:
        ...     async for record in client.tail(filter=log_filter(min_severity="error")):
        ...         print(record.record.message)
    """

    upload_logs = AsyncUnary(calls.upload_logs, "ingest", "UploadLogs", ingest_pb2.UploadLogsResponse, endless=True)
    stream_logs = AsyncStreaming(calls.stream_logs, "ingest", "StreamLogs", ingest_pb2.StreamLogsResponse, endless=True)
    get_ingest_status = AsyncUnary(calls.get_ingest_status, "ingest", "GetIngestStatus", ingest_pb2.GetIngestStatusResponse)

    search_patterns = AsyncUnary(calls.search_patterns, "embed", "SearchPatterns", embed_pb2.SearchPatternsResponse)
    embed_texts = AsyncUnary(calls.embed_texts, "embed", "EmbedTexts", embed_pb2.EmbedTextsResponse)
    get_embed_status = AsyncUnary(calls.get_embed_status, "embed", "GetEmbedStatus", embed_pb2.GetEmbedStatusResponse)

    aggregate_logs = AsyncUnary(calls.aggregate_logs, "query", "AggregateLogs", query_pb2.AggregateLogsResponse)
    execute_sql = AsyncStreaming(calls.execute_sql, "query", "ExecuteSql", query_pb2.ExecuteSqlResponse)
    search_logs = AsyncUnary(calls.search_logs, "query", "SearchLogs", query_pb2.SearchLogsResponse)
    list_patterns = AsyncUnary(calls.list_patterns, "query", "ListPatterns", query_pb2.ListPatternsResponse)
    get_pattern = AsyncUnary(calls.get_pattern, "query", "GetPattern", query_pb2.GetPatternResponse)
    compare_patterns = AsyncUnary(calls.compare_patterns, "query", "ComparePatterns", query_pb2.ComparePatternsResponse)
    watch_patterns = AsyncStreaming(calls.watch_patterns, "query", "WatchPatterns", query_pb2.WatchPatternsResponse, endless=True)
    tail_logs = AsyncStreaming(calls.tail_logs, "query", "TailLogs", query_pb2.TailLogsResponse, endless=True)
    get_log_context = AsyncUnary(calls.get_log_context, "query", "GetLogContext", query_pb2.GetLogContextResponse)
    get_query_status = AsyncUnary(calls.get_query_status, "query", "GetQueryStatus", query_pb2.GetQueryStatusResponse)
    export_logs = AsyncStreaming(calls.export_logs, "query", "ExportLogs", query_pb2.ExportLogsResponse, endless=True)

    def __init__(
        self, endpoints: Endpoints | None = None, *, timeout: float = DEFAULT_TIMEOUT_S, channel: grpc.aio.Channel | None = None
    ) -> None:
        self.endpoints = endpoints or Endpoints.from_environment()
        self.timeout = timeout
        self._own = [] if channel else [connect_async(address) for address in self.endpoints.all()]
        ingest, embed, query = [channel] * 3 if channel else self._own
        self._ingest_channel = ingest
        self._reconnect = None if channel else lambda: connect_async(self.endpoints.ingest)
        self._stubs = {"ingest": IngestServiceStub(ingest), "embed": EmbedServiceStub(embed), "query": QueryServiceStub(query)}

    async def call(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - the call's deadline, kept by gRPC
        """Sends one request and waits for its response; the methods above are the typed way.

        Raises:
            TreeringError: The call failed.
        """
        try:
            return await getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        except grpc.aio.AioRpcError as error:
            raise from_call(error, getattr(self.endpoints, rpc.service)) from error

    async def stream(self, rpc: Rpc, request: Any, timeout: float | None) -> AsyncIterator[Any]:  # noqa: ASYNC109 - as above
        """Sends one request and iterates over its responses; leaving the iteration cancels the call.

        Raises:
            TreeringError: The call failed.
        """
        call = getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_call(error, getattr(self.endpoints, rpc.service)) from error
        finally:
            call.cancel()

    def uploader(self, producer_id: str = "", **options: Unpack[UploaderOptions]) -> AsyncUploader:
        """A batching uploader that resumes; see `Uploader` for its arguments. Use it as an asynchronous context manager."""
        return AsyncUploader(self._ingest_channel, self.endpoints.ingest, producer_id, reconnect=self._reconnect, **options)

    async def sql(
        self,
        query: str,
        *,
        max_rows: int = 0,
        timeout_ms: int = 0,
        min_positions: tuple[Position, ...] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> SqlResult:
        """Runs one read-only SELECT and collects its result; arguments and errors are those of `execute_sql`."""
        parts = self.execute_sql(query, max_rows=max_rows, timeout_ms=timeout_ms, min_positions=min_positions, timeout=timeout)
        return SqlResult([part async for part in parts])

    async def patterns(
        self,
        *,
        filter: LogFilter | None = None,  # noqa: A002 - the contract's name
        order: calls.PatternOrder = "count",
        unit: calls.PatternUnit = "pattern",
        sparkline_buckets: int = 0,
        page_size: int = 1_000,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> AsyncIterator[query_pb2.Pattern]:
        """Every pattern or template that the filter selects, page after page; `timeout` is for each page. See `list_patterns`."""
        token = ""
        while True:
            page = await self.list_patterns(
                filter=filter,
                order=order,
                unit=unit,
                sparkline_buckets=sparkline_buckets,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            for pattern in page.patterns:
                yield pattern
            token = page.next_page_token
            if not token:
                return

    async def tail(
        self,
        *,
        filter: LogFilter | None = None,  # noqa: A002 - the contract's name
        backlog: int = 0,
        start: tuple[Position, ...] = (),
    ) -> AsyncIterator[StoredRecord]:
        """Records as they become visible, one by one, without end. Raises when the connection is lost; `tail_logs` says how to resume."""
        async for response in self.tail_logs(filter=filter, backlog=backlog, start=start):
            for record in response.records:
                yield record

    async def close(self) -> None:
        """Closes the connections; running calls are cancelled."""
        for channel in self._own:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
