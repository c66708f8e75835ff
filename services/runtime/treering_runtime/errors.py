"""Errors that a caller is meant to see: a reason from the contract, words for people, metadata for programs."""

from collections.abc import Mapping

from treering.v1.error_pb2 import ErrorReason


class ServiceError(Exception):
    """A call cannot be served, and the caller is told why.

    Domain modules raise it, or a subclass of their own; `boundary` turns it into a google.rpc.Status.

    Args:
        reason: An `ErrorReason` of the contract; decides the status code.
        message: What is wrong and what to do about it, for people. Never holds a payload.
        metadata: What the reason's comment in `error.proto` names, for programs.
        retry_after_s: For RESOURCE_EXHAUSTED: when to try again, seconds.
    """

    def __init__(
        self,
        reason: ErrorReason.ValueType,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        # A copy, as the caller's mapping may change while the error travels.
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s


def invalid_field(field: str, problem: str, *, limit: int | None = None) -> ServiceError:
    """The error for a field of a request whose value cannot be served; `problem` also says what to do."""
    metadata = {"field": field} | ({"limit": str(limit)} if limit is not None else {})
    return ServiceError(ErrorReason.ERROR_REASON_INVALID_FIELD, f"{field}: {problem}", metadata=metadata)


def overloaded(limit: str, message: str, retry_after_s: float = 1.0) -> ServiceError:
    """The error of a call that finds no room, or loses it: which limit was reached, and when to try again, seconds."""
    return ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": limit}, retry_after_s=retry_after_s)


def not_implemented(what: str) -> ServiceError:
    """The error for a part of the contract that this server does not serve yet."""
    return ServiceError(ErrorReason.ERROR_REASON_NOT_IMPLEMENTED, f"{what} is not served by this version of Treering")


class StartError(Exception):
    """A service cannot start; the message says what is wrong and what to do. Ends the process with `exit_code` and no traceback."""

    exit_code = 1
    """Tells whoever started the process the reasons that it can do something about; the words are for people."""


class AddressTakenError(StartError):
    """Something else listens there."""

    exit_code = 3


class DirectoryInUseError(StartError):
    """Another process has the data directory."""

    exit_code = 4


class StopError(Exception):
    """A running service cannot go on; the message says why and what to do. Ends the process with exit code 1 and no traceback."""
