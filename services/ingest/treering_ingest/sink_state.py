"""What is known of a sink; delivery writes it, status, metrics, retention and the door read it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from treering.v1.sink_pb2 import SinkProgress


class SinkAhead(NamedTuple):
    """A sink claims records that were never delivered to it. It is cut off; the log is the one to believe, and uploads go on.

    Args:
        sink: Name of the sink.
        log_id: The log.
        log_end_offset: Where the log, or what was sent of it, ends.
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
            f"SINK_AHEAD: sink {self.sink} claims log {self.log_id:016x} up to offset {self.next_offset}, but it was delivered up to "
            f"{self.log_end_offset} only. It gets nothing more; the log keeps everything for it, and uploads go on. Restore the sink's "
            "data directory from before, or give the sink an empty one: the log delivers what it has"
        )


@dataclass(slots=True)
class SinkState:
    """The state of the delivery to one sink."""

    name: str
    address: str
    connected: bool = False
    last_error: str = ""
    progress: SinkProgress = field(default_factory=SinkProgress)
    ahead: SinkAhead | None = None
