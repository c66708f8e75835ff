import asyncio
import errno
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Never

import grpc
import pytest
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import EncodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.cancelling import drained
from tests.not_reading import not_reading
from tests.settling import settled
from treering.v1 import admin_pb2_grpc, embed_pb2_grpc, ingest_pb2, ingest_pb2_grpc, query_pb2, query_pb2_grpc, sink_pb2_grpc
from treering.v1.error_pb2 import ErrorReason
from treering_runtime import caller
from treering_runtime.answers import CallBounds
from treering_runtime.boundary import Boundary
from treering_runtime.errors import ServiceError, invalid_field, not_implemented
from treering_runtime.request_limits import Many, RequestLimits
from treering_runtime.server import Server
from treering_runtime.statuses import DOMAIN

if TYPE_CHECKING:
    from treering.v1.ingest_pb2_grpc import IngestServiceAsyncStub

UPLOAD, STREAM, STATUS = "UploadLogs", "StreamLogs", "GetIngestStatus"
METHODS = [UPLOAD, STREAM, STATUS]


class Raises(ingest_pb2_grpc.IngestServiceServicer):
    """Answers every call with one error, or serves it when there is none."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def UploadLogs(
        self, request_iterator: AsyncIterator[ingest_pb2.UploadLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> ingest_pb2.UploadLogsResponse:
        async for _ in request_iterator:
            if self.error:
                raise self.error
        return ingest_pb2.UploadLogsResponse(accepted_count=1)

    async def StreamLogs(
        self, request_iterator: AsyncIterator[ingest_pb2.StreamLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[ingest_pb2.StreamLogsResponse]:
        async for request in request_iterator:
            yield ingest_pb2.StreamLogsResponse(last_durable_sequence=request.sequence)
            if self.error:
                raise self.error

    async def GetIngestStatus(
        self, request: ingest_pb2.GetIngestStatusRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> ingest_pb2.GetIngestStatusResponse:
        if self.error:
            raise self.error
        return ingest_pb2.GetIngestStatusResponse(log_id=7)


@asynccontextmanager
async def serving(error: Any | ServiceError | KeyError | None, registry: Any | None = None) -> "AsyncIterator[IngestServiceAsyncStub]":
    server = Server("127.0.0.1:0", ["treering.v1.IngestService"], registry or CollectorRegistry())
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(Raises(error), server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        stub.channel = channel
        yield stub
    await server.stop(0)


async def call(
    stub: "IngestServiceAsyncStub", method: str
) -> ingest_pb2.UploadLogsResponse | list[Any] | ingest_pb2.GetIngestStatusResponse:
    if method == UPLOAD:
        return await stub.UploadLogs(iter([ingest_pb2.UploadLogsRequest(sequence=1)]))
    if method == STREAM:
        return [response async for response in stub.StreamLogs(iter([ingest_pb2.StreamLogsRequest(sequence=1)]))]
    return await stub.GetIngestStatus(ingest_pb2.GetIngestStatusRequest())


async def failure(error: Any, method: str, registry: None = None) -> grpc.aio.AioRpcError:
    async with serving(error, registry) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(stub, method)
    return caught.value


def status_of(error: grpc.aio.AioRpcError) -> Any:
    return status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def counted(registry: Any) -> dict[Any, Any]:
    samples = [sample for metric in registry.collect() for sample in metric.samples if sample.name == "treering_rpc_handled_total"]
    return {(sample.labels["method"], sample.labels["code"]): sample.value for sample in samples}


def detail(status: Any, kind: Any) -> Any | None:
    found = [kind.FromString(item.value) for item in status.details if item.Is(kind.DESCRIPTOR)]
    return found[0] if found else None


@pytest.mark.parametrize("method", METHODS)
async def test_a_domain_error_becomes_a_status_with_one_error_info(method: str) -> None:
    error = await failure(invalid_field("limit", "10000000 is over 10000; ask for less or page", limit=10_000), method)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "limit: 10000000 is over 10000; ask for less or page"
    status = status_of(error)
    assert (status.code, status.message, len(status.details)) == (3, error.details(), 1)
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_FIELD", DOMAIN, {"field": "limit", "limit": "10000"})


@pytest.mark.parametrize("method", METHODS)
async def test_overload_says_when_to_retry_in_details_and_trailers(method: str) -> None:
    error = await failure(ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, "full", retry_after_s=2.5), method)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    in_details = detail(status_of(error), error_details_pb2.RetryInfo)
    in_trailers = error_details_pb2.RetryInfo.FromString(dict(error.trailing_metadata())["google.rpc.retryinfo-bin"])
    assert in_details.retry_delay.ToMilliseconds() == in_trailers.retry_delay.ToMilliseconds() == 2500


async def test_overload_without_a_delay_still_says_one() -> None:
    error = await failure(ServiceError(ErrorReason.ERROR_REASON_DISK_LOW, "low"), STATUS)
    assert detail(status_of(error), error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1000


OWN_LIMIT = ServiceError(ErrorReason.ERROR_REASON_SQL_LIMIT, "narrow it", metadata={"limit": "time"})


@pytest.mark.parametrize(
    ("refused", "code"),
    [(not_implemented("ComparePatterns"), grpc.StatusCode.UNIMPLEMENTED), (OWN_LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
async def test_where_retrying_does_not_help_nothing_is_said_of_it(refused: ServiceError, code: grpc.StatusCode) -> None:
    error = await failure(refused, STATUS)
    assert error.code() is code
    assert detail(status_of(error), error_details_pb2.RetryInfo) is None
    assert "google.rpc.retryinfo-bin" not in dict(error.trailing_metadata())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lack", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
async def test_a_lack_of_memory_or_descriptors_is_an_overload_without_a_traceback(method: str, lack: MemoryError | OSError) -> None:
    with structlog.testing.capture_logs() as logged:
        error = await failure(lack, method)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(status_of(error), error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 5000
    assert [(entry["log_level"], "exc_info" in entry) for entry in logged] == [("warning", False)]


@pytest.mark.parametrize("method", METHODS)
async def test_a_surprise_gives_the_caller_an_id_and_the_log_the_story(method: str) -> None:
    with structlog.testing.capture_logs() as logged:
        error = await failure(RuntimeError("the secret is 42"), method)
    assert error.code() is grpc.StatusCode.INTERNAL
    error_id = detail(status_of(error), error_details_pb2.ErrorInfo).metadata["error_id"]
    assert error_id in error.details()
    assert "secret" not in error.details()
    [entry] = [entry for entry in logged if entry["event"] == "call failed"]
    assert entry["error_id"] == error_id
    assert entry["method"] == f"treering.v1.IngestService/{method}"
    assert str(entry["exc_info"]) == "the secret is 42"


NO_TEXT = b"\x0a\x01\xff"
"""A field of text that is not UTF-8."""


@pytest.mark.parametrize("method", [UPLOAD, STREAM, STATUS])
async def test_bytes_that_are_no_message_are_the_callers_error_as_any_other(method: str) -> None:
    registry = CollectorRegistry()
    async with serving(None, registry) as stub:
        kind = {UPLOAD: stub.channel.stream_unary, STREAM: stub.channel.stream_stream}.get(method, stub.channel.unary_unary)
        raw = b"\x0a\x05a" if method == STATUS else NO_TEXT
        call = kind(f"/treering.v1.IngestService/{method}")(raw if method == STATUS else iter([raw]))  # type: ignore[misc]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (drained(call) if method == STREAM else call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    info = detail(status_of(caught.value), error_details_pb2.ErrorInfo)
    field, words = (
        ("request", f"not a valid request of treering.v1.IngestService/{method}") if method == STATUS else ("producer_id", "not UTF-8")
    )
    assert (info.reason, info.metadata["field"]) == ("INVALID_FIELD", field)
    assert words in caught.value.details()
    assert counted(registry) == {(f"treering.v1.IngestService/{method}", "INVALID_ARGUMENT"): 1.0}


class Payload:
    """Something large in the frames of a handler."""


async def fails(payload: Payload) -> None:
    raise invalid_field("x", "bad")


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_that_failed_leaves_nothing_of_its_frames(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def status(self: Any, request: None, context: None) -> None:
        payload = Payload()
        seen.append(weakref.ref(payload))
        await fails(payload)

    async def stream(self: Any, requests: Any, context: Any) -> AsyncIterator[None]:
        await status(self, None, None)
        yield

    monkeypatch.setattr(Raises, STATUS, status)
    monkeypatch.setattr(Raises, UPLOAD, status)
    monkeypatch.setattr(Raises, STREAM, stream)
    gc.disable()
    try:
        await failure(None, method)
        assert seen[0]() is None
    finally:
        gc.enable()


def receivers() -> int:
    """gRPC's generators of requests."""
    return sum("message_receiver" in repr(each) for each in gc.get_objects() if type(each).__name__ == "async_generator")


