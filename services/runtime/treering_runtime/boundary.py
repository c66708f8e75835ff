"""The one place where domain errors become statuses (`statuses`), and where calls are counted and timed."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Histogram

from treering.v1.error_pb2 import ErrorReason
from treering_runtime import caller
from treering_runtime.answers import USUAL_BOUNDS, Answers, CallBounds
from treering_runtime.errors import ServiceError, invalid_field, not_implemented
from treering_runtime.faulty_text import faulty_text
from treering_runtime.hanging_up import hang_up
from treering_runtime.inner_version import changes_with_releases, check_caller
from treering_runtime.request_limits import RequestLimits
from treering_runtime.scarcity import exhausted
from treering_runtime.shares import Shares
from treering_runtime.statuses import STATUS_CODES, shortened, trailing_metadata

_LOG = structlog.get_logger()

if TYPE_CHECKING:
    from types import TracebackType

    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Context = grpc.aio.ServicerContext[Any, Any]
    _Read = Callable[[Any], Any]
    _Written = Callable[[Any], bytes]

_CODE_NAMES: dict[object, str] = {key: code.name for code in grpc.StatusCode for key in (code, code.value[0])}
"""How a status code is called, by itself and by its number."""


def unexpected(error: BaseException, method: str) -> ServiceError:
    """Logs a fault of our own in full, and gives the caller an id instead of our internals."""
    # A random number, not a counter: it is searched for in the logs of several processes.
    error_id = secrets.token_hex(6)
    _LOG.error("call failed", method=method, error_id=error_id, exc_info=error)
    message = f"internal error {error_id}; the service's log has the details under this id"
    return ServiceError(ErrorReason.ERROR_REASON_INTERNAL, message, metadata={"error_id": error_id})


class CallMetrics:
    """Calls by method and status code, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.handled = Counter("treering_rpc_handled", "Finished calls", ["method", "code"], registry=registry)
        self.seconds = Histogram("treering_rpc_seconds", "Duration of calls, seconds", ["method"], registry=registry)

    def record(self, method: str, code: str, started: float) -> None:
        """Counts one finished call; `started` is a `time.perf_counter()`."""
        self.handled.labels(method, code).inc()
        self.seconds.labels(method).observe(time.perf_counter() - started)


