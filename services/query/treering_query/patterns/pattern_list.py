"""ListPatterns: patterns or templates with their counts, a page at a time.

Everything is counted once, by pattern and severity; the page, its order and its details come from these counts. Records are read only
where the filter is of more than the statistics know, and for what changes over time: sparkline and growth.

A page token is the place of the last entry that was given, not a number of rows, so that patterns which appear meanwhile neither
repeat nor hide others. It fits the question that it was made for, and is refused with another.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from treering.v1 import query_pb2 as pb
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.patterns.entries import UNITS, Entry, by_pattern, count, describe, over_time
from treering_query.patterns.series import Span, growth, series, usual_bounds
from treering_query.reading import filters
from treering_query.reading.page_tokens import packed, unpacked
from treering_query.reading.records import nanoseconds
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field
from treering_runtime.fitting import fitting

_DEFAULT_PAGE = 50

_TOKEN = struct.Struct("<QqQ")
"""Fingerprint of the question, key of the order, id."""

_HALVES = 2
"""Parts of the span that growth compares."""

_KEYS = {
    pb.PATTERN_ORDER_COUNT: "-count",
    pb.PATTERN_ORDER_RARITY: "count",
    pb.PATTERN_ORDER_NEWEST: "-epoch_ns(first_time)",
    pb.PATTERN_ORDER_LAST_SEEN: "-epoch_ns(last_time)",
    pb.PATTERN_ORDER_GROWTH: "-round(1e9 * (late - early) / greatest(late + early, 1))",
}
"""What ascends, by order."""

_PAGE = """
with totals as (
    select {unit} as id, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time {growth}
    from {counted} group by id
), keyed as (
    select *, ({key})::bigint as key, count(*) over () as total_count, min(first_time) over () as first, max(last_time) over () as last
    from totals
)
from keyed where {after} order by key, id limit {limit}
"""


@dataclass(frozen=True)
class PatternPlace:
    """Where a page ends: the key of the order, and the id among equals."""

    key: int
    pattern_id: int


@dataclass(frozen=True)
class ListPatternsPlan:
    """A checked request, ready to run on a snapshot."""

    predicate: Predicate
    order: pb.PatternOrder.ValueType
    unit: pb.PatternUnit.ValueType
    page_size: int
    sparkline_parts: int
    after: PatternPlace | None
    fingerprint: int

    def answer(self, snapshot: Snapshot) -> pb.ListPatternsResponse:
        """The page. Blocks: runs on a thread of the store."""
        # First: everything below reads this relation.
        snapshot.register("_counted", count(snapshot, self.predicate))
        if self.order == pb.PATTERN_ORDER_GROWTH:
            snapshot.register("_halves", self._halves(snapshot))
        table = self._page(snapshot)
        # One row more was asked for: it says whether there is another page.
        page = table.slice(0, self.page_size)
        if not page.num_rows:
            return pb.ListPatternsResponse(seen=snapshot.seen)
        first, last = usual_bounds(snapshot, self.predicate, *(nanoseconds(page.column(name))[0] for name in ("first", "last")))
        span = Span.of(self.predicate, first, last, self.sparkline_parts or _HALVES)
        ids = page.column("id").to_pylist()
        entries = describe(snapshot, self.unit, ids, (last - first) / 1e9)
        self._add_times(snapshot, span, entries, page)
        # The answer may be full before the page is; the token then names the last one that fits.
        patterns = fitting([entry.pattern for entry in entries])
        return pb.ListPatternsResponse(
            patterns=patterns,
            next_page_token=self._token(page.slice(0, len(patterns))) if table.num_rows > len(patterns) else "",
            total_count=page.column("total_count")[0].as_py(),
            seen=snapshot.seen,
            sparkline_start_unix_nano=span.start if self.sparkline_parts else 0,
            sparkline_end_unix_nano=span.end if self.sparkline_parts else 0,
        )

    def _page(self, snapshot: Snapshot) -> pa.Table:
        after = "(key, id) > ($key::bigint, $last::ubigint)" if self.after else "true"
        by_growth = self.order == pb.PATTERN_ORDER_GROWTH
        joined = " join _halves using (pattern_id)" if by_growth else ""
        if self.unit == pb.PATTERN_UNIT_TEMPLATE:
            joined += " join _patterns using (pattern_id)"
        # Halves are of a pattern, counts of a pattern and severity: each half counts once, with the first severity.
        halves = ", sum(early) filter (where leads)::bigint as early, sum(late) filter (where leads)::bigint as late" if by_growth else ""
        leads = "(select *, row_number() over (partition by pattern_id order by severity) = 1 as leads from _counted) as _counted"
        sql = _PAGE.format(
            unit=UNITS[self.unit],
            growth=halves,
            counted=(leads if by_growth else "_counted") + joined,
            key=_KEYS[self.order],
            after=after,
            limit=self.page_size + 1,
        )
        return snapshot.query(sql, {"key": self.after.key, "last": self.after.pattern_id} if self.after else {})

    def _halves(self, snapshot: Snapshot) -> pa.Table:
        """Records of each pattern in the first and in the second half of the selected time."""
        counted = by_pattern(snapshot)
        times = [nanoseconds(counted.column(name)) for name in ("first_time", "last_time")]
        bounds = usual_bounds(snapshot, self.predicate, min(times[0], default=0), max(times[1], default=0))
        span = Span.of(self.predicate, *bounds, _HALVES)
        found = series(snapshot, self.predicate, span, counted)
        halves = np.array(list(found.values()), np.int64).reshape(-1, _HALVES)
        return pa.table({"pattern_id": pa.array(list(found), pa.uint64()), "early": halves[:, 0], "late": halves[:, 1]})

    def _add_times(self, snapshot: Snapshot, span: Span, entries: Sequence[Entry], page: pa.Table) -> None:
        if self.sparkline_parts:
            for entry, counts in zip(entries, over_time(snapshot, self.predicate, span, entries), strict=True):
                entry.pattern.sparkline.extend(counts.tolist())
                entry.pattern.growth = growth(counts)
        if self.order == pb.PATTERN_ORDER_GROWTH:
            for entry, key in zip(entries, page.column("key").to_pylist(), strict=True):
                # The number that the order used: computed anew, it could differ in the last digit and look out of order.
                entry.pattern.growth = -key / 1e9

    def _token(self, page: pa.Table) -> str:
        return packed(_TOKEN, self.fingerprint, *(page.column(name)[-1].as_py() for name in ("key", "id")))


def _place(token: str, fingerprint: int) -> PatternPlace:
    found, key, pattern_id = unpacked(_TOKEN, token)
    # The place of another order would begin in the middle of nowhere.
    if found != fingerprint:
        raise invalid_field("page_token", "made for another filter, order or unit; repeat those, or begin again without one")
    return PatternPlace(int(key), int(pattern_id))


def plan(request: pb.ListPatternsRequest, meant: Meant = NOTHING) -> ListPatternsPlan:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    order = request.order if request.HasField("order") else pb.PATTERN_ORDER_COUNT
    unit = request.unit if request.HasField("unit") else pb.PATTERN_UNIT_PATTERN
    predicate = filters.where(request.filter, meant)
    # Not the size of a page: it may change from page to page.
    fingerprint = xxhash.xxh3_64_intdigest(request.filter.SerializeToString(deterministic=True) + bytes([order, unit]))
    after = _place(request.page_token, fingerprint) if request.page_token else None
    page_size = request.page_size if request.HasField("page_size") else _DEFAULT_PAGE
    return ListPatternsPlan(predicate, order, unit, page_size, request.sparkline_buckets, after, fingerprint)
