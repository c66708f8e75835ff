"""GetLogContext: one record among its neighbours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.filters import Predicate
from treering_query.places import PLACE, records_at
from treering_query.records import stored_records, within_bytes
from treering_query.slices import Slice
from treering_query.store.snapshot import Snapshot
from treering_query.store.view import LogRange, Segment
from treering_runtime.errors import ServiceError, invalid_field

_ANY = Predicate()


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
        found = _Found(log_id)
        service = self._service(snapshot, found, offset)
        for count, backwards in ((self.before, True), (self.after, False)):
            found.add_neighbours(snapshot, offset, None if self.all_services else service, count, backwards=backwards)
        table = found.read(snapshot)
        index = pc.index(table.column("offset"), pa.scalar(offset, pa.uint64())).as_py()
        half = limits.MAX_ANSWER_RECORD_BYTES // 2
        before, after = within_bytes(table.slice(0, index).sort_by([("offset", "descending")]), half), table.slice(index + 1)
        table = pa.concat_tables([before.sort_by("offset"), table.slice(index, 1), within_bytes(after, half)])
        return pb.GetLogContextResponse(records=stored_records(table), index=before.num_rows)

    def _service(self, snapshot: Snapshot, found: "_Found", offset: int) -> str:
        """The service of the record itself, whose place is added."""
        for part in _around(snapshot, found.log_id, offset, backwards=True):
            sql = f'select {PLACE} from {part.records} where log_id = $log::ubigint and "offset" = $offset::ubigint'
            table = part.query(snapshot, sql, {"log": found.log_id, "offset": offset})
            if table.num_rows:
                found.add(part, table)
                service: str = table.column("service")[0].as_py()
                return service
        log_id = found.log_id
        message = f"no record at offset {offset} of log {log_id:016x}; positions are in every record that is returned"
        raise ServiceError(ErrorReason.ERROR_REASON_NOT_FOUND, message, metadata={"field": "position"})


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
            self._places.setdefault(part, []).append(table)

    def add_neighbours(self, snapshot: Snapshot, offset: int, service: str | None, count: int, *, backwards: bool) -> None:
        """The nearest places on one side."""
        side, direction = ("<", "desc") if backwards else (">", "asc")
        same = "true" if service is None else "service = $service::varchar"
        parameters: dict[str, object] = {"log": self.log_id, "offset": offset} | ({} if service is None else {"service": service})
        within = Predicate(services=None if service is None else frozenset([service]))
        for part in _around(snapshot, self.log_id, offset, backwards=backwards, within=within):
            if not count:
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
        if group and run.first_offset >= end:
            yield group
            group = ()
        group, end = (*group, segment), max(end, run.end_offset)
    if group:
        yield group


def _reaches(run: LogRange, offset: int, *, backwards: bool) -> bool:
    return run.first_offset <= offset if backwards else run.end_offset > offset
