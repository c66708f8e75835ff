"""What is known of a sink; delivery writes it, status, metrics, retention and the door read it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from treering.v1.error_pb2 import ErrorReason
from treering.v1.sink_pb2 import SinkProgress
from treering_runtime.errors import ServiceError


class SinkAhead(NamedTuple):
    """A sink claims records that were never delivered to it. It is cut off.

    At the start of a delivery that may be true: then the log lost durable records, and their offsets must not be given out again, or what
    gets them is deleted as safe in the sinks. So uploads are refused. In the middle of one it cannot be true, and uploads go on.

    Args:
        sink: Name of the sink.
        log_id: The log.
        log_end_offset: Where the log, or what was sent of it, ends.
        next_offset: How far the sink is.
        at_start: Whether it was claimed at the start of a delivery.
    """

    sink: str
    log_id: int
    log_end_offset: int
    next_offset: int
    at_start: bool

    @property
    def message(self) -> str:
        """What is wrong and what to do."""
        return (
            f"SINK_AHEAD: sink {self.sink} claims log {self.log_id:016x} up to offset {self.next_offset}, but it was delivered up to "
            f"{self.log_end_offset} only. It gets nothing more, and the log keeps everything for it. If the log lost records, restore its "
            "files; if the claim is false, give the sink its data directory from before"
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
