"""WatchPatterns: patterns that were never seen before, announced by their first record.

The store keeps with each pattern the position of its first record, and the catalog keeps it over restarts: what is new since a position
is a look at the pattern table. So a watch is, like a tail, a place in each log that moves, and resuming is nothing special: what came
while the client was away, or while this process was down, lies behind its place. Of a client that reads slowly few announcements are
kept; the watch reads again what did not fit.

A pattern all of whose records have expired is forgotten, and is new again when it comes back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.reading import filters
from treering_query.reading.slices import Slice
from treering_query.streams.endless import patiently
from treering_query.streams.follower import StreamFollower
from treering_query.streams.hub import Hub
from treering_query.streams.watch_feed import Announcement, WatchFeed
from treering_query.streams.watch_news import WatchReader
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.port import Records
from treering_query.view.snapshot import Snapshot


@dataclass(frozen=True)
class WatchPlan:
    """A checked request. `begin` None = what has arrived since `since`, nanoseconds since 1970; None = from now on."""

    predicate: Predicate
    begin: Mapping[int, int] | None
    since: int | None


def plan(request: pb.WatchPatternsRequest) -> WatchPlan:
    """The request with its defaults.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    begin = {position.log_id: position.offset for position in request.start_positions}
    since = request.since_unix_nano if request.HasField("since_unix_nano") else None
    return WatchPlan(filters.where(request.filter, most=limits.MAX_FOLLOWED_CONDITIONS), begin or None, since)


class Watch(StreamFollower[Announcement, pb.WatchPatternsResponse]):
    """One watch; its first response tells where it begins.

    Args:
        store: Where patterns and records are.
        hub: Who reads what is new.
        plan: What is wanted.
        heartbeat_s: Longest silence, seconds.
    """

    greets: ClassVar[bool] = True

    def __init__(self, store: Records, hub: Hub[Announcement], plan: WatchPlan, heartbeat_s: float = limits.TAIL_HEARTBEAT_S) -> None:
        super().__init__(store, hub, heartbeat_s)
        self._plan = plan
        self._taken = WatchFeed(plan.predicate, self.next)
        self._reader = WatchReader()

    async def begin(self) -> None:
        """Where the oldest wanted pattern may be."""
        with self.store.snapshot() as snapshot:
            self.alone_until = {position.log_id: position.offset for position in snapshot.seen}
            if self._plan.begin is not None:
                self.next |= self._plan.begin
                return
            self.next |= self.alone_until
            if self._plan.since is not None:
                self.next |= await patiently(self.store, snapshot, partial(_arrived_since, self._plan.since))

    def sign_of_life(self) -> pb.WatchPatternsResponse:
        """A response without a pattern."""
        return pb.WatchPatternsResponse(resume_from=self.positions())

    def new_feed(self) -> WatchFeed:
        """An empty one."""
        self._taken = WatchFeed(self._plan.predicate, self.next)
        return self._taken

    async def take(self) -> Sequence[pb.WatchPatternsResponse]:
        """All that waits."""
        responses = [self._announced(each) for each in self._taken.take_all()]
        # After the announcements: their own places are never beyond it.
        self.moved_to(self._taken.reached)
        return responses

    async def read_alone(self) -> Sequence[pb.WatchPatternsResponse]:
        """Some announcements of the first log that has some."""
        # One log a step; `_step` comes again while there is one.
        log_id, end = next((log_id, end) for log_id, end in self.alone_until.items() if self.next.get(log_id, 0) < end)
        new = LogRange(log_id, self.next.get(log_id, 0), end)
        with self.store.snapshot() as snapshot:
            # The same pattern table as at its last full read: no pattern can be new.
            if self._reader.has_nothing(snapshot):
                self.moved_to(self.alone_until)
                return ()
            reached, (found,) = await patiently(self.store, snapshot, lambda moment: self._reader.read(moment, new, [self._plan.predicate]))
            responses = [self._announced(each) for each in found]
            # After the announcements of this look: the place must not pass one that was not sent.
            self.moved_to({log_id: reached})
            if all(self.next.get(position.log_id, 0) >= position.offset for position in snapshot.seen):
                self._reader.finished(snapshot)
        return responses

    def _announced(self, each: Announcement) -> pb.WatchPatternsResponse:
        # With each response: a caller that is cut off here resumes behind what it has got.
        self.next[each.log_id] = each.offset + 1
        return pb.WatchPatternsResponse(pattern=each.pattern, first_record=each.first_record, resume_from=self.positions())


def _arrived_since(since: int, snapshot: Snapshot) -> dict[int, int]:
    """The first offset of each log that arrived at or after a time, nanoseconds since 1970."""
    # Whole segments are passed over by their newest arrival, without a look into them.
    segments = (segment for segment in snapshot.segments() if segment.last_arrival_time >= since)
    part = Slice(tuple(segments), hot=True)
    sql = f"""select log_id, min("offset") as first from {part.records}
        where arrival_time >= make_timestamp_ns($since::bigint) group by log_id"""
    return {row["log_id"]: row["first"] for row in part.query(snapshot, sql, {"since": since}).to_pylist()}
