"""A model of ingest that is obvious, keeps everything in memory, and fails on demand."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Never

import grpc
import pytest
from grpc_status import rpc_status

from treering import Client, Endpoints, InnerEndpoints
from treering.inner import SocketPlace, socket_address
from treering.v1 import ingest_pb2, ingest_pb2_grpc
from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError
from treering_runtime.statuses import to_status

from .facades import AnyClient, Connect, LoopClient

LOG_ID = 0xFEED
HISTORY = 5
UNAVAILABLE = ServiceError(ErrorReason.ERROR_REASON_DRAINING, "going")
FULL = ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, "full", metadata={"limit": "memory"}, retry_after_s=0.01)


class FakeIngest(ingest_pb2_grpc.IngestServiceServicer):
    """Stores records by the rules of the contract.

    `faults` are taken one for each batch that comes: "ok", "lost" (stored, then the stream breaks before the acknowledgement), "refused"
    (RESOURCE_EXHAUSTED), "broken" (the stream breaks, nothing stored), "ended" (the stream ends as if all were well), "forgotten" (the log
    forgets all producers, and its records of them), "silent" (stored, and never another word until the caller ends the stream).
    """

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.faults: deque[str] = deque()
        self.streams = 0
        self._producers: dict[str, list[bytes]] = {}

    def StreamLogs(
        self, request_iterator: Iterator[ingest_pb2.StreamLogsRequest], context: grpc.ServicerContext
    ) -> Iterator[ingest_pb2.StreamLogsResponse]:
        self.streams += 1
        index = 0
        for request in request_iterator:
            fault = self.faults.popleft() if self.faults else "ok"
            if fault == "ended":
                return
            if fault in {"refused", "broken"}:
                self._abort(context, FULL if fault == "refused" else UNAVAILABLE)
            if fault == "forgotten":
                self._producers.clear()
            response = self._take(request, context, index)
            index += len(request.batch.records)
            if fault == "lost":
                self._abort(context, UNAVAILABLE)
            if fault == "silent":
                ended = threading.Event()
                if context.add_callback(ended.set):
                    ended.wait()
                return
            yield response

    def GetIngestStatus(
        self, request: ingest_pb2.GetIngestStatusRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.GetIngestStatusResponse:
        return ingest_pb2.GetIngestStatusResponse(log_id=LOG_ID, end_offset_exclusive=len(self.stored))

    def _take(self, request: ingest_pb2.StreamLogsRequest, context: grpc.ServicerContext, index: int) -> ingest_pb2.StreamLogsResponse:
        known = self._producers.get(request.producer_id, [])
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        self._check(request, known, digest, context)
        good = [record.message for record in request.batch.records if record.message]
        repeated = request.sequence <= len(known)
        if not repeated:
            self._producers[request.producer_id] = [*known, digest]
            self.stored += good
        bad = [index + place for place, record in enumerate(request.batch.records) if not record.message]
        empty = ingest_pb2.REJECTION_REASON_MESSAGE_EMPTY
        return ingest_pb2.StreamLogsResponse(
            producer_id=request.producer_id,
            last_durable_sequence=request.sequence,
            accepted_count=0 if repeated else len(good),
            duplicate_count=len(good) if repeated else 0,
            rejection_counts=[ingest_pb2.RejectionCount(reason=empty, count=len(bad))] if bad else [],
            rejected_records=[ingest_pb2.RejectedRecord(index=place, reason=empty) for place in bad],
            log_id=LOG_ID,
            end_offset_exclusive=len(self.stored),
        )

    def _check(self, request: ingest_pb2.StreamLogsRequest, known: Sequence[bytes], digest: bytes, context: grpc.ServicerContext) -> None:
        last = len(known)
        if request.sequence > 1 and not known:
            self._abort(context, ServiceError(ErrorReason.ERROR_REASON_PRODUCER_UNKNOWN, "who?"))
        if request.sequence > last + 1:
            self._abort(context, ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_GAP, f"{last + 1} is missing"))
        comparable = last - HISTORY < request.sequence
        if request.sequence <= last and not (comparable and known[request.sequence - 1] == digest):
            metadata = {"sequence": str(request.sequence), "last_sequence": str(last)}
            self._abort(context, ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_REUSED, "reused", metadata=metadata))

    def _abort(self, context: grpc.ServicerContext, error: ServiceError) -> Never:
        context.abort_with_status(rpc_status.to_status(to_status(error)))


class Serving:
    """A server on a port of its own, which can be stopped and started again on it."""

    def __init__(self, add: Callable[[grpc.Server], None], inner: Path | None = None) -> None:
        self._add = add
        self._inner = inner
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._add(self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        assert self.port
        if self._inner:
            self._server.add_insecure_port(SocketPlace.made(self._inner).target)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    @property
    def inner_endpoints(self) -> InnerEndpoints:
        address = socket_address(self._inner)
        return InnerEndpoints(address, address, address)

    @property
    def endpoints(self) -> Endpoints:
        address = f"127.0.0.1:{self.port}"
        return Endpoints(address, address, address)


@pytest.fixture
def ingest() -> FakeIngest:
    return FakeIngest()


@pytest.fixture
def serving(ingest: FakeIngest) -> Iterator[Serving]:
    server = Serving(lambda grpc_server: ingest_pb2_grpc.add_IngestServiceServicer_to_server(ingest, grpc_server))
    yield server
    server.stop()


@pytest.fixture(params=[Client, LoopClient], ids=["threads", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes a client: the blocking one, then the one for asyncio."""
    kind: Connect = request.param
    return kind


@pytest.fixture
def client(connect: Connect, serving: Serving) -> Iterator[AnyClient]:
    with connect(serving.endpoints) as made:
        yield made


@pytest.fixture
def away(serving: Serving) -> Iterator[Endpoints]:
    """Endpoints where nobody answers until the end of the test."""
    serving.stop()
    yield serving.endpoints
    serving.start()
