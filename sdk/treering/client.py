"""The blocking client."""

from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from treering.blocking import BlockingCaller
from treering.channels import Endpoints, close_all, connect
from treering.limits import DEFAULT_TIMEOUT_S
from treering.methods import Methods
from treering.rpc import Service
from treering.upload_options import UploaderOptions
from treering.uploader import Uploader
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.query_pb2_grpc import QueryServiceStub


class Client(Methods, BlockingCaller):
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

    def __init__(
        self, endpoints: Endpoints | None = None, *, timeout: float = DEFAULT_TIMEOUT_S, channel: grpc.Channel | None = None
    ) -> None:
        self.endpoints = endpoints or Endpoints.from_environment()
        self.timeout = timeout
        # A channel that was given belongs to whoever gave it: it is not closed here, and no other is made beside it.
        self._own = [] if channel else [connect(address) for address in self.endpoints.all()]
        ingest, embed, query = [channel] * 3 if channel else self._own
        self._ingest_channel = ingest
        # For when a connection is up and dead. A channel that was given cannot be made again here.
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

    def close(self) -> None:
        """Closes the connections; running calls fail."""
        close_all(self._own)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
