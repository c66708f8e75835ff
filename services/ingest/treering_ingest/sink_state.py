"""What is known of a sink; delivery writes it, status, metrics, retention and the door read it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from treering.v1.error_pb2 import ErrorReason
from treering.v1.sink_pb2 import SinkProgress
from treering_runtime.errors import ServiceError


class SinkAhead(NamedTuple):
    """A sink claims records that were never delivered to it. It is cut off, and nothing is deleted on its word, also not on an earlier one.

    Claimed beyond the end of the log at the start of a delivery, that may be true: then the log lost durable records, and their offsets
    must not be given out again, or a sink takes what gets them for what it holds. So uploads are refused. Any other claim harms only the
    sink itself, and uploads go on.

    Args:
        sink: Name of the sink.
        log_end_offset: Where the log, or what was sent of it, ends.
        claimed_offset: How far the sink claims to be.
        stops_uploads: Whether the claim may be true.
        message: What is wrong and what to do.
    """

    sink: str
    log_end_offset: int
    claimed_offset: int
    stops_uploads: bool
    message: str

    @classmethod
    def beyond(cls, sink: str, log_id: int, end: int, claimed: int, *, at_start: bool) -> "SinkAhead":
        """A claim of what the log does not have, or, in the middle of a delivery, of what was not sent yet."""
        message = (
            f"SINK_AHEAD: sink {sink} claims log {log_id} up to offset {claimed}, but it was delivered up to "
            f"{end} only. It gets nothing more, and the log keeps everything. If the log lost records, restore its "
            "files; if the claim is false, give the sink its data directory from before"
        )
        # In the middle of a delivery it cannot be true: no sink has what was not sent yet. At the start the log may have lost its end.
        return cls(sink, end, claimed, at_start, message)

    @classmethod
    def unproved(cls, sink: str, log_id: int, end: int, claimed: int, how: str) -> "SinkAhead":
        """A claim within the log that the sink does not prove; `how` it claims, in words."""
        message = (
            f"CHAIN_BROKEN: sink {sink} claims log {log_id} up to offset {claimed}, {how}. It gets nothing more, and the log keeps "
            "everything; uploads go on. Restore the log's files, or this sink's data directory, from the time before they parted; if the "
            "log still begins at offset 0, the sink can begin anew with an empty directory. A sink of an older version must be upgraded"
        )
        # Never stops uploads: the log has records there, so no offset can be given out a second time.
        return cls(sink, end, claimed, False, message)

    def error(self) -> ServiceError:
        """A new error for one who is refused because of it."""
        metadata = {"log_end_offset": str(self.log_end_offset), "next_offset": str(self.claimed_offset)}
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
    refusing: bool = False
    """Whether the sink refuses the log, or is of another version."""

    @property
    def releasable_end(self) -> int:
        """Everything below is safe in the sink, as far as it proved that; nothing while it is cut off, whatever it proved before."""
        return 0 if self.ahead else self.progress.releasable_end_offset

    def cut_off(self, ahead: SinkAhead) -> None:
        """Notes why the sink is cut off. A claim that stops uploads is not made undone by another false one."""
        if ahead.stops_uploads or not (self.ahead and self.ahead.stops_uploads):
            self.ahead = ahead