@pytest.mark.parametrize("method", [UPLOAD, STREAM])
async def test_a_stream_of_requests_is_closed_with_its_call_and_keeps_no_message(method: str) -> None:
    gc.collect()
    async with serving(invalid_field("limit", "over 10; ask for less")) as stub:
        await settled()
        before = receivers()
        gc.disable()
        try:
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(stub, method)
            await settled()
            assert receivers() == before
        finally:
            gc.enable()


def one_answer() -> "tuple[list[Any], grpc.RpcMethodHandler[Any, Any]]":
    """A handler of one answer, and what it was asked once it is closed."""
    closed = []

    async def answers(request: Any, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"1"
        finally:
            closed.append(request)

    return closed, grpc.unary_stream_rpc_method_handler(answers)


async def test_a_stream_that_is_given_up_is_closed_at_once() -> None:
    closed, handler = one_answer()
    serving = asyncio.create_task(Boundary(CollectorRegistry())._wrap(handler, "a/b").unary_stream("asked", Unread()))  # type: ignore[misc]
    await settled()
    serving.cancel()
    await asyncio.wait({serving})
    assert closed == ["asked"]


async def test_a_caller_that_is_gone_when_its_answer_is_written_is_no_fault_of_ours() -> None:
    registry = CollectorRegistry()
    closed, handler = one_answer()
    with structlog.testing.capture_logs() as said, pytest.raises(asyncio.CancelledError):
        await Boundary(registry)._wrap(handler, "a/b").unary_stream("asked", Gone())  # type: ignore[misc]
    assert closed == ["asked"]
    assert said == []
    assert counted(registry)["a/b", "CANCELLED"] == 1.0


class Gone:
    """What a handler sees of a call whose caller went away before gRPC told so."""

    def peer(self) -> str:
        return "ipv4:10.0.0.7:41000"

    async def write(self, response: Any) -> None:
        raise grpc.aio.InternalError("the call is closed")


class Unread:
    """What a handler sees of a call whose responses nobody takes."""

    def peer(self) -> str:
        return "ipv4:10.0.0.7:41000"

    async def write(self, response: Any) -> None:
        await asyncio.Event().wait()


async def read_out(stream: Any) -> None:
    while True:
        await stream.read()


TALK_BYTES = 1_000_000
"""More than fits on the way."""


class Talks(ingest_pb2_grpc.IngestServiceServicer):
    """Says more than fits on the way, to a caller that may not listen."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.callers = []
        self.said = 0

    async def StreamLogs(
        self, request_iterator: AsyncIterator[ingest_pb2.StreamLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[ingest_pb2.StreamLogsResponse]:
        self.callers.append(caller.current())
        try:
            while True:
                self.said += 1
                yield ingest_pb2.StreamLogsResponse(producer_id="x" * TALK_BYTES)
        finally:
            self.ended.set()

    async def GetIngestStatus(
        self, request: ingest_pb2.GetIngestStatusRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> ingest_pb2.GetIngestStatusResponse:
        self.said += 1
        return ingest_pb2.GetIngestStatusResponse(refusing_because="x" * TALK_BYTES)


@asynccontextmanager
async def talking(**bounds: float) -> AsyncIterator[tuple[Talks, Callable[[], Coroutine[Any, Any, Any]]]]:
    """What it says, and the way to a stub by a connection of its own."""
    server, talks = Server("127.0.0.1:0", ["treering.v1.IngestService"], CollectorRegistry(), bounds=CallBounds(**bounds)), Talks()
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(talks, server.grpc)
    await server.start()
    talks.address, talks.answers = server.address, server.answers
    async with AsyncExitStack() as stack:

        async def connected() -> Any:
            options = [("grpc.use_local_subchannel_pool", 1)]
            return await stack.enter_async_context(grpc.aio.insecure_channel(server.address, options=options))

        async with asyncio.timeout(60):
            yield talks, connected
    await server.stop(0)


STATUS_METHOD = "treering.v1.IngestService/GetIngestStatus"


async def status_of_talks(channel: Any) -> Any:
    return await channel.unary_unary(f"/{STATUS_METHOD}")(b"")


async def test_a_caller_that_takes_nothing_of_its_answer_loses_its_turn() -> None:
    async with talking(unread_s=0.2) as (talks, connected):
        stream = ingest_pb2_grpc.IngestServiceStub(await connected()).StreamLogs()
        await stream.read()
        await talks.ended.wait()
        with pytest.raises(grpc.aio.AioRpcError, match=r"nothing of the answer was taken for 0\.2 s") as ended:
            await read_out(stream)
        assert ended.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert talks.callers[0].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize("method", [STATUS_METHOD, "treering.v1.IngestService/StreamLogs"])
async def test_a_caller_that_does_not_take_the_error_either_loses_its_connection(method: str) -> None:
    """gRPC would keep call and answer for as long as the connection lasts."""
    async with talking(unread_s=0.2) as (talks, connected), not_reading(talks.address) as stranger:
        stranger.call(method)
        await stranger.closed.wait()
        while talks.answers._unread.total or talks.answers._calls.total:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        assert len(await status_of_talks(await connected())) > TALK_BYTES


async def test_answers_that_nobody_takes_are_bounded_for_each_caller_and_for_all() -> None:
    """As streams and as single answers; what others ask is answered beside."""
    async with talking(unread_bytes=5 * TALK_BYTES) as (talks, connected), not_reading(talks.address) as greedy:
        for _ in range(9):
            greedy.call(STATUS_METHOD)
        greedy.call("treering.v1.IngestService/StreamLogs")
        while talks.said < 10:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        await settled()
        assert talks.answers._unread.total // TALK_BYTES == 2
        other = await connected()
        assert len(await status_of_talks(other)) > TALK_BYTES
        await greedy.close()
        while talks.answers._unread.total or talks.answers._calls.total:  # noqa: ASYNC110 - nor for this
            await asyncio.sleep(0)


async def test_a_call_that_was_given_up_counts_as_open_until_it_has_ended() -> None:
    async with talking(unread_s=0.05, open_calls=8) as (talks, _), not_reading(talks.address) as greedy:
        calls = [greedy.call(STATUS_METHOD) for _ in range(4)]
        while talks.said < len(calls):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        while not talks.answers._untaken:  # noqa: ASYNC110 - nor for this
            await asyncio.sleep(0)
        assert talks.answers._calls.total == len(calls)
        await greedy.closed.wait()
        while talks.answers._calls.total:  # noqa: ASYNC110 - nor for this
            await asyncio.sleep(0)


async def test_open_calls_are_bounded_for_each_caller_and_for_all() -> None:
    async with talking(open_calls=8) as (talks, connected):
        greedy, other = await connected(), await connected()
        held = [ingest_pb2_grpc.IngestServiceStub(greedy).StreamLogs() for _ in range(4)]
        await asyncio.gather(*(call.read() for call in held))
        with pytest.raises(grpc.aio.AioRpcError, match="4 calls of yours are open already") as refused:
            await status_of_talks(greedy)
        assert detail(status_of(refused.value), error_details_pb2.ErrorInfo).metadata["limit"] == "max_open_calls_of_one_caller"
        assert await status_of_talks(other)
        for call in held:
            call.cancel()
        await talks.ended.wait()
        assert await status_of_talks(greedy)


async def test_a_stream_keeps_what_it_said_before_its_error() -> None:
    async with serving(invalid_field("x", "bad")) as stub:
        stream = stub.StreamLogs(iter([ingest_pb2.StreamLogsRequest(sequence=1)]))
        assert (await stream.read()).last_durable_sequence == 1
        with pytest.raises(grpc.aio.AioRpcError, match="x: bad"):
            await stream.read()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("error", "code"), [(None, "OK"), (invalid_field("x", "bad"), "INVALID_ARGUMENT"), (KeyError(1), "INTERNAL")])
async def test_each_call_is_counted_once(method: str, error: ServiceError | KeyError | None, code: str) -> None:
    registry = CollectorRegistry()
    async with serving(error, registry) as stub:
        if error:
            with pytest.raises(grpc.aio.AioRpcError):
                await call(stub, method)
        else:
            await call(stub, method)
    assert counted(registry) == {(f"treering.v1.IngestService/{method}", code): 1.0}


@pytest.mark.parametrize("method", METHODS)
async def test_an_rpc_without_a_handler_is_unimplemented(method: str) -> None:
    error = await failure(NotImplementedError("Method not implemented!"), method)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this version of Treering")


async def test_an_unknown_method_is_unimplemented() -> None:
    server = Server("127.0.0.1:0", [], CollectorRegistry())
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/treering.v1.Nothing/Here")(b"")
    await server.stop(0)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("letter", ["x", "\n", "\u017c", "\U0001f600"])
async def test_a_long_message_is_cut_to_fit_the_trailers(letter: str) -> None:
    error = await failure(ServiceError(ErrorReason.ERROR_REASON_SQL_ERROR, letter * 100_000, metadata={"line": "1"}), STATUS)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == status_of(error).message
    assert error.details().endswith(letter + " ...")


SERVICES = {
    "treering.v1.IngestService": (ingest_pb2_grpc.IngestServiceServicer, ingest_pb2_grpc.add_IngestServiceServicer_to_server),
    "treering.v1.QueryService": (query_pb2_grpc.QueryServiceServicer, query_pb2_grpc.add_QueryServiceServicer_to_server),
    "treering.v1.EmbedService": (embed_pb2_grpc.EmbedServiceServicer, embed_pb2_grpc.add_EmbedServiceServicer_to_server),
    "treering.v1.IngestAdminService": (
        admin_pb2_grpc.IngestAdminServiceServicer,
        admin_pb2_grpc.add_IngestAdminServiceServicer_to_server,
    ),
    "treering.v1.QueryAdminService": (admin_pb2_grpc.QueryAdminServiceServicer, admin_pb2_grpc.add_QueryAdminServiceServicer_to_server),
    "treering.v1.EmbedAdminService": (admin_pb2_grpc.EmbedAdminServiceServicer, admin_pb2_grpc.add_EmbedAdminServiceServicer_to_server),
    "treering.v1.SinkService": (sink_pb2_grpc.SinkServiceServicer, sink_pb2_grpc.add_SinkServiceServicer_to_server),
}


def every_rpc() -> Iterator[tuple[str, MethodDescriptor]]:
    pool = descriptor_pool.Default()
    for service in (*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"):
        for method in pool.FindServiceByName(service).methods:
            yield service, method


def called(channel: grpc.aio.Channel, service: str, method: MethodDescriptor, raw: bytes) -> Coroutine[Any, Any, None] | Any:
    """Calls an rpc with bytes."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{service}/{method.name}")(iter([raw]) if method.client_streaming else raw, timeout=10)
    return drained(call) if method.server_streaming else call


