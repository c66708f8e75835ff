"""GetLogContext: one record among its neighbours."""

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.reading.page_tokens import packed, question, unpacked
from treering_query.reading.places import PLACE, first_at
from treering_query.reading.records import stored_records
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
class ContextPlan:
    """A checked request, ready to run on a snapshot."""

    position: Position
    before: int
    after: int
    all_services: bool
    shown: "ShownOffsets"
    fingerprint: int

    def answer(self, snapshot: Snapshot) -> pb.GetLogContextResponse:
        """The record and its neighbours by offset, the nearest ones first given. Blocks: runs on a thread of the store.

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
        places = self.shown.left_of(found.places(), offset)
        table = found.read(snapshot, places)
        offsets = table.column("offset").to_pylist()
        return pb.GetLogContextResponse(
            records=stored_records(table),
            index=bisect_left(offsets, offset),
            next_page_token=self.shown.and_also(offsets).token(self.fingerprint) if table.num_rows < places.num_rows else "",
        )

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
            message = f"no record at offset {offset} of log {log_id}; positions are in every record that is returned"
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


def plan(request: pb.GetLogContextRequest) -> ContextPlan:
    """The request with its defaults.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    before, after = (getattr(request, name) if request.HasField(name) else limits.DEFAULT_CONTEXT_RECORDS for name in ("before", "after"))
    own = fingerprint(request)
    return ContextPlan(request.position, before, after, request.all_services, _shown(request.page_token, own), own)


def fingerprint(request: pb.GetLogContextRequest) -> int:
    """What the next page's request must agree in."""
    return xxhash.xxh3_64_intdigest(question(request))


@dataclass(frozen=True)
class ShownOffsets:
    """What earlier pages held: everything from the first to the last offset; nothing when the first is above the last."""

    first: int = 1
    last: int = 0

    def left_of(self, places: pa.Table, offset: int) -> pa.Table:
        """The places that are not shown yet, the nearest to an offset first, so that both sides grow without a gap."""
        offsets = places.column("offset").to_numpy()
        distance = np.where(offsets < offset, np.uint64(offset) - offsets, offsets - np.uint64(offset))
        order = np.argsort(distance, kind="stable")
        if self.first <= self.last:
            order = order[((offsets < self.first) | (offsets > self.last))[order]]
        return places.take(pa.array(order))

    def and_also(self, offsets: Sequence[int]) -> "ShownOffsets":
        """With one more page, whose offsets ascend."""
        if self.first > self.last:
            return ShownOffsets(offsets[0], offsets[-1])
        return ShownOffsets(min(self.first, offsets[0]), max(self.last, offsets[-1]))

    def token(self, fingerprint: int) -> str:
        """The token for the next page of the same request."""
        return packed(_TOKEN, fingerprint, self.first, self.last)


_TOKEN = struct.Struct("<QQQ")
"""Fingerprint of the request, first and last offset that were shown."""


def _shown(token: str, wanted: int) -> ShownOffsets:
    """What a token says; nothing for an empty one."""
    if not token:
        return ShownOffsets()
    found, first, last = unpacked(_TOKEN, token)
    if found != wanted or first > last:
        raise invalid_field("page_token", "made for another request; repeat that, or begin again without one")
    return ShownOffsets(int(first), int(last))


def _only_log(snapshot: Snapshot) -> int:
    logs = [position.log_id for position in snapshot.seen]
    if len(logs) > 1:
        raise invalid_field("position.log_id", f"0, but there are {len(logs)} logs; name the one that is meant")
    return logs[0] if logs else 0


class _Found:
    """Places of one log, and the segments that may hold them; read together in the end."""

    def __init__(self, log_id: int) -> None:
        self.log_id = log_id
        self._tables: list[pa.Table] = []
        self._segments: dict[Segment, None] = {}

    def add(self, part: Slice, table: pa.Table) -> None:
        """Places that a part holds."""
        if table.num_rows:
            self._tables.append(table)
            self._segments |= dict.fromkeys(part.segments)

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

    def places(self) -> pa.Table:
        """All of them: the columns of `PLACE`."""
        return pa.concat_tables(self._tables)

    def read(self, snapshot: Snapshot, places: pa.Table) -> pa.Table:
        """The records at the first of some of the places, as many as an answer holds, by offset."""
        whole = Slice(tuple(self._segments), hot=True)
        return first_at(snapshot, whole, places, limits.MAX_ANSWER_RECORD_BYTES).sort_by("offset")


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
