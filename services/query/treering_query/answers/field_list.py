"""ListFields: which fields records have, how many records have each, and what the values look like.

Built-in fields come first, whether a record has them or not, then the keys of attributes, most records first. Every page counts what the
first one saw, see `reading.list_pages`, so that no field changes its place between two pages.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.reading.list_pages import Bound, continued, fingerprint, token
from treering_query.reading.page_tokens import refused
from treering_query.reading.samples import Condition
from treering_query.values import attributes
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_runtime.fitting import fitting

_PLACE = struct.Struct("<BQ")
"""Built-in fields that were given, records of the last attribute; its key follows."""

_BUILT_IN: Mapping[pb.LogField.ValueType, tuple[str, pb.FieldKind.ValueType]] = {
    pb.LOG_FIELD_SERVICE: ("service <> ''", pb.FIELD_KIND_TEXT),
    pb.LOG_FIELD_ENVIRONMENT: ("environment <> ''", pb.FIELD_KIND_TEXT),
    pb.LOG_FIELD_SEVERITY: ("severity <> 0", pb.FIELD_KIND_INTEGER),
    pb.LOG_FIELD_PATTERN: ("pattern_id <> 0", pb.FIELD_KIND_INTEGER),
    pb.LOG_FIELD_TEMPLATE: ("pattern_id <> 0", pb.FIELD_KIND_INTEGER),
    # No record is without one.
    pb.LOG_FIELD_MESSAGE: ("true", pb.FIELD_KIND_TEXT),
    pb.LOG_FIELD_TRACE_ID: ("octet_length(trace_id) > 0", pb.FIELD_KIND_TEXT),
}
"""In the order of the answer: when a record has the field, and of what kind its values are."""

_BUILT_IN_COUNTS = "select count(*) as records, {counts} from logs where {condition}"

_KIND = f"""case
    when regexp_full_match(value, '[+-]?[0-9]+') then {pb.FIELD_KIND_INTEGER}
    when regexp_full_match(value, '[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?') then {pb.FIELD_KIND_DECIMAL}
    when lower(value) in ('true', 'false') then {pb.FIELD_KIND_BOOLEAN}
    else {pb.FIELD_KIND_TEXT} end"""

_ENTRIES = f"""
select entry.key as key, entry.value as value
from (select unnest({attributes.ENTRIES}) as entry from logs where {{condition}})
"""
"""A row for each attribute of each record; a record has a key once."""

_KEYS = f"""
with counted as (
    select key, {_KIND} as kind, count(*) as n from ({{entries}}) group by key, kind
), keyed as materialized (
    select key, sum(n)::bigint as n, list({{{{'kind': kind, 'count': n}}}} order by n desc, kind) as kinds from counted group by key
)
select totals.key_count, page.*
from (select count(*) as key_count from keyed) as totals
left join (from keyed where {{after}} order by n desc, key limit {{limit}}) as page on true
order by n desc, key
"""
"""One row at least, which says how many keys there are."""


@dataclass(frozen=True)
class FieldPlace:
    """Where a page ends: how many built-in fields were given, and the last attribute with its records; none while these are 0."""

    built_in: int
    count: int
    key: str

    @classmethod
    def unpacked(cls, raw: bytes) -> "FieldPlace":
        """Of a token.

        Raises:
            ServiceError: INVALID_FIELD, when it is none.
        """
        try:
            built_in, count = _PLACE.unpack_from(raw)
            key = raw[_PLACE.size :].decode()
        except (struct.error, UnicodeDecodeError):
            raise refused() from None
        if built_in > len(_BUILT_IN) or count >= 1 << 63:
            raise refused()
        return cls(built_in, count, key)

    def packed(self) -> bytes:
        """For a token."""
        return _PLACE.pack(self.built_in, self.count) + self.key.encode()

    def after(self, fields: Iterable[pb.FieldSummary]) -> "FieldPlace":
        """The place after some more fields."""
        place = self
        for each in fields:
            is_attribute = each.field.HasField("attribute")
            place = (
                FieldPlace(place.built_in, each.record_count, each.field.attribute)
                if is_attribute
                else FieldPlace(place.built_in + 1, 0, "")
            )
        return place

    @property
    def condition(self) -> Condition:
        """Holds for the keys that come after it."""
        # A key may be empty; an attribute that was listed has a record.
        if not self.count:
            return Condition()
        sql = "(n < $last_count::bigint or (n = $last_count::bigint and key > $last_key::varchar))"
        return Condition(sql, {"last_count": self.count, "last_key": self.key})


@dataclass(frozen=True)
class ListFieldsPlan:
    """A checked request, ready to run on a snapshot."""

    predicate: Predicate
    page_size: int
    bound: Bound | None
    """What the first page saw; None on the first page."""
    after: FieldPlace
    fingerprint: int

    def answer(self, snapshot: Snapshot) -> pb.ListFieldsResponse:
        """The page. Blocks: runs on a thread of the store."""
        bound = self.bound or Bound.of(snapshot)
        condition = bound.condition(snapshot).within(self.predicate)
        records, built_in = self._built_in(snapshot, condition)
        key_count, attributes = self._attributes(snapshot, condition)
        left = [*built_in[self.after.built_in :], *attributes]
        # The answer may be full before the page is; the token then names the last one that fits.
        fields = fitting(left[: self.page_size])
        has_more = len(fields) < len(left)
        return pb.ListFieldsResponse(
            fields=fields,
            next_page_token=token(self.fingerprint, bound, self.after.after(fields).packed()) if has_more else "",
            total_count=len(built_in) + key_count,
            record_count=records,
            seen=bound.seen,
        )

    def _built_in(self, snapshot: Snapshot, condition: Condition) -> tuple[int, list[pb.FieldSummary]]:
        """How many records are selected, and the built-in fields."""
        counts = ", ".join(f"count(*) filter (where {present}) as f{field}" for field, (present, _) in _BUILT_IN.items())
        sql = _BUILT_IN_COUNTS.format(counts=counts, condition=condition.sql)
        (row,) = snapshot.query(sql, condition.parameters, within=self.predicate).to_pylist()
        return row["records"], [_built_in_field(field, kind, row[f"f{field}"]) for field, (_, kind) in _BUILT_IN.items()]

    def _attributes(self, snapshot: Snapshot, condition: Condition) -> tuple[int, list[pb.FieldSummary]]:
        """How many keys there are, and those after the last page: the page's and one more."""
        after = self.after.condition
        sql = _KEYS.format(entries=_ENTRIES.format(condition=condition.sql), after=after.sql, limit=self.page_size + 1)
        rows = snapshot.query(sql, {**condition.parameters, **after.parameters}, within=self.predicate).to_pylist()
        return rows[0]["key_count"], [_attribute(row) for row in rows if row["key"] is not None]


def plan(request: pb.ListFieldsRequest, meant: Meant = NOTHING) -> ListFieldsPlan:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    own = fingerprint(request)
    before = continued(request.page_token, own)
    return ListFieldsPlan(
        predicate=filters.where(request.filter, meant),
        page_size=request.page_size if request.HasField("page_size") else limits.DEFAULT_LIST_FIELDS,
        bound=before.bound if before else None,
        after=FieldPlace.unpacked(before.place) if before else FieldPlace(0, 0, ""),
        fingerprint=own,
    )


def _built_in_field(field: pb.LogField.ValueType, kind: pb.FieldKind.ValueType, count: int) -> pb.FieldSummary:
    kinds = [pb.FieldKindCount(kind=kind, count=count)] if count else []
    return pb.FieldSummary(field=pb.FieldRef(field=field), record_count=count, kinds=kinds)


def _attribute(row: Mapping[str, Any]) -> pb.FieldSummary:
    kinds = [pb.FieldKindCount(**each) for each in row["kinds"]]
    return pb.FieldSummary(field=pb.FieldRef(attribute=row["key"]), record_count=row["n"], kinds=kinds)
