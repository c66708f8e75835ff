"""GetLogContext: one record among its neighbours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.reading.places import PLACE, records_at
from treering_query.reading.records import stored_records, within_bytes
from treering_query.reading.slices import Slice, between
from treering_query.sealed.damage import DamagedSegmentError
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange, Segment
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError, invalid_field

_ANY = Predicate()

_LAST_OFFSET = 2**64 - 1

_NEAR = 4_000
"""Neighbours of the same service are looked for within so many offsets first, by one statement: 8,000 places are read as fast as 200."""


@dataclass(frozen=True)
class Plan:
    """A checked request, ready to run on a snapshot."""

    position: Position
    before: int
    after: int
    all_services: bool

    def answer(self, snapshot: Snapshot) -> pb.GetLogContextResponse:
        """The record and its neighbours by offset. Blocks: runs on a thread of the store.

        Raises:
            ServiceError: NOT_FOUND when there is no such record; INVALID_FIELD when log_id 0 does not name one log.
        """
        log_id, offset = self.position.log_id or _only_log(snapshot), self.position.offset
        count = max(self.before, self.after)
        # Among all services the neighbours are the next offsets; of one service nobody knows how far they are.
        reach = _NEAR if count and not self.all_services else count
        try:
            found = self._places(snapshot, log_id, offset, reach)
        except DamagedSegmentError:  # perhaps of a segment that is not needed: no neighbour may be in it
            found = self._places(snapshot, log_id, offset, 0)
        table = found.read(snapshot)
        index = _row_of(table, offset)
        half = limits.MAX_ANSWER_RECORD_BYTES // 2
        # Cut from the record outwards, half of the room for each side: the record itself always fits.
        before, after = within_bytes(table.slice(0, index).sort_by([("offset", "descending")]), half), table.slice(index + 1)
        table = pa.concat_tables([before.sort_by("offset"), table.slice(index, 1), within_bytes(after, half)])
        return pb.GetLogContextResponse(records=stored_records(table), index=before.num_rows)

    def _places(self, snapshot: Snapshot, log_id: int, offset: int, reach: int) -> "_Found":
        """The places of the record and its neighbours: within `reach` by one statement, beyond it one part of the store after the other."""
        first, last = max(0, offset - reach), min(offset + reach, _LAST_OFFSET)
        part = between(snapshot, log_id, first, last + 1)
        near = _near(snapshot, part, log_id, first, last)
        service = None if self.all_services else _service_at(near, offset)
        if service is not None:
            near = near.filter(pc.equal(near.column("service"), service))
        place = _row_of(near, offset)
        # Expired, quarantined, or never there: an offset does not tell.
        if place < 0:
            message = f"no record at offset {offset} of log {log_id:016x}; positions are in every record that is returned"
            raise ServiceError(ErrorReason.ERROR_REASON_NOT_FOUND, message, metadata={"field": "position"})
        start, end = max(0, place - self.before), min(place + self.after + 1, near.num_rows)
        found = _Found(log_id)
        found.add(part, near.drop_columns(["service"]).slice(start, end - start))
        # What is missing after the near look: none, most of the time.
        found.add_neighbours(snapshot, first, service, self.before - (place - start), backwards=True)
        found.add_neighbours(snapshot, last, service, self.after - (end - 1 - place), backwards=False)
        return found


def _near(snapshot: Snapshot, part: Slice, log_id: int, first: int, last: int) -> pa.Table:
    """The places of a part from offset `first` to `last`, in order."""
    within = 'log_id = $log::ubigint and "offset" between $first::ubigint and $last::ubigint'
    values = {"log": log_id, "first": first, "last": last}
    return part.query(snapshot, f'select {PLACE}, service from {part.records} where {within} order by "offset"', values)


def _service_at(near: pa.Table, offset: int) -> str | None:
    """The service of a record; None when it is not among those near."""
    row = _row_of(near, offset)
    return near.column("service")[row].as_py() if row >= 0 else None


def _row_of(table: pa.Table, offset: int) -> int:
    """The row of an offset; -1 when it is not there."""
    row: int = pc.index(table.column("offset"), pa.scalar(offset, pa.uint64())).as_py()
    return row


def plan(request: pb.GetLogContextRequest) -> Plan:
    """Checks a request.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    counts = {}
    for name in ("before", "after"):
        counts[name] = getattr(request, name) if request.HasField(name) else limits.DEFAULT_CONTEXT_RECORDS
        if counts[name] > limits.MAX_CONTEXT_RECORDS:
            raise invalid_field(
                name, f"{counts[name]} is over {limits.MAX_CONTEXT_RECORDS}; ask for less", limit=limits.MAX_CONTEXT_RECORDS
            )
    return Plan(request.position, counts["before"], counts["after"], request.all_services)


