"""What an answer costs: what its statements read, and where the time went."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from treering.v1 import query_pb2 as pb
from treering_query.values.segment import Segment
from treering_query.view import hot
from treering_query.view.snapshot import Snapshot


class Timing:
    """The time of one question, from when this is made: waited, worked, or the caller's. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._waited = self._of_caller = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What lasts as long as this is a wait for positions or for a turn."""
        began = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - began

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile the caller of a stream takes what was sent: that is the time of nobody here."""
        began = self._clock()
        try:
            yield
        finally:
            self._of_caller += self._clock() - began

    def cost(self, snapshot: Snapshot) -> pb.QueryCost:
        """What the question has cost by now; `snapshot` is what it was asked of."""
        return self._cost(snapshot, snapshot.read_segments.values(), reads_hot=snapshot.has_read_hot)

    def cost_of_all(self, snapshot: Snapshot, *, reads_logs: bool) -> pb.QueryCost:
        """The same where another process reads: everything, or nothing."""
        return self._cost(snapshot, snapshot.view.segments if reads_logs else (), reads_hot=reads_logs)

    def _cost(self, snapshot: Snapshot, segments: Iterable[Segment], *, reads_hot: bool) -> pb.QueryCost:
        read = list(segments)
        waited = self._waited + snapshot.waited_s
        return pb.QueryCost(
            rows_read=sum(segment.row_count for segment in read) + (hot.total_rows(snapshot.view.hot) if reads_hot else 0),
            bytes_read=sum(segment.size_bytes for segment in read),
            segments_read=len(read),
            segments_skipped=len(snapshot.view.segments) - len(read),
            wait_ms=round(waited * 1000),
            work_ms=max(0, round((self._clock() - self._began - waited - self._of_caller) * 1000)),
        )