@asynccontextmanager
async def all_services(registry: Any) -> AsyncIterator[grpc.aio.Channel]:
    """Every service of the contract without a handler of its own, beside health and reflection."""
    server = Server("127.0.0.1:0", list(SERVICES), registry, limits=RequestLimits({"AggregateLogsRequest.group_by": Many(8)}))
    for servicer, add in SERVICES.values():
        add(servicer(), server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel
    await server.stop(0)


async def test_bytes_that_are_no_message_are_refused_and_counted_on_every_rpc() -> None:
    registry, wanted = CollectorRegistry(), {}
    async with all_services(registry) as channel:
        for service, method in every_rpc():
            if method.client_streaming and service in SERVICES:
                continue  # the base class reads no stream; the services' own handlers do
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await called(channel, service, method, b"\xff")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (service, method.name)
            assert detail(status_of(caught.value), error_details_pb2.ErrorInfo).metadata["field"] == "request"
            assert "class" not in caught.value.details()
            wanted[f"{service}/{method.name}", "INVALID_ARGUMENT"] = 1.0
    assert counted(registry) == wanted
    assert len(wanted) > 20


async def test_a_request_is_held_against_the_table_before_its_handler_runs() -> None:
    async with all_services(CollectorRegistry()) as channel:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        for count, code in (
            (8, grpc.StatusCode.UNIMPLEMENTED),
            (9, grpc.StatusCode.INVALID_ARGUMENT),
            (100_000, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.AggregateLogs(query_pb2.AggregateLogsRequest(group_by=[query_pb2.FieldRef()] * count))
            assert caught.value.code() is code
        assert caught.value.details() == "group_by: more than 8; ask for less"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_response_without_memory_to_send_it_is_an_overload_and_counted(streams: bool) -> None:
    async def answered(request: Any, context: Any) -> Any:
        return request

    async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request

    def without_memory(response: Any) -> Never:
        raise EncodeError("Failed to serialize proto")

    registry, kind = CollectorRegistry(), "unary_stream" if streams else "unary_unary"
    handler = getattr(grpc, f"{kind}_rpc_method_handler")(streamed if streams else answered, bytes, without_memory)
    server = Server("127.0.0.1:0", [], registry)
    server.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", {"Ask": handler}),))
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = getattr(channel, kind)("/any.Service/Ask")(b"x")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (drained(call) if streams else call)
    await server.stop(0)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(status_of(caught.value), error_details_pb2.ErrorInfo).metadata["limit"] == "memory"
    assert counted(registry) == {("any.Service/Ask", "RESOURCE_EXHAUSTED"): 1.0}


async def test_health_and_reflection_answer_as_before_and_are_counted() -> None:
    registry = CollectorRegistry()
    async with all_services(registry) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="x" * 2_000))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        listed = {service.name async for answer in answers for service in answer.list_services_response.service}
        assert listed >= {*SERVICES, "grpc.health.v1.Health"}
    found = counted(registry)
    assert found["grpc.health.v1.Health/Check", "OK"] == found["grpc.health.v1.Health/Check", "NOT_FOUND"] == 1.0
    assert found["grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "OK"] == 1.0
