"""The client of the inner plane: for whoever runs the services."""

from types import TracebackType
from typing import Self

from treering import calls
from treering.blocking import BlockingCaller
from treering.channels import Endpoints, connect
from treering.limits import DEFAULT_TIMEOUT_S
from treering.quarantine import SinkName, SinkQuarantine
from treering.rpc import Streaming, Unary
from treering.v1 import admin_pb2
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub, IngestAdminServiceStub, QueryAdminServiceStub


class AdminClient(BlockingCaller):
    """Talks to the inner planes of the services, blocking. Safe to share between threads.

    Args:
        endpoints: Where the services answer.
        timeout: The deadline of calls that name none, seconds.
    """

    digest_log = Unary(calls.digest_log, "ingest", "DigestLog", admin_pb2.DigestLogResponse)

    score_patterns = Streaming(calls.score_patterns, "embed", "ScorePatterns", admin_pb2.ScorePatternsResponse)
    forget_patterns = Unary(calls.forget_patterns, "embed", "ForgetPatterns", admin_pb2.ForgetPatternsResponse)
    start_reindex = Unary(calls.start_reindex, "embed", "StartReindex", admin_pb2.StartReindexResponse)
    digest_index = Streaming(calls.digest_index, "embed", "DigestIndex", admin_pb2.DigestIndexResponse)

    digest_store = Unary(calls.digest_store, "query", "DigestStore", admin_pb2.DigestStoreResponse)
    verify_store = Streaming(calls.verify_store, "query", "VerifyStore", admin_pb2.VerifyStoreResponse, endless=True)

    def __init__(self, endpoints: Endpoints, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self.endpoints = endpoints
        names = ("ingest", "embed", "query")
        addresses = dict(zip(names, endpoints.all(), strict=True))
        self._channels = {name: connect(address) for name, address in addresses.items()}
        kinds = {"ingest": IngestAdminServiceStub, "embed": EmbedAdminServiceStub, "query": QueryAdminServiceStub}
        super().__init__({name: kinds[name](self._channels[name]) for name in names}, addresses, timeout)

    def quarantine(self, sink: SinkName, *, log_id: int = 0, first_offset: int = 0, end_offset_exclusive: int = 0) -> SinkQuarantine:
        """What one sink set aside.

        Args:
            sink: `embed` or `query`.
            log_id: Only records of this log; 0 = of every log.
            first_offset: Only from this offset on.
            end_offset_exclusive: Only below this offset; 0 = to the end.
        """
        selection = {"log_id": log_id, "first_offset": first_offset, "end_offset_exclusive": end_offset_exclusive}
        return SinkQuarantine(self._channels[sink], getattr(self.endpoints, sink), selection)

    def close(self) -> None:
        """Closes the connections; running calls fail."""
        for channel in self._channels.values():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
