"""One run of an aggregation on a snapshot: one SELECT, or for buckets of time a second one that ranks the groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.answers import buckets
from treering_query.answers.buckets import Buckets
from treering_query.patterns.counts import in_statistics
from treering_query.patterns.outliers import usual_time
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field

_ZERO_WHEN_EMPTY = {pb.AGGREGATE_FUNCTION_COUNT, pb.AGGREGATE_FUNCTION_RATE, pb.AGGREGATE_FUNCTION_DISTINCT}
STATISTICS = (
    "(select pattern_id, template_id, _patterns.service, environment, severity, count, first_time, last_time "
    "from pattern_counts join _patterns using (pattern_id))"
)
_WITH_TEMPLATES = "(select records.*, template_id from logs as records join _patterns using (pattern_id)) as logs"


@dataclass(frozen=True)
class Grouping:
    """What is counted, of which records, and by what."""

    predicate: Predicate
    keys: tuple[str, ...]
    """Expressions that are grouped by."""
    metrics: tuple[str, ...]
    """Aggregate expressions; RATE is the count until it is divided."""
    functions: tuple[int, ...]
    parameters: dict[str, object]
    """Values of keys and metrics."""
    columns: frozenset[str]
    """What keys and metrics look at."""
    order: int
    limit: int
    bucket_nanos: int
    zone: ZoneInfo
    now: int
    """When it was asked, nanoseconds since 1970."""


class Run:
    """One run of a grouping.

    Args:
        plan: What is counted.
        snapshot: Where.
    """

    def __init__(self, plan: Grouping, snapshot: Snapshot) -> None:
        self._plan = plan
        self._snapshot = snapshot
        # Of filter and groups together: one that statistics do not know is enough to need the records.
        columns = plan.columns | plan.predicate.columns
        self._records = _WITH_TEMPLATES if "template_id" in columns else "logs"
        # Statistics may answer for all of the time together: the range, the groups. Only what is in each bucket needs the records.
        self._from_statistics = in_statistics(snapshot.view, columns)
        self._whole = STATISTICS if self._from_statistics else self._records
        self._count_of_whole = "coalesce(sum(count), 0)::bigint" if self._from_statistics else "count(*)"
        self._inside = "true"
        self.left_out = ""
        """Which records are in no bucket, for people."""

    def plain(self) -> tuple[pa.Table, bool]:
        """A row for each group, and whether there are more than were asked for. Blocks."""
        plan = self._plan
        extra: dict[str, object] = {}
        metrics = []
        for function, metric in zip(plan.functions, self._metrics(self._count_of_whole), strict=True):
            if function == pb.AGGREGATE_FUNCTION_RATE:
                extra["seconds"] = extra.get("seconds", self._seconds())
                metrics.append(f"{metric} / nullif($seconds::double, 0)")
            else:
                metrics.append(metric)
        order = self._order()
        sql = f"select {self._columns(metrics)} from {self._whole} where {plan.predicate.sql} {self._group()} order by {order} limit $rows"
        # One more than wanted says that there are more.
        table = self._query(sql, extra | {"rows": plan.limit + 1})
        return table.slice(0, plan.limit), table.num_rows > plan.limit

    def bucketed(self) -> tuple[pa.Table, bool]:
        """The same for each bucket of time. Blocks.

        Raises:
            ServiceError: INVALID_FIELD, when that is too many rows.
        """
        # Before the groups: the number of buckets is checked before anything is counted.
        covered = self._covered()
        if covered is None:
            return pa.table({"bucket_start": pa.array([], pa.int64())}), False
        if (covered[1] - covered[0]) // self._plan.bucket_nanos > limits.MAX_BUCKETS:
            covered = self._without_outliers(*covered)
        cover = buckets.cover(*covered, self._plan.bucket_nanos, self._plan.zone)
        groups, truncated = self._groups()
        # Each bucket of each group is a row, also an empty one.
        cells = len(cover.starts) * groups.num_rows
        if cells > limits.MAX_AGGREGATE_ROWS:
            limit = limits.MAX_AGGREGATE_ROWS
            problem = (
                f"{len(cover.starts)} buckets of {groups.num_rows} groups are over {limit} rows; take longer buckets or a smaller limit"
            )
            raise invalid_field("bucket_nanos", problem, limit=limit)
        # As relations: a zero is a row of the cross join that has no count.
        self._register(cover, groups)
        return self._query(self._filled(cover), {}), truncated

    def _register(self, cover: Buckets, groups: pa.Table) -> None:
        seconds = [(end - start) / 1e9 for start, end in zip(cover.starts, cover.ends, strict=True)]
        columns = {"bucket_start": pa.array(cover.starts, pa.int64()), "bucket_seconds": pa.array(seconds, pa.float64())}
        self._snapshot.register("_buckets", pa.table(columns))
        self._snapshot.register("_groups", groups)

    def _groups(self) -> tuple[pa.Table, bool]:
        """The groups that are answered for, ranked over all buckets together."""
        plan = self._plan
        if not plan.keys:
            return pa.table({"one": [True]}), False
        # Groups are ranked by the first metric, over all buckets together.
        first = self._metrics(self._count_of_whole)[0]
        keys = ", ".join(f"{key} as k{index}" for index, key in enumerate(plan.keys))
        order = self._order()
        # DuckDB refuses a value that no part of the statement names.
        used = self._parameters_in(keys + first)
        sql = f"select {keys}, {first} as m0 from {self._whole} where {plan.predicate.sql} {self._group()} order by {order} limit $rows"
        table = self._query(sql, {"rows": plan.limit + 1}, used)
        return table.slice(0, plan.limit).drop_columns(["m0"]), table.num_rows > plan.limit

    def _filled(self, cover: Buckets) -> str:
        """Each bucket of each group, counted or zero."""
        plan = self._plan
        names = [f"k{index}" for index in range(len(plan.keys))]
        keys = "".join(f", {key} as {name}" for key, name in zip(plan.keys, names, strict=True))
        metrics = ", ".join(f"{metric} as m{index}" for index, metric in enumerate(self._metrics("count(*)")))
        # `is not distinct from`: null is a group, and null = null is not true.
        same = " and ".join(["c.bucket_start = b.bucket_start", *(f"c.{name} is not distinct from g.{name}" for name in names)])
        group = ", ".join(["bucket_start", *plan.keys])
        values = ", ".join(_filled_metric(index, function) for index, function in enumerate(plan.functions))
        chosen = "".join(f", g.{name}" for name in names)
        order = self._order(bucket="b.bucket_start", group="g.")
        return f"""
            with counted as (
                select bucket_start{keys}, {metrics} from {_placed(cover, self._records)}
                where {plan.predicate.sql} and {self._inside} group by {group}
            )
            select b.bucket_start{chosen}, {values}
            from _buckets b cross join _groups g left join counted c on {same}
            order by {order}
        """

    def _metrics(self, count: str) -> list[str]:
        return [metric.format(count=count) if metric == "{count}" else metric for metric in self._plan.metrics]

    def _columns(self, metrics: Sequence[str]) -> str:
        keys = [f"{key} as k{index}" for index, key in enumerate(self._plan.keys)]
        return ", ".join([*keys, *(f"{metric} as m{index}" for index, metric in enumerate(metrics))])

    def _group(self) -> str:
        return f"group by {', '.join(self._plan.keys)}" if self._plan.keys else ""

    def _order(self, bucket: str = "", group: str = "") -> str:
        keys = ", ".join(f"{group}k{index} nulls last" for index in range(len(self._plan.keys)))
        return _join_order(self._plan.order, bucket, keys)

    def _parameters_in(self, sql: str) -> dict[str, object]:
        return {name: value for name, value in self._plan.parameters.items() if isinstance(value, np.ndarray) or f"${name}::" in sql}

    def _query(self, sql: str, extra: dict[str, object], used: dict[str, object] | None = None) -> pa.Table:
        plan = self._plan
        parameters = {**plan.predicate.parameters, **(plan.parameters if used is None else used), **extra}
        return self._snapshot.query(sql, parameters, within=plan.predicate)

    def _covered(self) -> tuple[int, int] | None:
        """The first and the last instant that buckets cover: the filter's, and without an end the present. Else those of the records.

        So a service that fell silent is seen: as zeros up to now, not as a histogram that ends early.
        """
        first = self._plan.predicate.start_time or None
        last = self._plan.predicate.end_time - 1 if self._plan.predicate.end_time <= limits.MAX_TIME_UNIX_NANO else None
        if first is None or last is None:
            oldest, newest = self._range()
            if last is None:
                last = newest if first is None else max(newest or 0, self._plan.now)
            first = oldest if first is None else first
        return (first, last) if first is not None and last is not None and first <= last else None

    def _without_outliers(self, first: int, last: int) -> tuple[int, int]:
        """The same time without what a few records far from all others add to it, where the filter leaves it open."""
        predicate = self._plan.predicate
        usual = usual_time(lambda sql: self._query(sql, {}, {}), self._records, predicate.sql)
        # The records really are so far apart; then the number of buckets is the caller's matter.
        if usual is None or not usual.outside:
            return first, last
        # The far records must not fall into the first or the last bucket.
        self._inside = usual.condition
        self.left_out = f"{usual.outside} records lie far from all others in time and are in no bucket; give a start and an end to see them"
        until = usual.last if not predicate.start_time else max(usual.last, self._plan.now)
        return predicate.start_time or usual.first, last if predicate.end_time <= limits.MAX_TIME_UNIX_NANO else until

    def _range(self) -> tuple[int | None, int | None]:
        bounds = "min(first_time), max(last_time)" if self._from_statistics else "min(time), max(time)"
        first, last = bounds.split(", ")
        sql = f"select epoch_ns({first}), epoch_ns({last}) from {self._whole} where {self._plan.predicate.sql}"
        table = self._query(sql, {}, {})
        return table.column(0)[0].as_py(), table.column(1)[0].as_py()

    def _seconds(self) -> float:
        first, last = self._range()
        return (last - first) / 1e9 if first is not None and last is not None else 0.0


def _join_order(order: int, bucket: str, keys: str) -> str:
    value = "m0 asc nulls last" if order == pb.AGGREGATE_ORDER_VALUE_ASCENDING else "m0 desc nulls last"
    if order == pb.AGGREGATE_ORDER_BUCKET:
        by = (bucket, value, keys)
    elif order == pb.AGGREGATE_ORDER_GROUP:
        by = (keys, bucket, "")
    else:
        by = (value, bucket, keys)
    return ", ".join(part for part in by if part) or "1"


def _placed(cover: Buckets, relation: str) -> str:
    """A relation whose name is `logs`, with the start of each record's bucket."""
    length = cover.ends[0] - cover.starts[0]
    # Nearly always: then a bucket is a division. On the days when clocks change it is a join.
    regular = all(end - start == length for start, end in zip(cover.starts, cover.ends, strict=True))
    if regular:
        start = cover.starts[0]
        return f"(select *, (epoch_ns(time) - {start}) // {length} * {length} + {start} as bucket_start from {relation})"
    return f"(select logs.*, bucket_start from {relation} asof join _buckets on epoch_ns(logs.time) >= _buckets.bucket_start)"


def _filled_metric(index: int, function: int) -> str:
    value = f"c.m{index}"
    if function in _ZERO_WHEN_EMPTY:
        # A count of nothing is 0; an average of nothing is unknown.
        value = f"coalesce({value}, 0)"
    if function == pb.AGGREGATE_FUNCTION_RATE:
        value += " / b.bucket_seconds"
    return f"{value} as m{index}"
