"""ListPatterns: patterns with their counts, a page at a time.

A page token is the place of the last pattern that was given, not a number of rows, so that patterns which appear meanwhile neither
repeat nor hide others. It fits the order and the filter it was made for, and is refused with another.
"""

import base64
import binascii
import json
from dataclasses import dataclass

import pyarrow as pa
import xxhash

from treering.v1 import query_pb2 as pb
from treering_query import filters, limits
from treering_query.filters import Predicate
from treering_query.pattern_counts import counts_sql
from treering_query.records import nanoseconds
from treering_query.store.snapshot import Snapshot
from treering_runtime.errors import invalid_field

_DEFAULT_PAGE = 50

_KEYS = {
    pb.PATTERN_ORDER_COUNT: "-count",
    pb.PATTERN_ORDER_RARITY: "count",
    pb.PATTERN_ORDER_NEWEST: "-epoch_ns(first_time)",
    pb.PATTERN_ORDER_LAST_SEEN: "-epoch_ns(last_time)",
}
"""What ascends, by order."""

_PAGE = """
with selected as (
    select pattern_id, severity, sum(count)::bigint as n, min(first_time) as first_time, max(last_time) as last_time
    from ({counts}) group by pattern_id, severity
), totals as (
    select pattern_id, sum(n)::bigint as count, min(first_time) as first_time, max(last_time) as last_time,
        list(severity) as severities, list(n) as severity_counts
    from selected group by pattern_id
), keyed as (select *, ({key})::bigint as key, count(*) over () as total_count from totals)
select keyed.*, service, text, example from keyed join _patterns using (pattern_id)
where {after} order by key, pattern_id limit {limit}
"""


@dataclass(frozen=True)
class Place:
    """Where a page ends: the key of the order, and the pattern's id among equals."""

    key: int
    pattern_id: int


@dataclass(frozen=True)
class Plan:
    """A checked request, ready to run on a snapshot."""

    predicate: Predicate
    order: pb.PatternOrder.ValueType
    page_size: int
    after: Place | None
    fingerprint: str

    def answer(self, snapshot: Snapshot) -> pb.ListPatternsResponse:
        """The page. Blocks: runs on a thread of the store."""
        after = "(key, pattern_id) > ($key::bigint, $last::ubigint)" if self.after else "true"
        sql = _PAGE.format(counts=counts_sql(self.predicate), key=_KEYS[self.order], after=after, limit=self.page_size + 1)
        place = {"key": self.after.key, "last": self.after.pattern_id} if self.after else {}
        table = snapshot.query(sql, {**self.predicate.parameters, **place}, within=self.predicate)
        page = table.slice(0, self.page_size)
        return pb.ListPatternsResponse(
            patterns=_patterns(page),
            next_page_token=self._token(page) if table.num_rows > self.page_size else "",
            total_count=table.column("total_count")[0].as_py() if table.num_rows else 0,
            seen=snapshot.seen,
        )

    def _token(self, page: pa.Table) -> str:
        place = [page.column(name)[-1].as_py() for name in ("key", "pattern_id")]
        return base64.urlsafe_b64encode(json.dumps([self.fingerprint, *place]).encode()).decode()


def plan(request: pb.ListPatternsRequest) -> Plan:
    """Checks a request.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    order = request.order or pb.PATTERN_ORDER_COUNT
    if order not in _KEYS:
        raise invalid_field("order", f"{order} is no order; they are 1 (count) to 4 (last seen)")
    if request.page_size > limits.MAX_PAGE_PATTERNS:
        raise invalid_field("page_size", f"{request.page_size} is over {limits.MAX_PAGE_PATTERNS}; page", limit=limits.MAX_PAGE_PATTERNS)
    predicate = filters.where(request.filter)
    fingerprint = xxhash.xxh3_64_hexdigest(request.filter.SerializeToString(deterministic=True) + bytes([order]))
    after = _place(request.page_token, fingerprint) if request.page_token else None
    return Plan(predicate, order, request.page_size or _DEFAULT_PAGE, after, fingerprint)


def _place(token: str, fingerprint: str) -> Place:
    try:
        found, key, pattern_id = json.loads(base64.urlsafe_b64decode(token))
        place = Place(int(key), int(pattern_id))
    except (binascii.Error, ValueError, TypeError):
        raise invalid_field("page_token", "not a token of this server; begin again without one") from None
    if found != fingerprint:
        raise invalid_field("page_token", "made for another filter or order; repeat those, or begin again without one")
    return place


def _patterns(table: pa.Table) -> list[pb.Pattern]:
    names = ("pattern_id", "service", "text", "example", "count", "severities", "severity_counts")
    columns = [table.column(name).to_pylist() for name in names]
    times = [nanoseconds(table.column(name)) for name in ("first_time", "last_time")]
    return [
        pb.Pattern(
            pattern_id=pattern_id,
            service=service,
            text=text,
            example=example,
            count=count,
            first_time_unix_nano=first,
            last_time_unix_nano=last,
            count_by_severity=dict(zip(severities, counts, strict=True)),
        )
        for pattern_id, service, text, example, count, severities, counts, first, last in zip(*columns, *times, strict=True)
    ]
