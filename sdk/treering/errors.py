"""What goes wrong, in a form that programs can act on: one class a family, the contract's reason in each.

The reasons and their metadata are documented in `treering.v1.error_pb2.ErrorReason`.
"""

import contextlib
import copy
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DOMAIN = "treering.dev"


class TreeringError(Exception):
    """A call failed. Every error of the SDK is one of these.

    Attributes:
        message: What is wrong and what to do about it, for people.
        reason: The contract's reason, for example `SEQUENCE_GAP`; empty when the answer came from no Treering service (a proxy, a dead
            connection).
        metadata: What the reason's comment in the contract names.
        retry_after_s: When the service asks to try again, seconds; None when it said nothing.
        code: The gRPC status code.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: dict[str, str] | None = None,
        retry_after_s: float | None = None,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        self.retry_after_s = retry_after_s
        self.code = code


class InvalidArgumentError(TreeringError):
    """The request has a value that cannot be served; the message names the field."""


class SqlError(TreeringError):
    """The SQL has an error, is more than one reading statement, or needed more than it may have."""


class NotFoundError(TreeringError):
    """There is nothing at this position, or no pattern with this id."""


class ProducerError(TreeringError):
    """Batches of a producer do not follow each other: a gap, a sequence used twice, an unknown producer. The uploader deals with these."""


class OverloadedError(TreeringError):
    """The service is full, or its disk is. Nothing was done; `retry_after_s` says when to try again."""


class UnavailableError(TreeringError):
    """Nobody answers, or the service is starting or stopping, or one that it needs is."""


class NameResolutionError(UnavailableError):
    """The host name of the address is unknown. Nobody restarts there, but a name may be published late."""


class TimedOutError(TreeringError):
    """The answer was not ready in the call's time. Whether anything was done is not known."""


class UnsupportedError(TreeringError):
    """The server does not serve this part of the contract, or another version of it."""


class DamagedError(TreeringError):
    """Something that was durable is missing or damaged; the message names the file and what to do."""


class RunningError(TreeringError):
    """The same work is being done already; `metadata` says how far it is."""


class NoAccessError(TreeringError):
    """Whoever calls may not do this, or the inner plane is closed to this user; the message says what to give."""


class InternalError(TreeringError):
    """A fault of the service; its own log has the story, under the id in the message where there is one."""


TRANSIENT = (UnavailableError, TimedOutError, OverloadedError)
"""Errors of a moment: the same question may be answered a little later."""


def anew(error: TreeringError) -> TreeringError:
    """The same error as another object: one that is raised again and again grows by a traceback each time, and keeps what is in it."""
    made = copy.copy(error)
    # `copy` leaves the cause behind, and the traceback, which is what must not grow.
    made.__cause__ = error.__cause__
    return made


_BY_REASON: dict[str, type[TreeringError]] = {
    "SQL_ERROR": SqlError,
    "SQL_NOT_ALLOWED": SqlError,
    "SQL_LIMIT": SqlError,
    "SEQUENCE_GAP": ProducerError,
    "SEQUENCE_REUSED": ProducerError,
    "PRODUCER_UNKNOWN": ProducerError,
    "SINK_AHEAD": InternalError,
    "CHAIN_BROKEN": InternalError,
    "STORE_DAMAGED": DamagedError,
    "REINDEX_RUNNING": RunningError,
    "VERSION_MISMATCH": UnsupportedError,
}

_BY_CODE: dict[grpc.StatusCode, type[TreeringError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.UNAUTHENTICATED: NoAccessError,
    grpc.StatusCode.PERMISSION_DENIED: NoAccessError,
}


_UNKNOWN_NAME = "Domain name not found"
"""What gRPC's resolver (c-ares) says of a name that is in no zone; where it says something else, the error is an UnavailableError."""


class FailedCall(Protocol):
    """What gRPC says about a failed call, blocking or not."""

    def code(self) -> grpc.StatusCode | None:
        """The status code."""

    def details(self) -> str | None:
        """Words about it."""

    def trailing_metadata(self) -> Any:
        """Pairs of key and value."""


def from_call(error: Any, address: str) -> TreeringError:
    """The typed error of a failed call to `address`; reads the google.rpc.Status in its trailers."""
    failed: FailedCall = error
    code = failed.code() or grpc.StatusCode.UNKNOWN
    status = _status(failed)
    info, retry_after_s = _details(status)
    message = (status.message if status else "") or failed.details() or code.name
    # The reason first: several reasons share a status code, and only the reason tells them apart.
    family = _BY_REASON.get(info.reason) or _BY_CODE.get(code, TreeringError)
    # No reason: a proxy or gRPC itself answered, and its words name no address.
    if not info.reason:
        family = NameResolutionError if family is UnavailableError and _UNKNOWN_NAME in message else family
        message = _without_service(code, message, address)
    return family(message, reason=info.reason, metadata=dict(info.metadata), retry_after_s=retry_after_s, code=code)


def _status(error: FailedCall) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        # Trailers of this suffix are bytes; a text under the same name is of somebody else.
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            # A proxy may have put something else there: then gRPC's own code and words are what is known.
            with contextlib.suppress(DecodeError):
                return status_pb2.Status.FromString(value)
    return None


def _details(status: status_pb2.Status | None) -> tuple[error_details_pb2.ErrorInfo, float | None]:
    found, retry_after_s = error_details_pb2.ErrorInfo(), None
    # Details of other kinds may come from a proxy or a newer service; they are left alone.
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            # Reasons of another domain may have the same names and mean something else.
            found = info if info.domain == _DOMAIN else found
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return found, retry_after_s


def _without_service(code: grpc.StatusCode, message: str, address: str) -> str:
    """Words for what gRPC itself says, which names no address."""
    # gRPC's words nest their causes, `...: [...: the last one]`; the last one is what went wrong.
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"nobody answers at {address} ({message.rpartition(': ')[2].rstrip(']')})"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{address} did not answer in time; give the call more time or ask for less"
    return f"{address}: {message}"
