"""What is known of a sink; delivery writes it, status, metrics, retention and the door read it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from treering.v1.error_pb2 import ErrorReason
from treering.v1.sink_pb2 import SinkProgress
from treering_runtime.errors import ServiceError


class SinkAhead(NamedTuple):
    """A sink holds records of a log that the log does not have: durable records were lost, and their offsets must not be reused.

    Args:
        sink: Name of the sink.
        log_id: The log.
        log_end_offset: Where the log ends.
        next_offset: How far the sink is.
    """

    sink: str
    log_id: int
    log_end_offset: int
    next_offset: int

    @property
    def message(self) -> str:
        """What is wrong and what to do."""
        return (
            f"sink {self.sink} holds log {self.log_id:016x} up to offset {self.next_offset}, but the log ends at {self.log_end_offset}: "
            "durable records were lost. Restore the log's files; or, to go on without those records, move the log's directory away, "
            "and a new log begins"
        )

    def error(self) -> ServiceError:
        """A new error for one who is refused because of it."""
        metadata = {"log_end_offset": str(self.log_end_offset), "next_offset": str(self.next_offset)}
        return ServiceError(ErrorReason.ERROR_REASON_SINK_AHEAD, self.message, metadata=metadata)


@dataclass(slots=True)
class SinkState:
    """The state of the delivery to one sink."""

    name: str
    address: str
    connected: bool = False
    last_error: str = ""
    progress: SinkProgress = field(default_factory=SinkProgress)
    ahead: SinkAhead | None = None
