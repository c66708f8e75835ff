"""What is believed of a sink: arithmetic, not its word.

Records are deleted from the log once every sink claims to have them safe, so a claim needs a proof. The proof is the link of the log's
chain at the sink's place: it follows from every record below and from secrets of the log's files, so whoever gives it was sent the records
up to there. It is compared at the start of a delivery with the log's own link, and later with those of the ranges that were sent.

What cannot be proved is a claim beyond the end of the log: the link there, if it is true, is of records that the log has lost. An honest
sink of a log that was restored from an old copy looks exactly like a sink that lies. The offsets must not be given out again either way,
so such a claim stops uploads (`SinkAhead.stops_uploads`) until an operator has decided.
"""

from collections import deque

import structlog

from treering.v1.sink_pb2 import SinkProgress
from treering_ingest.durable_log import DurableLog
from treering_ingest.sink_state import SinkAhead

_LOG = structlog.get_logger()


class SinkFault(Exception):  # noqa: N818 - it is the sink's fault, whatever its form
    """The delivery to a sink cannot go on as it is; it is tried again."""


class SinkVersionError(SinkFault):
    """The sink speaks another version of the contract; the message says which, and what to do."""


class SinkAheadError(SinkFault):
    """See SinkAhead."""

    def __init__(self, ahead: SinkAhead) -> None:
        super().__init__(ahead.message)
        self.ahead = ahead


class Claims:
    """Judges the progress that one sink reports in one delivery.

    Args:
        sink: Name of the sink.
        log: The log that is delivered. A claim of what lies below its start deletes nothing, so it needs no proof.
        unlinked_below: Up to here a sink may be that has no link: see `DeliveredNote.unlinked_below`.
    """

    def __init__(self, sink: str, log: DurableLog, unlinked_below: int) -> None:
        self._sink = sink
        self._log = log
        self._unlinked_below = unlinked_below
        # Ends of ranges that were sent and that the sink may still name, with the links there. Bounded by the window of the delivery.
        self._links: deque[tuple[int, int | None]] = deque()
        self._end = 0

    def check_within(self, progress: SinkProgress) -> None:
        """Checks the first progress against the end of the log.

        Raises:
            SinkAheadError: It claims records that the log does not have.
        """
        # All three ends: a sink may not claim either to show, or to have safe, what the log does not have.
        end, furthest = self._log.durable_offset, _furthest(progress)
        if furthest > end:
            raise SinkAheadError(SinkAhead.beyond(self._sink, self._log.log_id, end, furthest, at_start=True))

    def begin(self, progress: SinkProgress, link: int | None) -> SinkProgress:
        """What of the first progress is believed; `link` is the log's own at the sink's place, None where the log has none.

        Raises:
            SinkAheadError: The sink holds another history, or does not prove what it claims.
        """
        place = progress.next_offset
        self._links, self._end = deque([(place, link)]), place
        # Below the start of the log nothing is left that a claim could delete, so no link is asked for.
        if not progress.HasField("link") and place > self._log.start_offset:
            if place > self._unlinked_below:
                raise self._unproved(place, "without the link of the log's chain there")
            _LOG.warning("the sink gives no link; it is delivered to, and nothing is deleted until it does", sink=self._sink, offset=place)
        return self.believed(progress)

    def sending(self, end_offset: int, link: int) -> None:
        """Notes a range before it is sent."""
        self._links.append((end_offset, link))
        self._end = end_offset

    def believed(self, progress: SinkProgress) -> SinkProgress:
        """What of a progress is believed: all of it with the link of its place; without one, nothing that deletes.

        Raises:
            SinkAheadError: The sink claims what it was not sent, or holds another history.
        """
        # Before anything of the progress is used: each of these checks stands between a false claim and the deletion of records.
        place, furthest = progress.next_offset, _furthest(progress)
        if place > self._end:
            raise SinkAheadError(SinkAhead.beyond(self._sink, self._log.log_id, self._end, place, at_start=False))
        # The link vouches for what is below the sink's place and for nothing behind it.
        if furthest > place:
            raise self._unproved(furthest, f"but asks for what follows offset {place}")
        if progress.HasField("link"):
            # a link that the log no longer has cannot be compared, and what lies below it is deleted already
            if progress.link != self._link_at(place) and place > self._log.start_offset:
                raise self._unproved(place, "with another link than the log's: another history")
            return progress
        # A copy: the message belongs to the answer that gRPC has parsed, and status shows what is believed, not what came.
        safe = SinkProgress()
        safe.CopyFrom(progress)
        safe.releasable_end_offset = min(progress.releasable_end_offset, self._log.start_offset)
        return safe

    def _link_at(self, place: int) -> int | None:
        """The link of a place where a range began or ended; those of earlier places are forgotten."""
        # The last one at or below the place stays: a sink may report the same place again and again.
        while len(self._links) > 1 and self._links[1][0] <= place:
            self._links.popleft()
        offset, link = self._links[0]
        # Inside a range there is no link to compare with, so a claim there is not proved.
        return link if offset == place else None

    def _unproved(self, offset: int, how: str) -> SinkAheadError:
        return SinkAheadError(SinkAhead.unproved(self._sink, self._log.log_id, self._end, offset, how))


def _furthest(progress: SinkProgress) -> int:
    return max(progress.next_offset, progress.visible_end_offset, progress.releasable_end_offset)
