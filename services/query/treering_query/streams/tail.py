"""TailLogs: records as they become visible.

A tail is a place in each log. What is older than the tail it reads alone, from where it begins to where the others are; then it takes what
the hub has found for it. A backlog is nothing but an earlier place to begin with. Of a reader that lags behind, places are kept and no
records, and when it lags too far behind, the oldest are skipped and counted. What was asked for by position is never skipped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.reading import filters
from treering_query.reading.places import PLACE, first_at
from treering_query.reading.records import stored_records
from treering_query.reading.slices import Slice, between, first_held, newest_first
from treering_query.streams.endless import patiently
from treering_query.streams.follower import StreamFollower
from treering_query.streams.hub import Hub
from treering_query.streams.tail_feed import TailFeed, TailMatches
from treering_query.streams.tail_news import WINDOW_OFFSETS
from treering_query.values.predicate import Predicate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.segment import LogRange
from treering_query.view.port import Records
from treering_query.view.snapshot import Snapshot


@dataclass(frozen=True)
class TailPlan:
    """A checked request. `begin` None = after `backlog` of the newest records."""

    predicate: Predicate
    backlog: int
    begin: Mapping[int, int] | None


def plan(request: pb.TailLogsRequest) -> TailPlan:
    """The request with its defaults.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    begin = {position.log_id: position.offset for position in request.start_positions}
    return TailPlan(filters.where(request.filter, most=limits.MAX_FOLLOWED_CONDITIONS), request.backlog, begin or None)


