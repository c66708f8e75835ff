"""What a caller is told when the process has no file descriptor or no memory left: to come back, not that we are at fault."""

import errno

from google.protobuf.message import DecodeError, EncodeError

from treering.v1.error_pb2 import ErrorReason
from treering_runtime import open_files
from treering_runtime.errors import ServiceError

_RETRY_S = 5.0
_NO_THREAD = "can't start new thread"
_NO_MEMORY_TO_PARSE = "alloc failed"
"""In protobuf's words for a message that it has no memory to unfold; all others are of bytes that are no message."""


def exhausted(error: BaseException) -> ServiceError | None:
    """The error to answer with when this one says that the process is at a limit of the system; None when it says something else."""
    # ENFILE is the whole machine's limit, not ours; for the caller both mean to come back.
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return no_descriptor()
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return _overloaded("threads", "the service can start no further thread; give it more memory, or raise its limit (ulimit -u)")
    if _lacks_memory(error):
        return _overloaded("memory", "the service has no memory left for this; ask for less, or give the service more memory")
    return None


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, DecodeError):
        return _NO_MEMORY_TO_PARSE in str(error)
    # protobuf says of a message for whose bytes there is no memory only that it failed; no message of ours fails for another reason
    return isinstance(error, MemoryError | EncodeError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def no_descriptor() -> ServiceError:
    """The error to answer with when no further file or connection can be opened."""
    message = (
        f"the service can open no further file or connection: it may have {open_files.limit()} open; close connections, or raise its "
        "limit (ulimit -n), or that of the system (fs.file-max)"
    )
    return _overloaded("open_files", message)


def _overloaded(limit: str, message: str) -> ServiceError:
    return ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": limit}, retry_after_s=_RETRY_S)
