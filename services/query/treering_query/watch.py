"""WatchPatterns: patterns that were never seen before, announced by their first record.

The store keeps with each pattern the position of its first record, and the catalog keeps it over restarts: what is new since a position
is a look at the pattern table. So a watch is, like a tail, a place in each log and one loop, and resuming is nothing special: what came
while the client was away, or while this process was down, lies behind its place. Nothing is gathered between two looks, so that a slow
client costs no memory, and a look is free while the pattern table is the same.

A pattern all of whose records have expired is forgotten, and is new again when it comes back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import Position, StoredRecord
from treering_query import filters, limits
from treering_query.endless import patiently, refuse_when_draining
from treering_query.filters import Predicate
from treering_query.records import stored_records, within_bytes
from treering_query.search.searcher import Records
from treering_query.slices import Slice, between
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot
from treering_query.tail import Pace
from treering_runtime.errors import invalid_field

_AT_ONCE = 256
"""Patterns of one look: a whole new fleet comes in many looks, and no watch holds more."""

_NORMAL_PACE = Pace()

_NEW = f"""
select pattern_id, service, text, example, template_id, first_offset from _patterns
where first_log_id = $log::ubigint and first_offset >= $begin::ubigint and first_offset < $end::ubigint
order by first_offset limit {_AT_ONCE}
"""

_COUNTS = """
select pattern_id, severity, sum(count)::bigint as count, epoch_ns(min(first_time)) as first, epoch_ns(max(last_time)) as last
from pattern_counts where pattern_id in (select unnest($ids::ubigint[])) group by pattern_id, severity
"""


@dataclass(frozen=True)
class Plan:
    """A checked request. `begin` None = what has arrived since `since`, nanoseconds since 1970; 0 = from now on."""

    predicate: Predicate
    begin: Mapping[int, int] | None
    since: int


def plan(request: pb.WatchPatternsRequest) -> Plan:
    """Checks a request.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    if request.since_unix_nano > limits.MAX_TIME_UNIX_NANO:
        raise invalid_field("since_unix_nano", "after 2262-04-11; times are nanoseconds since 1970")
    begin = {position.log_id: position.offset for position in getattr(request, "from")}
    return Plan(filters.where(request.filter), begin or None, request.since_unix_nano)


