"""The orders in which records are listed: as SQL, as the sequence of what is read, and as the place where a page ends."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.reading.list_pages import Bound
from treering_query.reading.page_tokens import refused
from treering_query.reading.records import nanoseconds
from treering_query.reading.samples import Condition
from treering_query.reading.slices import Slice, together
from treering_query.values.predicate import Predicate
from treering_query.values.segment import Segment
from treering_query.view.snapshot import Snapshot

_PLACE = struct.Struct("<QQQ")
"""Time, log id, offset."""

_ANY = Condition()


@dataclass(frozen=True)
class RecordPlace:
    """Where a record stands; `time` is nanoseconds since 1970."""

    time: int
    log_id: int
    offset: int

    @classmethod
    def unpacked(cls, raw: bytes) -> "RecordPlace":
        """Of a token.

        Raises:
            ServiceError: INVALID_FIELD, when it is none.
        """
        if len(raw) != _PLACE.size:
            raise refused()
        place = cls(*_PLACE.unpack(raw))
        # The database would stumble over a later time.
        if place.time > limits.MAX_TIME_UNIX_NANO:
            raise refused()
        return place

    @classmethod
    def last_of(cls, places: pa.Table) -> "RecordPlace":
        """Of the last row of a table with columns time, log_id and offset."""
        last = places.slice(places.num_rows - 1)
        return cls(nanoseconds(last.column("time"))[0], *(last.column(name)[0].as_py() for name in ("log_id", "offset")))

    def packed(self) -> bytes:
        """For a token."""
        return _PLACE.pack(self.time, self.log_id, self.offset)


@dataclass(frozen=True)
class Order:
    """One order: by time and then by position, or by position alone."""

    by_time: bool
    descending: bool

    @property
    def sort_keys(self) -> list[tuple[str, str]]:
        """For Arrow."""
        return [(name, "descending" if self.descending else "ascending") for name in self._columns]

    @property
    def sql(self) -> str:
        """What stands after ORDER BY."""
        return ", ".join(f'"{name}" {"desc" if self.descending else "asc"}' for name in self._columns)

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("time", "log_id", "offset") if self.by_time else ("log_id", "offset")

    def after(self, place: RecordPlace | None) -> Condition:
        """Holds for the records that come after a place; for all without one."""
        if place is None:
            return _ANY
        sign = "<" if self.descending else ">"
        position = f'(log_id {sign} $last_log::ubigint or (log_id = $last_log::ubigint and "offset" {sign} $last_offset::ubigint))'
        values: dict[str, object] = {"last_log": place.log_id, "last_offset": place.offset}
        if not self.by_time:
            return Condition(position, values)
        time = "make_timestamp_ns($last_time::bigint)"
        return Condition(f"(time {sign} {time} or (time = {time} and {position}))", values | {"last_time": place.time})

    def narrowed(self, predicate: Predicate, place: RecordPlace | None) -> Predicate:
        """The same for the choice of segments, without those that end before a place."""
        if place is None or not self.by_time:
            return predicate
        if self.descending:
            # The end is exclusive, and there may be more records of that time.
            return replace(predicate, end_time=min(predicate.end_time, place.time + 1))
        return replace(predicate, start_time=max(predicate.start_time, place.time))

    def key(self, place: RecordPlace) -> tuple[int, ...]:
        """What ascends in this order; `first_key` compares with it."""
        if self.by_time:
            return (-place.time if self.descending else place.time,)
        return (place.log_id, place.offset)

    def first_key(self, segment: Segment) -> tuple[int, ...]:
        """The least key that a record of the segment can have."""
        if self.by_time:
            return (-segment.last_time if self.descending else segment.first_time,)
        return min((run.log_id, run.first_offset) for run in segment.ranges)

    def parts(
        self, snapshot: Snapshot, predicate: Predicate, bound: Bound, place: RecordPlace | None
    ) -> Iterator[tuple[Slice, tuple[int, ...] | None]]:
        """What may hold records after a place, the first of them first; with each part the least key in all later ones, None in the last.

        What is in memory is the first part: it costs no file.
        """
        within = self.narrowed(predicate, place)
        segments = [each for each in snapshot.segments(within) if bound.may_hold(each) and self._reaches(each, place)]
        groups = [(), *_growing(sorted(segments, key=self.first_key))]
        for group, later in zip(groups, [*groups[1:], ()], strict=True):
            yield Slice(group, not group), self.first_key(later[0]) if later else None

    def _reaches(self, segment: Segment, place: RecordPlace | None) -> bool:
        """False when every record of the segment stands before a place by position."""
        if place is None or self.by_time:
            return True
        return any((run.log_id, run.end_offset - 1) > (place.log_id, place.offset) for run in segment.ranges)


def _growing(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    """One, then two, then four: mostly the first one holds the page, and damage in another one does not stop it."""
    begin, count = 0, 1
    while begin < len(segments):
        # What may be read together bounds the size of each group, too.
        yield from together(segments[begin : begin + count])
        begin, count = begin + count, 2 * count


ORDERS = {
    pb.LOG_ORDER_NEWEST_FIRST: Order(by_time=True, descending=True),
    pb.LOG_ORDER_OLDEST_FIRST: Order(by_time=True, descending=False),
    pb.LOG_ORDER_BY_POSITION: Order(by_time=False, descending=False),
}
"""By the contract's number."""
