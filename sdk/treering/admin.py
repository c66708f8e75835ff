"""The client of the inner plane: for whoever runs the services."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from treering import calls
from treering.blocking import BlockingCaller
from treering.channels import CHANNEL_OPTIONS, close_all
from treering.errors import NoAccessError
from treering.inner import SOCKET, InnerPlaneError
from treering.inner.channels import connect
from treering.inner.tls import TlsFiles
from treering.limits import DEFAULT_TIMEOUT_S
from treering.quarantine import SinkName, SinkQuarantine
from treering.rpc import Service, Streaming, Unary
from treering.v1 import admin_pb2
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub, IngestAdminServiceStub, QueryAdminServiceStub

TLS_VARIABLES = ("TREERING_INNER_CA_FILE", "TREERING_INNER_CERT_FILE", "TREERING_INNER_KEY_FILE")
"""Of the environment: the three files of `TlsFiles`."""

_OPTIONS = dict(CHANNEL_OPTIONS) | {"grpc.min_reconnect_backoff_ms": 5_000}
"""A service that has just started may be busy for longer than the usual 100 ms, and nobody repeats a command that changes something."""

_STUBS: Mapping[Service, type] = {"ingest": IngestAdminServiceStub, "embed": EmbedAdminServiceStub, "query": QueryAdminServiceStub}


@dataclass(frozen=True)
class InnerEndpoints:
    """Where the inner planes of the three services answer: each `unix:PATH`, or host:port with `tls`."""

    ingest: str = f"unix:treering-data/ingest/{SOCKET}"
    embed: str = f"unix:treering-data/embed/{SOCKET}"
    query: str = f"unix:treering-data/query/{SOCKET}"
    tls: TlsFiles | None = None
    """For services on other hosts."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Reads TREERING_INNER_INGEST, _EMBED, _QUERY, and _CA_FILE, _CERT_FILE, _KEY_FILE; what is not set has its default.

        Raises:
            InnerPlaneError: Some of the files are named, and some are not.
        """
        values = os.environ if environment is None else environment
        addresses = {name: found for name in _STUBS if (found := values.get(f"TREERING_INNER_{name.upper()}"))}
        ca, cert, key = (values.get(name, "") for name in TLS_VARIABLES)
        return cls(**addresses, tls=TlsFiles.given((ca, cert, key), TLS_VARIABLES))


class AdminClient(BlockingCaller):
    """Talks to the inner planes of the services, blocking: for who may read their data directories, or has a certificate.

    Connections are made with the first call of each service.

    Args:
        endpoints: Where the services answer; None reads the environment, see `InnerEndpoints.from_environment`.
        timeout: The deadline of calls that name none, seconds.
    """

    digest_log = Unary(calls.digest_log, "ingest", "DigestLog", admin_pb2.DigestLogResponse)

    score_patterns = Streaming(calls.score_patterns, "embed", "ScorePatterns", admin_pb2.ScorePatternsResponse)
    forget_patterns = Unary(calls.forget_patterns, "embed", "ForgetPatterns", admin_pb2.ForgetPatternsResponse)
    cancel_reindex = Unary(calls.cancel_reindex, "embed", "CancelReindex", admin_pb2.CancelReindexResponse)
    start_reindex = Unary(calls.start_reindex, "embed", "StartReindex", admin_pb2.StartReindexResponse)
    digest_index = Streaming(calls.digest_index, "embed", "DigestIndex", admin_pb2.DigestIndexResponse)

    digest_store = Unary(calls.digest_store, "query", "DigestStore", admin_pb2.DigestStoreResponse)
    verify_store = Streaming(calls.verify_store, "query", "VerifyStore", admin_pb2.VerifyStoreResponse, endless=True)

    def __init__(self, endpoints: InnerEndpoints | None = None, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self.endpoints = endpoints or InnerEndpoints.from_environment()
        self.timeout = timeout
        self._channels: dict[Service, grpc.Channel] = {}
        self._credentials: grpc.ChannelCredentials | None = None

    def quarantine(self, sink: SinkName, *, log_id: int = 0, first_offset: int = 0, end_offset_exclusive: int = 0) -> SinkQuarantine:
        """What one sink set aside.

        Args:
            sink: `embed` or `query`.
            log_id: Only records of this log; 0 = of every log.
            first_offset: Only from this offset on.
            end_offset_exclusive: Only below this offset; 0 = to the end.

        Raises:
            NoAccessError: It cannot be connected to.
        """
        selection = {"log_id": log_id, "first_offset": first_offset, "end_offset_exclusive": end_offset_exclusive}
        return SinkQuarantine(self._channel(sink), self._address(sink), selection)

    def _stub(self, service: Service) -> Any:
        return _STUBS[service](self._channel(service))

    def _address(self, service: Service) -> str:
        address: str = getattr(self.endpoints, service)
        return address

    def _channel(self, service: Service) -> grpc.Channel:
        # Connected with the first use: a command that needs one service works while the others are down.
        if service not in self._channels:
            self._channels[service] = self._connect(self._address(service))
        return self._channels[service]

    def _connect(self, address: str) -> grpc.Channel:
        try:
            # Once, with the first connection: it includes a handshake in memory, which checks the files.
            if self.endpoints.tls and not self._credentials:
                self._credentials = self.endpoints.tls.for_client()
            return connect(address, self._credentials, tuple(_OPTIONS.items()))
        except InnerPlaneError as error:
            raise NoAccessError(str(error)) from error
        # FileNotFoundError is an OSError: it must be caught first for its own words.
        except FileNotFoundError as error:
            raise NoAccessError(f"nobody serves at {address}: there is no such directory") from error
        except OSError as error:
            problem = f"{address} cannot be opened: {error.strerror}; run this as the user that the services run as"
            raise NoAccessError(problem) from error

    def close(self) -> None:
        """Closes the connections; running calls fail."""
        close_all(self._channels.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