class Watch:
    """One watch, for one event loop.

    Args:
        store: Where patterns and records are.
        plan: What is wanted.
        pace: How often to look and to show life.
    """

    def __init__(self, store: Records, plan: Plan, pace: Pace = _NORMAL_PACE) -> None:
        self._store = store
        self._plan = plan
        self._pace = pace
        self._next: dict[int, int] = {}
        self._looked_at: tuple[pa.Table, ...] = ()

    async def run(self) -> AsyncIterator[pb.WatchPatternsResponse]:
        """Responses until the caller goes away or the service stops; the first one tells where the watch begins."""
        await self._begin()
        yield self._sign_of_life()
        said = time.monotonic()
        while True:
            refuse_when_draining(self._store.board)
            version = self._store.board.version
            for response in await self._look():
                yield response
                said = time.monotonic()
            if time.monotonic() - said >= self._pace.heartbeat_s:
                yield self._sign_of_life()
                said = time.monotonic()
            if self._caught_up():
                await asyncio.sleep(self._pace.pause_s)
                await self._store.board.wait_change(version, max(0.0, said + self._pace.heartbeat_s - time.monotonic()))

    async def _begin(self) -> None:
        if self._plan.begin is not None:
            self._next = dict(self._plan.begin)
            return
        with self._store.snapshot() as snapshot:
            self._next = {position.log_id: position.offset for position in snapshot.seen}
            if self._plan.since:
                self._next |= await patiently(self._store, snapshot, self._arrived_since)

    def _arrived_since(self, snapshot: Snapshot) -> dict[int, int]:
        """The first offset of each log that arrived at or after the time of the plan."""
        segments = (segment for segment in snapshot.segments() if segment.last_arrival_time >= self._plan.since)
        part = Slice(tuple(segments), hot=True)
        sql = f"""select log_id, min("offset") as first from {part.records}
            where arrival_time >= make_timestamp_ns($since::bigint) group by log_id"""
        return {row["log_id"]: row["first"] for row in part.query(snapshot, sql, {"since": self._plan.since}).to_pylist()}

    async def _look(self) -> Sequence[pb.WatchPatternsResponse]:
        """Some announcements; moves the place past them."""
        with self._store.snapshot() as snapshot:
            if snapshot.view.patterns is self._looked_at:
                for position in snapshot.seen:
                    self._next[position.log_id] = max(position.offset, self._next.get(position.log_id, 0))
                return ()
            responses = await patiently(self._store, snapshot, self._read)
            if not self._behind(snapshot.seen):
                self._looked_at = snapshot.view.patterns
            return responses

    def _read(self, snapshot: Snapshot) -> Sequence[pb.WatchPatternsResponse]:
        for position in snapshot.seen:
            begin = self._next.setdefault(position.log_id, 0)
            if begin < position.offset and (responses := self._announcements(snapshot, position.log_id, begin, position.offset)):
                return responses
        return ()

    def _announcements(self, snapshot: Snapshot, log_id: int, begin: int, end: int) -> Sequence[pb.WatchPatternsResponse]:
        """Some patterns whose first record is in a range of one log, by offset."""
        found = snapshot.query(_NEW, {"log": log_id, "begin": begin, "end": end}).to_pylist()
        end = end if len(found) < _AT_ONCE else found[-1]["first_offset"] + 1
        records, end = self._first_records(snapshot, log_id, [row["first_offset"] for row in found], end)
        patterns = _with_counts(snapshot, [pb.Pattern(**{name: row[name] for name in row if name != "first_offset"}) for row in found])
        responses = []
        for row, pattern in zip(found, patterns, strict=True):
            offset = row["first_offset"]
            if offset < end and self._wanted(pattern, offset, records):
                self._next[log_id] = offset + 1
                response = pb.WatchPatternsResponse(pattern=pattern, first_record=records.get(offset), resume_from=self._positions())
                responses.append(response)
        self._next[log_id] = end
        return responses

    def _first_records(
        self, snapshot: Snapshot, log_id: int, offsets: Sequence[int], end: int
    ) -> tuple[Mapping[int, StoredRecord | None], int]:
        """The records at some offsets, None for one that the filter leaves out; and where what fits into an answer ends."""
        if not offsets:
            return {}, end
        part = between(snapshot, log_id, offsets[0], offsets[-1] + 1)
        sql = f"""select *, coalesce({self._plan.predicate.sql}, false) as selected from {part.records}
            where log_id = $log::ubigint and "offset" in (select unnest($offsets::ubigint[])) order by "offset" """
        table = part.query(snapshot, sql, {**self._plan.predicate.parameters, "log": log_id, "offsets": list(offsets)})
        fits = within_bytes(table, limits.MAX_ANSWER_RECORD_BYTES)
        if fits.num_rows < table.num_rows:
            end = table.column("offset")[fits.num_rows].as_py()
        stored = stored_records(fits.select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA))
        chosen = fits.column("selected").to_pylist()
        return {record.position.offset: record if keep else None for record, keep in zip(stored, chosen, strict=True)}, end

    def _wanted(self, pattern: pb.Pattern, offset: int, records: Mapping[int, StoredRecord | None]) -> bool:
        """Whether the filter selects a pattern's first record; of one whose first record has expired, only the service is known."""
        if offset in records:
            return records[offset] is not None
        services = self._plan.predicate.services
        return services is None or pattern.service in services

    def _caught_up(self) -> bool:
        return not self._behind(self._store.board.seen())

    def _behind(self, seen: Sequence[Position]) -> bool:
        return any(self._next.get(position.log_id, 0) < position.offset for position in seen)

    def _sign_of_life(self) -> pb.WatchPatternsResponse:
        return pb.WatchPatternsResponse(resume_from=self._positions())

    def _positions(self) -> list[Position]:
        return [Position(log_id=log_id, offset=offset) for log_id, offset in sorted(self._next.items())]


def _with_counts(snapshot: Snapshot, patterns: list[pb.Pattern]) -> list[pb.Pattern]:
    """The same patterns with all their records counted."""
    by_id = {pattern.pattern_id: pattern for pattern in patterns}
    for row in snapshot.query(_COUNTS, {"ids": list(by_id)}).to_pylist() if patterns else ():
        pattern = by_id[row["pattern_id"]]
        pattern.count += row["count"]
        pattern.count_by_severity[row["severity"]] = row["count"]
        pattern.first_time_unix_nano = min(row["first"], pattern.first_time_unix_nano or row["first"])
        pattern.last_time_unix_nano = max(row["last"], pattern.last_time_unix_nano)
    return patterns
