"""The asyncio client."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from treering.channels import Endpoints, connect_async
from treering.errors import from_call
from treering.inner.whole_requests import whole_requests
from treering.limits import DEFAULT_TIMEOUT_S, PAGE_SIZE
from treering.methods import Methods
from treering.rpc import Rpc
from treering.upload_options import UploaderOptions
from treering.uploader_aio import AsyncUploader
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.query_pb2_grpc import QueryServiceStub


class AsyncClient(Methods):
    """Talks to Treering from asyncio. Belongs to the event loop that it is made in; everything else is as in `Client`, arguments too.

    Example:
        >>> async with AsyncClient() as client:
        ...     async for record in client.tail(filter=log_filter(min_severity="error")):
        ...         print(record.record.message)
    """

    def __init__(
        self, endpoints: Endpoints | None = None, *, timeout: float = DEFAULT_TIMEOUT_S, channel: grpc.aio.Channel | None = None
    ) -> None:
        self.endpoints = endpoints or Endpoints.from_environment()
        self.timeout = timeout
        # A channel that was given belongs to whoever gave it, and is not closed here.
        self._own = [] if channel else [connect_async(address) for address in self.endpoints.all()]
        ingest, embed, query = [channel] * 3 if channel else self._own
        self._ingest_channel = ingest
        # For when a connection is up and dead. A channel that was given cannot be made again here.
        self._reconnect = None if channel else lambda: connect_async(self.endpoints.ingest)
        self._stubs = {
            "ingest": IngestServiceStub(whole_requests(ingest)),
            "embed": EmbedServiceStub(whole_requests(embed)),
            "query": QueryServiceStub(whole_requests(query)),
        }

    async def call(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - the call's deadline, kept by gRPC
        """As `BlockingCaller.call`."""
        try:
            return await getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        except grpc.aio.AioRpcError as error:
            raise from_call(error, getattr(self.endpoints, rpc.service)) from error

    async def stream(self, rpc: Rpc, request: Any, timeout: float | None) -> AsyncIterator[Any]:  # noqa: ASYNC109 - as above
        """As `BlockingCaller.stream`."""
        call = getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        try:
            async for response in call:
                for part in rpc.parts(response):
                    yield part
        except grpc.aio.AioRpcError as error:
            raise from_call(error, getattr(self.endpoints, rpc.service)) from error
        # Whoever leaves the iteration would leave a call open that the service goes on answering.
        finally:
            call.cancel()

    async def pages(self, rpc: Rpc, request: Any, timeout: float | None) -> AsyncIterator[Any]:  # noqa: ASYNC109 - as above
        """As `BlockingCaller.pages`."""
        if not request.HasField("page_size"):
            request.page_size = PAGE_SIZE
        while True:
            page = await self.call(rpc, request, timeout)
            for part in rpc.parts(page):
                yield part
            if not rpc.turn(request, page):
                return

    async def collect(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - as above
        """As `BlockingCaller.collect`."""
        return rpc.response([part async for part in self.stream(rpc, request, timeout)])

    def uploader(self, producer_id: str = "", **options: Unpack[UploaderOptions]) -> AsyncUploader:
        """A batching uploader that resumes; see `Uploader` for its arguments. Use it as an asynchronous context manager."""
        return AsyncUploader(self._ingest_channel, self.endpoints.ingest, producer_id, reconnect=self._reconnect, **options)

    async def close(self) -> None:
        """Closes the connections; running calls are cancelled."""
        # One after the other: closing cancels the calls of a channel, and waits for their ends.
        for channel in self._own:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
