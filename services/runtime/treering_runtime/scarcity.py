"""What a caller is told when the process has no file descriptor or no memory left: to come back, not that we are at fault."""

import errno

from treering.v1.error_pb2 import ErrorReason
from treering_runtime import open_files
from treering_runtime.errors import ServiceError

_RETRY_S = 5.0


def exhausted(error: BaseException) -> ServiceError | None:
    """The error to answer with when this one says that the process is at a limit of the system; None when it says something else."""
    # ENFILE is the whole machine's limit, not ours; for the caller both mean to come back.
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        message = f"the service has no file descriptor left, of {open_files.limit()}; close connections, or raise its limit: ulimit -n"
        return _overloaded("open_files", message)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return _overloaded("memory", "the service has no memory left for this; ask for less, or give the service more memory")
    return None


def _overloaded(limit: str, message: str) -> ServiceError:
    return ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": limit}, retry_after_s=_RETRY_S)
