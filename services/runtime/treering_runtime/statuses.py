"""How a domain error looks on the wire: status code, message, details."""

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError
from treering_runtime.limits import MAX_ERROR_MESSAGE_BYTES

DOMAIN = "treering.dev"
"""ErrorInfo.domain of every error."""

_DEFAULT_RETRY_S = 1.0

_R = ErrorReason
STATUS_CODES: dict[ErrorReason.ValueType, grpc.StatusCode] = {
    _R.ERROR_REASON_INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    _R.ERROR_REASON_MALFORMED_BATCH: grpc.StatusCode.INVALID_ARGUMENT,
    _R.ERROR_REASON_BATCH_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    _R.ERROR_REASON_SEQUENCE_GAP: grpc.StatusCode.FAILED_PRECONDITION,
    _R.ERROR_REASON_SEQUENCE_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    _R.ERROR_REASON_PRODUCER_UNKNOWN: grpc.StatusCode.FAILED_PRECONDITION,
    _R.ERROR_REASON_OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    _R.ERROR_REASON_DISK_LOW: grpc.StatusCode.RESOURCE_EXHAUSTED,
    _R.ERROR_REASON_STARTING: grpc.StatusCode.UNAVAILABLE,
    _R.ERROR_REASON_DRAINING: grpc.StatusCode.UNAVAILABLE,
    _R.ERROR_REASON_PEER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    _R.ERROR_REASON_TIMED_OUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    _R.ERROR_REASON_NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    _R.ERROR_REASON_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    _R.ERROR_REASON_SQL_ERROR: grpc.StatusCode.INVALID_ARGUMENT,
    _R.ERROR_REASON_SQL_NOT_ALLOWED: grpc.StatusCode.INVALID_ARGUMENT,
    _R.ERROR_REASON_SQL_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    _R.ERROR_REASON_INTERNAL: grpc.StatusCode.INTERNAL,
    _R.ERROR_REASON_SINK_AHEAD: grpc.StatusCode.FAILED_PRECONDITION,
    _R.ERROR_REASON_LOG_FAILED: grpc.StatusCode.UNAVAILABLE,
    _R.ERROR_REASON_STORE_DAMAGED: grpc.StatusCode.DATA_LOSS,
    _R.ERROR_REASON_CHAIN_BROKEN: grpc.StatusCode.FAILED_PRECONDITION,
    _R.ERROR_REASON_REINDEX_RUNNING: grpc.StatusCode.FAILED_PRECONDITION,
    _R.ERROR_REASON_UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    _R.ERROR_REASON_PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    _R.ERROR_REASON_QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    _R.ERROR_REASON_VERSION_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
}
"""Which status code a reason has."""

_WAITED_ALREADY = frozenset({_R.ERROR_REASON_PEER_UNAVAILABLE})
"""Reasons that have the code on which clients retry by themselves, although the service has waited in their place."""

_NEVER_RETRY = ("grpc-retry-pushback-ms", "-1")
"""What the trailers say to a gRPC library so that it does not try again."""


def reason_name(reason: ErrorReason.ValueType) -> str:
    """The reason as ErrorInfo says it: without the enum's prefix."""
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def to_status(error: ServiceError) -> status_pb2.Status:
    """The google.rpc.Status of an error: one ErrorInfo, and RetryInfo where the caller may simply try again later."""
    details = [error_details_pb2.ErrorInfo(reason=reason_name(error.reason), domain=DOMAIN, metadata=error.metadata)]
    retry = _retry_info(error)
    status = status_pb2.Status(code=STATUS_CODES[error.reason].value[0], message=shortened(error.message))
    for detail in [*details, *([retry] if retry else [])]:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _retry_info(error: ServiceError) -> error_details_pb2.RetryInfo | None:
    """When to try again; None where that would not help: the same query meets the same limit."""
    own_limit = error.reason == _R.ERROR_REASON_SQL_LIMIT and not error.retry_after_s
    if STATUS_CODES[error.reason] is not grpc.StatusCode.RESOURCE_EXHAUSTED or own_limit:
        return None
    delay = Duration()
    delay.FromNanoseconds(int((error.retry_after_s or _DEFAULT_RETRY_S) * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def trailing_metadata(error: ServiceError) -> tuple[tuple[str, str | bytes], ...]:
    """What the trailers of a failed call hold.

    The whole status; RetryInfo by itself, for clients that look only there; and that a gRPC library shall not try again by itself, where
    another try would take as long as this one did.
    """
    # The whole google.rpc.Status, in the trailer that gRPC libraries know by this name.
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", to_status(error).SerializeToString())]
    if retry := _retry_info(error):
        trailers.append(("google.rpc.retryinfo-bin", retry.SerializeToString()))
    if error.reason in _WAITED_ALREADY:
        trailers.append(_NEVER_RETRY)
    return tuple(trailers)


def shortened(message: str) -> str:
    """The message, cut where the trailers would outgrow what clients take."""
    # Cut by bytes, as trailers are limited by bytes; half a character at the end is dropped.
    raw = message.encode(errors="replace")
    return message if len(raw) <= MAX_ERROR_MESSAGE_BYTES else raw[:MAX_ERROR_MESSAGE_BYTES].decode(errors="ignore") + " ..."