def _only_log(snapshot: Snapshot) -> int:
    logs = [position.log_id for position in snapshot.seen]
    if len(logs) > 1:
        raise invalid_field("position.log_id", f"0, but there are {len(logs)} logs; name the one that is meant")
    return logs[0] if logs else 0


class _Found:
    """Places of one log, by the part of the store that holds them; read together in the end."""

    def __init__(self, log_id: int) -> None:
        self.log_id = log_id
        self._places: dict[Slice, list[pa.Table]] = {}

    def add(self, part: Slice, table: pa.Table) -> None:
        """Places that a part holds."""
        if table.num_rows:
            # By part, so that each is read once for records, whichever look found the places.
            self._places.setdefault(part, []).append(table)

    def add_neighbours(self, snapshot: Snapshot, offset: int, service: str | None, count: int, *, backwards: bool) -> None:
        """The nearest places on one side."""
        side, direction = ("<", "desc") if backwards else (">", "asc")
        same = "true" if service is None else "service = $service::varchar"
        parameters: dict[str, object] = {"log": self.log_id, "offset": offset} | ({} if service is None else {"service": service})
        within = Predicate(services=None if service is None else frozenset([service]))
        for part in _around(snapshot, self.log_id, offset, backwards=backwards, within=within):
            # Nearest parts first, so the rest of the store is not looked at.
            if count <= 0:
                break
            sql = f"""select {PLACE} from {part.records} where log_id = $log::ubigint and "offset" {side} $offset::ubigint and {same}
                order by "offset" {direction} limit {count}"""
            table = part.query(snapshot, sql, parameters)
            self.add(part, table)
            count -= table.num_rows

    def read(self, snapshot: Snapshot) -> pa.Table:
        """The records, by offset."""
        parts = [records_at(snapshot, part, pa.concat_tables(found)) for part, found in self._places.items()]
        return pa.concat_tables(parts).sort_by("offset")


def _around(snapshot: Snapshot, log_id: int, offset: int, *, backwards: bool, within: Predicate = _ANY) -> Iterator[Slice]:
    """The parts that hold offsets on one side of a place (and the place itself), nearest first. Offsets of a log are sealed in order."""
    held = _holding(snapshot.segments(within), log_id, offset, backwards=backwards)
    parts = [Slice(group) for group in _side_by_side(sorted(held, key=lambda each: each[0].first_offset))]
    hot = Slice((), hot=True)
    # What is hot is newest: the first to look at backwards, the last forwards.
    yield from ([hot, *reversed(parts)] if backwards else [*parts, hot])


def _holding(segments: Sequence[Segment], log_id: int, offset: int, *, backwards: bool) -> Iterator[tuple[LogRange, Segment]]:
    for segment in segments:
        runs = [run for run in segment.ranges if run.log_id == log_id and _reaches(run, offset, backwards=backwards)]
        if runs:
            yield runs[0], segment


def _side_by_side(held: Sequence[tuple[LogRange, Segment]]) -> Iterator[tuple[Segment, ...]]:
    """Segments by their offsets; those whose runs overlap together: a record that was set aside and read later has a segment of its own."""
    group: tuple[Segment, ...] = ()
    end = 0
    for run, segment in held:
        # In order and without overlap: nothing in a later group can be nearer.
        if group and run.first_offset >= end:
            yield group
            group = ()
        group, end = (*group, segment), max(end, run.end_offset)
    if group:
        yield group


def _reaches(run: LogRange, offset: int, *, backwards: bool) -> bool:
    return run.first_offset <= offset if backwards else run.end_offset > offset
