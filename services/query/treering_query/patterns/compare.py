"""ComparePatterns: which patterns are new, gone, more or less in one selection than in another.

Counts are exact over everything that is kept. Each selection is counted by itself, from statistics where its filter allows and else in one
scan of the segments that it may reach: measured, two scans that are pruned each to its own time and services take half as long as one scan
of both with a condition on each count, and no longer where nothing can be pruned. Both see one snapshot.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.patterns import compare_page
from treering_query.patterns.compare_page import DifferencePlace
from treering_query.patterns.compare_ranking import changes, log_likelihood_ratio
from treering_query.patterns.counts import counts_sql
from treering_query.reading import filters
from treering_query.reading.records import nanoseconds
from treering_query.values.pattern_ids import Ids, relation
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_runtime.fitting import fitting

_DEFAULT_PAGE = 50
_CHANGES = (pb.PATTERN_CHANGE_NEW, pb.PATTERN_CHANGE_GONE, pb.PATTERN_CHANGE_MORE, pb.PATTERN_CHANGE_LESS)
_BY_CHANCE = (pb.PATTERN_CHANGE_MORE, pb.PATTERN_CHANGE_LESS)
"""Changes that may be left out as chance: a pattern that is new or gone is so whatever its count."""

_TOTALS = "severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time"

_COUNTS = {
    pb.PATTERN_UNIT_PATTERN: f"select pattern_id, '' as service, {_TOTALS} from ({{counts}}) group by pattern_id, severity",
    pb.PATTERN_UNIT_TEMPLATE: f"""
        select template_id as pattern_id, service, {_TOTALS}
        from ({{counts}}) join _patterns using (pattern_id) group by template_id, service, severity
    """,
}
"""Selected records by unit, service (of templates) and severity."""

_TEXTS = {
    pb.PATTERN_UNIT_PATTERN: f"""
        select pattern_id, service, text, example, template_id from _patterns where pattern_id in (select id from {relation("ids")})
    """,
    pb.PATTERN_UNIT_TEMPLATE: f"""
        select template_id as pattern_id, template_id, any_value(template_text) as text, count(*)::uinteger as pattern_count,
            arg_max(service, (pattern_id = template_id)::int) as service, arg_max(example, (pattern_id = template_id)::int) as example
        from _patterns where template_id in (select id from {relation("ids")}) group by template_id
    """,
}
"""What some units say; a template speaks with the words of its oldest pattern, while that has records."""

_MAX_SERVICES = 100
"""Services of one template, as the contract has it."""


@dataclass(frozen=True)
class ComparePlan:
    """A checked request, ready to run on a snapshot."""

    looked_at: Predicate
    baseline: Predicate
    unit: pb.PatternUnit.ValueType
    wanted: frozenset[int]
    min_ratio: float
    page_size: int
    after: DifferencePlace | None
    fingerprint: int

    def answer(self, snapshot: Snapshot) -> pb.ComparePatternsResponse:
        """The differences. Blocks: runs on a thread of the store."""
        # Two statements on one snapshot: each reads only the segments that its own filter may reach.
        found = _Sides(self._counted(snapshot, self.looked_at), self._counted(snapshot, self.baseline))
        ranked = found.ranked(self.min_ratio)
        # Counts of all kinds are over everything; the choice of kinds is for the list only.
        chosen = ranked.order[np.isin(ranked.changes[ranked.order], list(self.wanted))]
        # After the choice: a page continues the list that the caller sees.
        left = chosen[self.after.comes_before(ranked.ratios[chosen], found.together[chosen], found.ids[chosen])] if self.after else chosen
        differences = fitting(self._differences(snapshot, found, ranked, left[: self.page_size].tolist()))
        return pb.ComparePatternsResponse(
            differences=differences,
            # By what fitted into the answer, not by what was asked for.
            next_page_token=self._token(found, ranked, left[len(differences) - 1]) if len(differences) < len(left) else "",
            seen=snapshot.seen,
            total_count=found.total,
            baseline_total_count=found.baseline_total,
            difference_count=len(chosen),
            new_count=ranked.count(pb.PATTERN_CHANGE_NEW),
            gone_count=ranked.count(pb.PATTERN_CHANGE_GONE),
            more_count=ranked.count(pb.PATTERN_CHANGE_MORE),
            less_count=ranked.count(pb.PATTERN_CHANGE_LESS),
        )

    def _token(self, found: "_Sides", ranked: "_Ranked", last: int) -> str:
        return DifferencePlace(float(ranked.ratios[last]), int(found.together[last]), int(found.ids[last])).token(self.fingerprint)

    def _counted(self, snapshot: Snapshot, predicate: Predicate) -> pa.Table:
        """Selected records: pattern_id (or the template's), service, severity, count, first_time, last_time."""
        return snapshot.query(
            _COUNTS[self.unit].format(counts=counts_sql(snapshot.view, predicate)), predicate.parameters, within=predicate
        )

    def _differences(self, snapshot: Snapshot, found: "_Sides", ranked: "_Ranked", places: list[int]) -> list[pb.PatternDifference]:
        """The messages of some differences, in their order."""
        chosen = found.ids[places]
        ids = chosen.tolist()
        texts = snapshot.query(_TEXTS[self.unit], {"ids": chosen}).to_pylist() if places else []
        patterns = _with_counts({row["pattern_id"]: pb.Pattern(**row) for row in texts}, _of(found.looked_at, chosen))
        last = _last_times(_of(found.baseline, chosen))
        return [
            pb.PatternDifference(
                pattern=patterns[pattern_id],
                baseline_count=int(found.baseline_counts[place]),
                log_likelihood_ratio=float(ranked.ratios[place]),
                change=pb.PatternChange.ValueType(int(ranked.changes[place])),
                baseline_last_time_unix_nano=last.get(pattern_id, 0),
            )
            for place, pattern_id in zip(places, ids, strict=True)
        ]


def plan(request: pb.ComparePatternsRequest, meant: Meant = NOTHING) -> ComparePlan:
    """Checks a request; `meant` has the scores of the texts `about` of its filters.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    unit = request.unit if request.HasField("unit") else pb.PATTERN_UNIT_PATTERN
    fingerprint = compare_page.fingerprint(request)
    return ComparePlan(
        filters.where(request.filter, meant),
        filters.where(request.baseline, meant, "baseline"),
        unit,
        frozenset(request.changes) or frozenset(_CHANGES),
        request.min_log_likelihood_ratio,
        request.page_size if request.HasField("page_size") else _DEFAULT_PAGE,
        compare_page.place(request.page_token, fingerprint),
        fingerprint,
    )


@dataclass(frozen=True)
class _Ranked:
    """Patterns of both sides; all arrays run along `_Sides.ids`, `order` names places in them."""

    order: np.ndarray[tuple[int], np.dtype[np.int64]]
    """The differences, most telling first."""
    changes: np.ndarray[tuple[int], np.dtype[np.int64]]
    ratios: np.ndarray[tuple[int], np.dtype[np.float64]]

    def count(self, change: int) -> int:
        """How many differences are of one kind."""
        return int(np.count_nonzero(self.changes[self.order] == change))


class _Sides:
    """Two selections, counted, and their patterns put side by side."""

    def __init__(self, looked_at: pa.Table, baseline: pa.Table) -> None:
        self.looked_at = looked_at
        self.baseline = baseline
        both = pa.concat_tables([_one_side(looked_at, "count"), _one_side(baseline, "baseline_count")])
        # A pattern that one side does not have gets a zero there, not a gap.
        both = both.group_by("pattern_id").aggregate([("count", "sum"), ("baseline_count", "sum")])
        self.ids = both.column("pattern_id").to_numpy()
        self.counts = both.column("count_sum").to_numpy()
        self.baseline_counts = both.column("baseline_count_sum").to_numpy()
        self.together = self.counts + self.baseline_counts
        self.total = int(self.counts.sum())
        self.baseline_total = int(self.baseline_counts.sum())

    def ranked(self, min_ratio: float) -> _Ranked:
        """What differs, without what chance may have done."""
        sides = (self.counts, self.baseline_counts, self.total, self.baseline_total)
        kinds, ratios = changes(*sides), log_likelihood_ratio(*sides)
        # Equal shares are no difference. New and gone are shown whatever the chance.
        telling = np.flatnonzero((kinds != 0) & ((ratios >= min_ratio) | ~np.isin(kinds, _BY_CHANCE)))
        # The last key decides first: ratio, records of both, id. `Place.comes_before` repeats this order.
        order = telling[np.lexsort((self.ids[telling], -self.together[telling], -ratios[telling]))]
        return _Ranked(order, kinds, ratios)


def _one_side(counted: pa.Table, name: str) -> pa.Table:
    """Counts of one side, zeros for the other."""
    zeros = pa.array(np.zeros(counted.num_rows, np.int64))
    columns = {column: counted.column("count") if column == name else zeros for column in ("count", "baseline_count")}
    return pa.table({"pattern_id": counted.column("pattern_id"), **columns})


def _of(counted: pa.Table, ids: Ids) -> pa.Table:
    return counted.filter(pc.is_in(counted.column("pattern_id"), pa.array(ids, pa.uint64())))


def _with_counts(patterns: Mapping[int, pb.Pattern], counted: pa.Table) -> Mapping[int, pb.Pattern]:
    """The patterns with what was counted of them."""
    services: dict[int, Counter[str]] = defaultdict(Counter)
    columns = [counted.column(name).to_pylist() for name in ("pattern_id", "service", "severity", "count")]
    times = [nanoseconds(counted.column(name)) for name in ("first_time", "last_time")]
    for pattern_id, service, severity, count, first, last in zip(*columns, *times, strict=True):
        pattern = patterns[pattern_id]
        pattern.count += count
        pattern.count_by_severity[severity] += count
        pattern.first_time_unix_nano = min(first, pattern.first_time_unix_nano or first)
        pattern.last_time_unix_nano = max(last, pattern.last_time_unix_nano)
        services[pattern_id][service] += count
    for pattern_id, found in services.items():
        # Of a template only: a pattern has one service, which its row says.
        if patterns[pattern_id].pattern_count:
            patterns[pattern_id].services.extend(service for service, _ in found.most_common(_MAX_SERVICES))
    return patterns


def _last_times(counted: pa.Table) -> Mapping[int, int]:
    """Nanoseconds since 1970 of each pattern's last record."""
    last: dict[int, int] = {}
    for pattern_id, nanos in zip(counted.column("pattern_id").to_pylist(), nanoseconds(counted.column("last_time")), strict=True):
        last[pattern_id] = max(nanos, last.get(pattern_id, 0))
    return last
