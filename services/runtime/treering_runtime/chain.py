"""The link of the log's chain that a sink holds: what a delivery must continue.

A link stands for all of the log before an offset. The sink keeps the link of its place in the transaction of its progress, and takes a
range only if the range begins with that link. So another history under the same log id (a log restored from an old copy, offsets given
out twice) and mixed-up offsets are refused. The check is arithmetic against mix-ups; it does not tell who delivers.
"""

from collections.abc import Mapping

import structlog

from treering.v1.error_pb2 import ErrorReason
from treering.v1.sink_pb2 import DeliverLogsRequest
from treering_runtime.errors import ServiceError, invalid_field

_LOG = structlog.get_logger()


class Chain:
    """Links by log: of the place where the sink stands, and of the end of the range that it is taking. Belongs to one event loop."""

    def __init__(self) -> None:
        # At most two links a log: where the sink stands, and the end of the range that it takes.
        self._links: dict[int, dict[int, int]] = {}

    def at(self, log_id: int, offset: int) -> int | None:
        """The link at an offset; None when it is not known: a log that is new here, a directory of an earlier version, behind a hole."""
        return self._links.get(log_id, {}).get(offset)

    def of(self, ends: Mapping[int, int]) -> dict[int, int]:
        """The links of several logs at given offsets, as far as they are known."""
        return {log_id: link for log_id, end in ends.items() if (link := self.at(log_id, end)) is not None}

    def restore(self, log_id: int, offset: int, link: int) -> None:
        """Sets what was kept with the progress."""
        self._links[log_id] = {offset: link}

    def forget(self, log_id: int) -> None:
        """Forgets a log of which nothing is held."""
        self._links.pop(log_id, None)

    def join(self, log_id: int, next_offset: int, request: DeliverLogsRequest) -> None:
        """Checks that a range continues what is held at `next_offset`, and notes its link. Frames must be there.

        Raises:
            ServiceError: INVALID_ARGUMENT without links, or where the last frame is not the end of the range; SEQUENCE_GAP where it begins
                elsewhere; CHAIN_BROKEN where it is another history.
        """
        # Without links nobody can tell of which history these frames are.
        if not request.HasField("links"):
            raise invalid_field("links", "a delivery of frames must hold it")
        first, last = request.frames[0], request.frames[-1]
        end = last.first_offset + last.record_count
        if any(frame.first_offset + frame.record_count > end for frame in request.frames):
            # the link would be noted of a place that is not the range's end, and the next range would be taken on trust
            raise invalid_field("frames", "are not in the order of the log; deliver them in order")
        known = self.at(log_id, next_offset)
        if known is None and not next_offset:
            pass  # a log begins here: there is nothing before it
        # Once: the end of this range has a link, so the next range is compared again.
        elif known is None:
            _LOG.warning("no link is known here; a delivery is taken on trust, once", log_id=str(log_id), offset=next_offset)
        # The link of `before` is that of the range's first offset: it proves nothing about frames that begin elsewhere.
        elif first.first_offset != next_offset:
            raise sequence_gap(first.first_offset, next_offset)
        elif known != request.links.before:
            raise _broken(log_id, next_offset)
        # before the sink takes the range: whatever it commits of it finds the link of its end here
        # The old link stays beside the new one: a delivery that is cut off before it is taken begins here again.
        held = {} if known is None else {next_offset: known}
        self._links[log_id] = held | {end: request.links.after}


def sequence_gap(begin: int, expected: int) -> ServiceError:
    """Records would be missing, or come twice."""
    message = f"frames begin at offset {begin}, expected {expected}; deliver from next_offset"
    return ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_GAP, message, metadata={"expected_sequence": str(expected)})


def _broken(log_id: int, offset: int) -> ServiceError:
    message = (
        f"what is delivered of log {log_id} does not continue what is held below offset {offset}: another history of this log. "
        "Nothing was taken. Restore the log's files, or this sink's data directory, from the time before they parted"
    )
    return ServiceError(ErrorReason.ERROR_REASON_CHAIN_BROKEN, message, metadata={"offset": str(offset)})
