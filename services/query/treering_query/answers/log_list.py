"""ListLogs: records in an order, a page at a time.

Places come first, from a few narrow columns, and no more of the store is read than can hold one of the page; then whole records, of these
places alone. Every page is about the records that the first one saw, see `reading.list_pages`.
"""

from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.answers.log_orders import ORDERS, Order, RecordPlace
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.reading.list_pages import Bound, continued, fingerprint, token
from treering_query.reading.places import first_at
from treering_query.reading.records import stored_records
from treering_query.reading.slices import Slice
from treering_query.values.predicate import Predicate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.segment import Segment
from treering_query.view.snapshot import Snapshot

_PLACES = pa.schema([LOGS_SCHEMA.field(name) for name in ("time", "log_id", "offset", "pattern_id")])

_WHOLE_BYTES = "whole_message_bytes"


@dataclass(frozen=True)
class ListLogsPlan:
    """A checked request, ready to run on a snapshot."""

    predicate: Predicate
    order: Order
    page_size: int
    max_message_bytes: int | None
    bound: Bound | None
    """What the first page saw; None on the first page."""
    after: RecordPlace | None
    fingerprint: int

    def answer(self, snapshot: Snapshot) -> pb.ListLogsResponse:
        """The page. Blocks: runs on a thread of the store."""
        bound = self.bound or Bound.of(snapshot)
        places, holding = self._places(snapshot, bound)
        # One more was looked for: it says whether there is another page.
        wanted = places.slice(0, self.page_size)
        table = first_at(snapshot, holding, wanted, limits.MAX_ANSWER_RECORD_BYTES, partial(cut_messages, most=self.max_message_bytes))
        # The answer may be full before the page is; the token then names the last one that fits.
        shown = places.slice(0, table.num_rows)
        has_more = shown.num_rows < places.num_rows
        return pb.ListLogsResponse(
            records=_records(table),
            next_page_token=token(self.fingerprint, bound, RecordPlace.last_of(shown).packed()) if has_more else "",
            seen=bound.seen,
        )

    def _places(self, snapshot: Snapshot, bound: Bound) -> tuple[pa.Table, Slice]:
        """The first places of the page and one more, and what holds them."""
        condition = bound.condition(snapshot).and_also(self.order.after(self.after)).within(self.predicate)
        wanted = self.page_size + 1
        places = _PLACES.empty_table()
        segments: tuple[Segment, ...] = ()
        for part, later in self.order.parts(snapshot, self.predicate, bound, self.after):
            sql = f"""select time, log_id, "offset", pattern_id from {part.records}
                where {condition.sql} order by {self.order.sql} limit {wanted}"""
            found = part.query(snapshot, sql, condition.parameters).cast(_PLACES)
            places = pa.concat_tables([places, found]).sort_by(self.order.sort_keys).slice(0, wanted)
            segments += part.segments
            # `<` and not `<=`: of equal times a later part may hold the position that comes first.
            if later is None or (places.num_rows == wanted and self.order.key(RecordPlace.last_of(places)) < later):
                break
        return places, Slice(segments, hot=True)


def plan(request: pb.ListLogsRequest, meant: Meant = NOTHING) -> ListLogsPlan:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    own = fingerprint(request)
    before = continued(request.page_token, own)
    return ListLogsPlan(
        predicate=filters.where(request.filter, meant),
        order=ORDERS[request.order if request.HasField("order") else pb.LOG_ORDER_NEWEST_FIRST],
        page_size=request.page_size if request.HasField("page_size") else limits.DEFAULT_LIST_RECORDS,
        max_message_bytes=request.max_message_bytes if request.HasField("max_message_bytes") else None,
        bound=before.bound if before else None,
        after=RecordPlace.unpacked(before.place) if before else None,
        fingerprint=own,
    )


def cut_messages(records: pa.Table, most: int | None) -> pa.Table:
    """The same with messages of at most `most` bytes, cut between characters, and how long each one was where it was cut, else 0."""
    messages = records.column("message")
    lengths = pc.binary_length(messages).cast(pa.uint64())
    too_long = pc.greater(lengths, pa.scalar(most, pa.uint64())) if most is not None else None
    if too_long is None or not pc.any(too_long).as_py():
        return records.append_column(_WHOLE_BYTES, pa.chunked_array([pa.repeat(pa.scalar(0, pa.uint64()), records.num_rows)]))
    # Cut as bytes first, so that of a message of a mebibyte no more becomes a Python object than is shown. What was text before is
    # not UTF-8 at most at its end: only the part of a character that was cut there is dropped.
    beginnings = pc.binary_slice(messages.cast(pa.binary()), 0, most)
    cut = pa.array([each.decode(errors="ignore") for each in beginnings.to_pylist()], pa.string())
    place = records.schema.get_field_index("message")
    whole = pc.if_else(too_long, lengths, pa.scalar(0, pa.uint64()))
    return records.set_column(place, LOGS_SCHEMA.field("message"), cut).append_column(_WHOLE_BYTES, whole)


def _records(table: pa.Table) -> list[StoredRecord]:
    records = stored_records(table.drop_columns([_WHOLE_BYTES]))
    for record, whole_bytes in zip(records, table.column(_WHOLE_BYTES).to_pylist(), strict=True):
        record.whole_message_bytes = whole_bytes
    return records