class _Refusal(NamedTuple):
    """What a call that failed is aborted with."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, str | bytes], ...]


class _Ending:
    """Counts a call when it ends, and takes its error from it: `refuse` tells the caller.

    gRPC keeps the error of an abort as long as the state of the call. Raised while ours is handled, it would keep that too, with the
    payloads in the frames that it went through. So ours is gone before the abort.
    """

    def __init__(self, metrics: CallMetrics, method: str, context: _Context, patience_s: float) -> None:
        self._metrics = metrics
        self._method = method
        self._context = context
        self._patience_s = patience_s
        self._started = time.perf_counter()
        self._refusal: _Refusal | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        code = "OK" if error is None else "CANCELLED"
        if isinstance(error, grpc.aio.AbortError):  # of a handler that is not ours: health
            code = _CODE_NAMES.get(self._context.code(), "UNKNOWN")
        # CancelledError is no Exception: it is counted, and goes on to gRPC, which ends the call.
        elif isinstance(error, Exception):
            self._refusal = _refusal(_known(error, self._method))
            code = self._refusal.code.name
        self._metrics.record(self._method, code, self._started)
        # True swallows the error: `refuse` speaks after this block, when nothing refers to the error's frames any more.
        return self._refusal is not None

    async def refuse(self) -> None:
        """Ends the call with its error, if it had one; then this returns never."""
        if self._refusal:
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._context.abort(*self._refusal)
            # An answer that nobody takes fills the way: nothing else can be said, or what is said waits behind it for ever.
            except (grpc.aio.InternalError, TimeoutError):
                hang_up(self._context.peer())
                raise asyncio.CancelledError from None


class Boundary(grpc.aio.ServerInterceptor):
    """Wraps every handler: domain errors become statuses, surprises become INTERNAL with an id, all are counted.

    Requests are parsed and held against the table of limits before a handler sees them. Answers are written here, too, single ones as a
    stream of one, which is the same on the wire: so it is known when they are taken. Health and reflection are inside, too.

    Args:
        metrics: Where calls are counted: a registry, or what another server of the process counts with.
        limits: What requests may hold; by default what is shared by all services.
        are_ours: Whether callers are ourselves, as on the inner plane: no shares of theirs are counted, but of those for whom they ask.
        bounds: What callers may hold.
    """

    def __init__(
        self,
        metrics: CollectorRegistry | CallMetrics,
        limits: RequestLimits | None = None,
        *,
        are_ours: bool = False,
        bounds: CallBounds = USUAL_BOUNDS,
    ) -> None:
        self._metrics = metrics if isinstance(metrics, CallMetrics) else CallMetrics(metrics)
        self._limits = limits or RequestLimits()
        self._are_ours = are_ours
        self._wrapped: dict[str, tuple[_Handler, _Handler]] = {}
        """By method: its handler, and that wrapped. Of the methods that are served, so there are never many."""
        self._calls = Shares("max_open_calls", bounds.open_calls, ("calls", "are open"), connections=bounds.local_connections)
        self.answers = Answers(bounds, self._calls)
        self._patience_s = bounds.unread_s

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wraps the handler of one call."""
        method: str = details.method.removeprefix("/")
        if (handler := await continuation(details)) is None:
            return None
        known = self._wrapped.get(method)
        # A generic handler may give another handler for the same method: then that one is wrapped.
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = handler, self._wrap(handler, method)
        return known[1]

    def _wrap(self, handler: _Handler, method: str) -> _Handler:
        # None as deserializer below: `read` parses inside the boundary, so bytes that are no message are refused like other errors.
        call, read, written = _implementation(handler), _reading(handler, method, self._limits), handler.response_serializer or _as_it_is
        if handler.request_streaming and not handler.response_streaming:
            # an upload: its answer is small, and with the end of the call in one step
            return grpc.stream_unary_rpc_method_handler(self._by_itself(call, read, written, method), None, None)
        make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        # A delivery says its version in its first message, where the answer has the other side's.
        if self._are_ours and not handler.request_streaming and changes_with_releases(method):
            call = _of_one_version(call, streams=handler.response_streaming)
        if handler.response_streaming and inspect.iscoroutinefunction(call):  # health: it writes its responses by itself
            return make(self._by_itself(call, read, _as_it_is, method), None, handler.response_serializer)
        wrap = self._streaming if handler.response_streaming else self._single
        return make(wrap(call, read, written, method), None, None)

    def _note_caller(self, context: _Context) -> None:
        if not self._are_ours:
            caller.serve(context.peer())
        else:
            caller.serve_handed_on(context.invocation_metadata())

    # answers are written inside, where a lack of memory for one is told as any other

    def _by_itself(self, call: Callable[..., Awaitable[Any]], read: _Read, written: _Written, method: str) -> Callable[..., Awaitable[Any]]:
        async def wrapped(request: Any, context: _Context) -> Any:
            self._note_caller(context)
            async with _ClosedWithCall(request):
                with _Ending(self._metrics, method, context, self._patience_s) as ending, self._calls.held(1):
                    return written(await call(read(request), context))
            return await ending.refuse()

        return wrapped

    def _single(self, call: Callable[..., Awaitable[Any]], read: _Read, written: _Written, method: str) -> Callable[..., Awaitable[None]]:
        async def wrapped(request: Any, context: _Context) -> None:
            self._note_caller(context)
            with _Ending(self._metrics, method, context, self._patience_s) as ending, self._calls.held(1):
                # of an answer that waits to be taken nothing is kept but its bytes
                await self.answers.give(context, written(await call(read(request), context)))
            await ending.refuse()

        return wrapped

    def _streaming(
        self, call: Callable[..., AsyncGenerator[Any, None]], read: _Read, written: _Written, method: str
    ) -> Callable[..., Awaitable[None]]:
        async def wrapped(request: Any, context: _Context) -> None:
            self._note_caller(context)
            async with _ClosedWithCall(request):
                with _Ending(self._metrics, method, context, self._patience_s) as ending, self._calls.held(1):
                    begins = True
                    # `aclosing`: a stream that is given up ends its handler now, not when the garbage collector finds it.
                    async with aclosing(call(read(request), context)) as responses:
                        async for response in responses:
                            answer = written(response)
                            del response
                            await self.answers.give(context, answer, begins=begins)
                            begins = False
            await ending.refuse()

        return wrapped


