"""TailLogs: records as they become visible.

A tail is a place in each log and one loop: look at what is visible from there on, send the first of it, move the place. A backlog is
nothing but an earlier place to begin with. No records are kept between two looks, so a slow reader costs no memory; when it lags too
far behind, the oldest records are skipped and counted. What was asked for by position is never skipped.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import Position
from treering_query import filters, limits
from treering_query.endless import patiently, refuse_when_draining
from treering_query.filters import Predicate
from treering_query.places import PLACE, records_at
from treering_query.records import stored_records, within_bytes
from treering_query.search.searcher import Records
from treering_query.slices import Slice, between, newest_first
from treering_query.store.hot import LOGS_SCHEMA
from treering_query.store.snapshot import Snapshot
from treering_runtime.errors import invalid_field

_WINDOW_OFFSETS = 100_000
"""Offsets that are looked at together while a tail reads old records: the rest waits for its turn."""


@dataclass(frozen=True)
class Plan:
    """A checked request. `begin` None = after `backlog` of the newest records."""

    predicate: Predicate
    backlog: int
    begin: Mapping[int, int] | None


@dataclass(frozen=True)
class Pace:
    """Times of a tail, seconds: the shortest pause between two looks, the longest silence."""

    pause_s: float = limits.TAIL_PAUSE_S
    heartbeat_s: float = limits.TAIL_HEARTBEAT_S


_NORMAL_PACE = Pace()


def plan(request: pb.TailLogsRequest) -> Plan:
    """Checks a request.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    if request.backlog > limits.MAX_BACKLOG_RECORDS:
        limit = limits.MAX_BACKLOG_RECORDS
        raise invalid_field("backlog", f"{request.backlog} is over {limit}; ask for less, or begin `from` a position", limit=limit)
    begin = {position.log_id: position.offset for position in getattr(request, "from")}
    return Plan(filters.where(request.filter), request.backlog, begin or None)


class Tail:
    """One tail, for one event loop.

    Args:
        store: Where the records are.
        plan: What is wanted.
        pace: How often to look and to show life.
    """

    def __init__(self, store: Records, plan: Plan, pace: Pace = _NORMAL_PACE) -> None:
        self._store = store
        self._plan = plan
        self._pace = pace
        self._next: dict[int, int] = {}
        self._live_from: dict[int, int] = {}

    async def run(self) -> AsyncIterator[pb.TailLogsResponse]:
        """Responses until the caller goes away."""
        await self._begin()
        said = time.monotonic()
        while True:
            refuse_when_draining(self._store.board)
            version = self._store.board.version
            response = await self._look()
            if response.records or response.skipped_count or time.monotonic() - said >= self._pace.heartbeat_s:
                yield response
                said = time.monotonic()
            if self._caught_up():
                await asyncio.sleep(self._pace.pause_s)
                await self._store.board.wait_change(version, max(0.0, said + self._pace.heartbeat_s - time.monotonic()))

    async def _begin(self) -> None:
        with self._store.snapshot() as snapshot:
            self._live_from = {position.log_id: position.offset for position in snapshot.seen}
            if self._plan.begin is not None:
                self._next = dict.fromkeys(self._live_from, 0) | dict(self._plan.begin)
            else:
                self._next = self._live_from | await patiently(self._store, snapshot, self._backlog_begin)

    def _backlog_begin(self, snapshot: Snapshot) -> dict[int, int]:
        """Where the newest records begin, by log: arrival follows the offsets of a log."""
        begin: dict[int, int] = {}
        missing = self._plan.backlog
        for part in newest_first(snapshot, self._plan.predicate):
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

    async def _look(self) -> pb.TailLogsResponse:
        """The next records of the first log that has some; moves the place past them."""
        with self._store.snapshot() as snapshot:
            table, skipped = await patiently(self._store, snapshot, self._read)
        return pb.TailLogsResponse(records=stored_records(table), resume_from=self._positions(), skipped_count=skipped)

    def _read(self, snapshot: Snapshot) -> tuple[pa.Table, int]:
        for position in snapshot.seen:
            begin = self._next.setdefault(position.log_id, 0)
            if begin < position.offset:
                table, skipped, self._next[position.log_id] = self._read_log(snapshot, position.log_id, begin, position.offset)
                if table.num_rows or skipped:
                    return table, skipped
        return LOGS_SCHEMA.empty_table(), 0

    def _read_log(self, snapshot: Snapshot, log_id: int, begin: int, end: int) -> tuple[pa.Table, int, int]:
        """Some records, how many were skipped before them, and where to go on."""
        live = begin >= self._live_from.get(log_id, 0)
        end = end if live else min(end, begin + _WINDOW_OFFSETS)
        part = between(snapshot, log_id, begin, end)
        places, skipped = self._places(snapshot, part, self._values(log_id, begin, end), live=live)
        if not places.num_rows:
            return LOGS_SCHEMA.empty_table(), skipped, end
        found = records_at(snapshot, part, places.slice(0, limits.TAIL_MESSAGE_RECORDS)).sort_by("offset")
        chosen = within_bytes(found, limits.MAX_ANSWER_RECORD_BYTES)
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

    def _caught_up(self) -> bool:
        return all(self._next.get(position.log_id, 0) >= position.offset for position in self._store.board.seen())

    def _positions(self) -> list[Position]:
        return [Position(log_id=log_id, offset=offset) for log_id, offset in sorted(self._next.items())]
