"""When a query of a user ends, and why it ended."""

import time
from dataclasses import dataclass

from treering.v1.error_pb2 import ErrorReason
from treering_runtime.admission import timed_out
from treering_runtime.errors import ServiceError


@dataclass(frozen=True)
class End:
    """When a query ends, on the clock of `time.monotonic`, and whose limit that is."""

    at: float
    by_caller: bool
    """True when it is the call's deadline, False when it is the query's own time."""

    @classmethod
    def of(cls, started: float, timeout_s: float, remaining_s: float | None) -> "End":
        """The nearer one of the query's own time and the call's deadline."""
        # Whose limit it is decides the words and the code of the error: one is answered by more time, the other by a narrower query.
        by_caller = remaining_s is not None and remaining_s < timeout_s
        return cls(started + (remaining_s if by_caller and remaining_s is not None else timeout_s), by_caller)

    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(self.at - time.monotonic(), 0.0)

    def reason(self) -> ServiceError:
        """Why a query ended without a last word."""
        # It ended before its time without a word: memory or processor time, by the operating system.
        if self.left() > 0:
            message = "the query was stopped because it needed more memory or processor time than it may have; narrow it"
            return ServiceError(ErrorReason.ERROR_REASON_SQL_LIMIT, message, metadata={"limit": "resources"})
        message = "the query took longer than it may; narrow it, for example by time, or give it more time"
        if self.by_caller:
            return timed_out(message)
        return ServiceError(ErrorReason.ERROR_REASON_SQL_LIMIT, message, metadata={"limit": "time"})