class Tail(StreamFollower[TailMatches, pb.TailLogsResponse]):
    """One tail.

    Args:
        store: Where the records are.
        hub: Who reads what is new.
        plan: What is wanted.
        heartbeat_s: Longest silence, seconds.
    """

    def __init__(self, store: Records, hub: Hub[TailMatches], plan: TailPlan, heartbeat_s: float = limits.TAIL_HEARTBEAT_S) -> None:
        super().__init__(store, hub, heartbeat_s)
        self._plan = plan
        self._live_from: dict[int, int] = {}
        self._taken = TailFeed(plan.predicate, self.next)
        self._skipped = 0

    async def begin(self) -> None:
        """Where the oldest wanted record may be."""
        with self.store.snapshot() as snapshot:
            # What is visible now is older. From here on records are live, and may be skipped for a reader that lags.
            self._live_from = {position.log_id: position.offset for position in snapshot.seen}
            if self._plan.begin is not None:
                # A log that the caller does not name is read from its first record on: by position nothing is left out.
                self.next |= dict.fromkeys(self._live_from, 0) | dict(self._plan.begin)
            else:
                self.next |= self._live_from
                if self._plan.backlog:
                    self.next |= await patiently(self.store, snapshot, self._backlog_begin)
        self.alone_until = self._live_from

    def _backlog_begin(self, snapshot: Snapshot) -> dict[int, int]:
        """Where the newest records begin, by log: arrival follows the offsets of a log."""
        begin: dict[int, int] = {}
        missing = self._plan.backlog
        for part in newest_first(snapshot, self._plan.predicate):
            # Newest slices first, so most of the store is never read.
            if not missing:
                break
            if part.hot and not snapshot.view.hot:
                continue
            sql = f"""select log_id, min("offset") as first, count(*) as n from (
                select log_id, "offset" from {part.records} where {self._plan.predicate.sql}
                order by arrival_time desc, "offset" desc limit {missing}) group by log_id"""
            for row in part.query(snapshot, sql, self._plan.predicate.parameters).to_pylist():
                begin[row["log_id"]] = min(row["first"], begin.get(row["log_id"], row["first"]))
                missing -= row["n"]
        return begin

    def sign_of_life(self) -> pb.TailLogsResponse:
        """A response without records."""
        return self._response(())

    def new_feed(self) -> TailFeed:
        """An empty one; of the one before it, what was skipped still counts."""
        # The feed before may have been lost with a count that nobody has been told.
        self._skipped += self._taken.skipped
        self._taken = TailFeed(self._plan.predicate, self.next)
        return self._taken

    async def take(self) -> Sequence[pb.TailLogsResponse]:
        """The oldest that waits."""
        if self._taken.is_empty():
            self.moved_to(self._taken.reached)
            return [self._response(())] if self._taken.skipped else ()
        found = self._taken.take()
        head = found[: limits.TAIL_MESSAGE_RECORDS]
        # Shared with all tails: each record is made a message once.
        stored = head.shared.first(head.rows, limits.MAX_ANSWER_RECORD_BYTES)
        if stored is None:
            stored = await self._read_again(head)
        # Records that have expired meanwhile are passed over, not waited for.
        is_whole = not stored or stored[-1].position.offset == head.offsets[-1]
        rest = found[len(head) :] if is_whole else found.at_or_after(stored[-1].position.offset + 1)
        # Before the place moves: the two together say what is left to send.
        self._taken.put_back(rest)
        # Only as far as this response goes: a caller that resumes from its place misses nothing.
        self.moved_to({found.new.log_id: int(rest.offsets[0]) if len(rest) else found.new.end_offset})
        if self._taken.is_empty():
            self.moved_to(self._taken.reached)
        return [self._response(stored)]

    async def _read_again(self, head: TailMatches) -> list[StoredRecord]:
        """As many of the records as fit into an answer, where they are not shared any more; none when they have expired."""
        with self.store.snapshot() as snapshot:
            return await patiently(self.store, snapshot, lambda moment: _at(moment, head))

    async def read_alone(self) -> Sequence[pb.TailLogsResponse]:
        """The next records of the first log that has some."""
        with self.store.snapshot() as snapshot:
            table, self._skipped = await patiently(self.store, snapshot, self._read)
        return [self._response(stored_records(table))] if table.num_rows or self._skipped else ()

    def _read(self, snapshot: Snapshot) -> tuple[pa.Table, int]:
        for log_id, end in self.alone_until.items():
            begin = self.next.get(log_id, 0)
            # One log after the other, each from its own place; the order between logs means nothing.
            if begin < end:
                table, skipped, self.next[log_id] = self._read_log(snapshot, LogRange(log_id, begin, end))
                if table.num_rows or skipped:
                    return table, self._skipped + skipped
        return LOGS_SCHEMA.empty_table(), self._skipped

    def _read_log(self, snapshot: Snapshot, wanted: LogRange) -> tuple[pa.Table, int, int]:
        """Some records, how many were skipped before them, and where to go on."""
        begin = first_held(snapshot, wanted)
        # All of it has expired.
        if begin == wanted.end_offset:
            return LOGS_SCHEMA.empty_table(), 0, begin
        live = begin >= self._live_from.get(wanted.log_id, 0)
        # What may be skipped is looked at as a whole, to skip the oldest; the rest in windows, to hold no turn for long.
        end = wanted.end_offset if live else min(wanted.end_offset, begin + WINDOW_OFFSETS)
        part = between(snapshot, wanted.log_id, begin, end)
        places, skipped = self._places(snapshot, part, self._values(wanted.log_id, begin, end), live=live)
        if not places.num_rows:
            return LOGS_SCHEMA.empty_table(), skipped, end
        # A message of gRPC has a limit; what does not fit is read again from its offset.
        chosen = first_at(snapshot, part, places.slice(0, limits.TAIL_MESSAGE_RECORDS), limits.MAX_ANSWER_RECORD_BYTES)
        last = chosen.column("offset")[-1].as_py()
        return chosen, skipped, end if last == places.column("offset")[-1].as_py() else last + 1

    def _places(self, snapshot: Snapshot, part: Slice, values: dict[str, object], *, live: bool) -> tuple[pa.Table, int]:
        """Places of selected records, ascending, the newest of what is live, else the first; and how many were skipped before them."""
        if not live:
            sql = f'select {PLACE} from {part.records} where {self._range()} order by "offset" limit {limits.TAIL_MESSAGE_RECORDS + 1}'
            return part.query(snapshot, sql, values), 0
        sql = f"""select {PLACE}, count(*) over () as total from {part.records} where {self._range()}
            order by "offset" desc limit {limits.MAX_TAIL_BEHIND_RECORDS}"""
        found = part.query(snapshot, sql, values)
        total = found.column("total")[0].as_py() if found.num_rows else 0
        return found.sort_by("offset"), total - found.num_rows

    def _range(self) -> str:
        return f'log_id = $log::ubigint and "offset" >= $begin::ubigint and "offset" < $end::ubigint and {self._plan.predicate.sql}'

    def _values(self, log_id: int, begin: int, end: int) -> dict[str, object]:
        return {**self._plan.predicate.parameters, "log": log_id, "begin": begin, "end": end}

    def _response(self, stored: Sequence[StoredRecord]) -> pb.TailLogsResponse:
        # Told once, with the next response, whatever it holds.
        skipped, self._skipped = self._skipped + self._taken.skipped, 0
        self._taken.skipped = 0
        return pb.TailLogsResponse(records=stored, resume_from=self.positions(), skipped_count=skipped)


def _at(snapshot: Snapshot, head: TailMatches) -> list[StoredRecord]:
    part = between(snapshot, head.new.log_id, int(head.offsets[0]), int(head.offsets[-1]) + 1)
    return stored_records(first_at(snapshot, part, head.places(), limits.MAX_ANSWER_RECORD_BYTES))