class _ClosedWithCall:
    """Closes a stream of requests when its call ends. A class: every call has one, and a generator costs four times as much.

    gRPC's generator refers to itself, and keeps the message that it gave last until the garbage collector comes by. In a quiet service that
    is not soon: each stream that was refused left up to 16 MiB.
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> None:
        """Nothing is open yet."""

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._request, AsyncIterable):
            with suppress(RuntimeError):  # somebody still waits for its next message, and is about to be cancelled
                await aiter(self._request).aclose()  # type: ignore[attr-defined]  # it is a generator


def _implementation(handler: _Handler) -> Callable[..., Any]:
    kinds = {True: "stream", False: "unary"}
    call: Callable[..., Any] = getattr(handler, f"{kinds[handler.request_streaming]}_{kinds[handler.response_streaming]}")
    return call


def _of_one_version(call: Callable[..., Any], *, streams: bool) -> Callable[..., Any]:
    """The handler, which refuses callers that speak another version of the inner plane."""

    async def single(request: Any, context: _Context) -> Any:
        check_caller(context.invocation_metadata())
        return await call(request, context)

    async def streaming(request: Any, context: _Context) -> AsyncGenerator[Any, None]:
        check_caller(context.invocation_metadata())
        async with aclosing(call(request, context)) as responses:
            async for response in responses:
                yield response

    return streaming if streams else single


def _as_it_is(answer: bytes) -> bytes:
    return answer


def _reading(handler: _Handler, method: str, limits: RequestLimits) -> _Read:
    """Turns what gRPC has received into what the handler takes: bytes that are no message are the caller's error as any other.

    The order is what keeps a request small: counted on the wire, then unfolded, then held against the limits, then seen by a handler.
    """
    decode, kind = handler.request_deserializer, _request_kind(method)
    if decode is None:  # the handler stores the bytes as they came, and checks them itself
        return lambda request: request

    def read(raw: bytes) -> Any:
        try:
            # The count first: parsing is what makes a small request large.
            if kind:
                limits.check_wire(raw, kind)
            request = decode(raw)
        except (DecodeError, ValueError, IndexError) as error:
            # what may be for want of memory is not called malformed: who is told so never sends it again
            if scarce := exhausted(error):
                raise scarce from error
            raise _unreadable(raw, kind, method, limits) from error
        if kind:
            limits.check(request)
        return request

    async def read_all(raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raws:
            yield read(raw)

    return read_all if handler.request_streaming else read


def _unreadable(raw: bytes, kind: Descriptor | None, method: str, limits: RequestLimits) -> ServiceError:
    """What is wrong with bytes that could not be parsed, as far as it is known."""
    if kind:
        try:
            limits.check_depth(raw, kind)
        except ServiceError as error:
            return error
    if kind and (field := faulty_text(raw, kind)):
        return invalid_field(field, "not UTF-8; encode it as UTF-8")
    return invalid_field("request", f"not a valid request of {method}; encode it as Protocol Buffers do")


def _request_kind(method: str) -> Descriptor | None:
    """The message that an rpc takes; None for one that no contract names."""
    service, _, name = method.partition("/")
    try:
        return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name].input_type
    # No contract in this process: nothing is known of the message, so nothing of it is counted.
    except KeyError:
        return None


def _known(error: Exception, method: str) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, NotImplementedError):  # raised by the generated base class for an rpc without a handler
        return not_implemented(method.rpartition("/")[2])
    if scarce := exhausted(error):
        _LOG.warning("call refused: the process is at a limit of the system", method=method, problem=scarce.message)
        return scarce
    return unexpected(error, method)


def _refusal(error: ServiceError) -> _Refusal:
    return _Refusal(STATUS_CODES[error.reason], shortened(error.message), trailing_metadata(error))
