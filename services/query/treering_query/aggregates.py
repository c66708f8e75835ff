"""AggregateLogs: a typed request becomes one or two SELECTs whose values are all bound.

Names and numbers that stand in the SQL are this module's own. Where a request asks only for counts by service, environment, severity
and pattern, the statistics answer it and no record is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import buckets, filters, limits
from treering_query.answers import fitting
from treering_query.buckets import Buckets
from treering_query.filters import Predicate
from treering_query.meant import NOTHING, Meant
from treering_query.outliers import usual_time
from treering_query.pattern_counts import in_statistics
from treering_query.pattern_ids import as_ids, relation
from treering_query.store.snapshot import Snapshot
from treering_runtime.errors import invalid_field
from treering_runtime.limits import MAX_ANSWER_BYTES

_FIELDS = {
    pb.LOG_FIELD_SERVICE: "service",
    pb.LOG_FIELD_ENVIRONMENT: "environment",
    pb.LOG_FIELD_SEVERITY: "severity",
    pb.LOG_FIELD_PATTERN: "pattern_id",
    pb.LOG_FIELD_TEMPLATE: "template_id",
    pb.LOG_FIELD_MESSAGE: "message",
    pb.LOG_FIELD_TRACE_ID: "lower(hex(trace_id))",
}
_TEXT_COLUMNS = {"pattern_id": "text", "template_id": "template_text"}
"""Columns of `_patterns` that say in words what an id stands for."""
_NUMERIC = {
    pb.AGGREGATE_FUNCTION_MIN: "min({})",
    pb.AGGREGATE_FUNCTION_MAX: "max({})",
    pb.AGGREGATE_FUNCTION_AVG: "avg({})",
    pb.AGGREGATE_FUNCTION_SUM: "sum({})",
}
_ZERO_WHEN_EMPTY = {pb.AGGREGATE_FUNCTION_COUNT, pb.AGGREGATE_FUNCTION_RATE, pb.AGGREGATE_FUNCTION_DISTINCT}
_ORDERS = {
    pb.AGGREGATE_ORDER_UNSPECIFIED,
    pb.AGGREGATE_ORDER_VALUE_DESCENDING,
    pb.AGGREGATE_ORDER_VALUE_ASCENDING,
    pb.AGGREGATE_ORDER_GROUP,
}
_STATISTICS = (
    "(select pattern_id, template_id, _patterns.service, environment, severity, count, first_time, last_time "
    "from pattern_counts join _patterns using (pattern_id))"
)
_WITH_TEMPLATES = "(select records.*, template_id from logs as records join _patterns using (pattern_id)) as logs"


@dataclass(frozen=True)
class Plan:
    """A checked request, ready to run on a snapshot."""

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
    text_columns: Mapping[int, str]
    """Which of the keys are patterns or templates: the column of `_patterns` that holds their words."""
    order: int
    limit: int
    bucket_nanos: int
    zone: ZoneInfo
    now: int
    """When it was asked, nanoseconds since 1970."""
    meant: Meant

    def answer(self, snapshot: Snapshot) -> pb.AggregateLogsResponse:
        """Runs it. Blocks."""
        run = _Run(self, snapshot)
        table, truncated = run.bucketed() if self.bucket_nanos else run.plain()
        rows = _rows(self, table, _texts(self, table, snapshot))
        kept = fitting(rows)
        if len(kept) < len(rows) and self.bucket_nanos:  # a bucket that is not there would look empty
            raise invalid_field("limit", "the answer is larger than a message may be; ask for fewer groups", limit=MAX_ANSWER_BYTES)
        return pb.AggregateLogsResponse(
            rows=kept,
            truncated=truncated or len(kept) < len(rows),
            seen=snapshot.seen,
            degraded_because="; ".join(filter(None, [self.meant.missing_in(snapshot.view.patterns), run.left_out])),
        )


def plan(request: pb.AggregateLogsRequest, meant: Meant = NOTHING, now: int = 0) -> Plan:
    """Checks a request that came at `now`, nanoseconds since 1970; `meant` scores the texts of its filter and its groups.

    Raises:
        ServiceError: INVALID_FIELD.
    """
    zone = buckets.check(request.bucket_nanos, request.time_zone)
    expressions = _Expressions(meant)
    keys = tuple(expressions.field(ref, f"group_by[{index}]") for index, ref in enumerate(request.group_by))
    wanted = list(request.metrics) or [pb.Metric(function=pb.AGGREGATE_FUNCTION_COUNT)]
    functions = tuple(metric.function or pb.AGGREGATE_FUNCTION_COUNT for metric in wanted)
    metrics = tuple(expressions.metric(metric, f"metrics[{index}]") for index, metric in enumerate(wanted))
    return Plan(
        predicate=filters.where(request.filter, meant),
        keys=keys,
        metrics=metrics,
        functions=functions,
        parameters=expressions.parameters,
        columns=frozenset(expressions.columns),
        text_columns={index: _TEXT_COLUMNS[key] for index, key in enumerate(keys) if key in _TEXT_COLUMNS},
        order=request.order,
        limit=request.limit or limits.DEFAULT_AGGREGATE_LIMIT,
        bucket_nanos=request.bucket_nanos,
        zone=zone,
        now=now,
        meant=meant,
    )


def texts(request: pb.AggregateLogsRequest) -> dict[str, str]:
    """The texts that a request asks about, by the name of their field."""
    groups = {f"group_by[{index}].about": ref.about for index, ref in enumerate(request.group_by)}
    metrics = {f"metrics[{index}].of.about": metric.of.about for index, metric in enumerate(request.metrics)}
    return {"filter.about": request.filter.about, **groups, **metrics}


class _Expressions:
    """Turns fields and metrics into SQL and collects the values they bind."""

    def __init__(self, meant: Meant) -> None:
        self._meant = meant
        self.parameters: dict[str, object] = {}
        self.columns: set[str] = set()

    def field(self, ref: pb.FieldRef, name: str) -> str:
        if ref.WhichOneof("ref") == "attribute":
            return self._attribute(ref.attribute, name)
        if ref.WhichOneof("ref") == "about":
            return self._about(ref.about, name)
        if ref.field not in _FIELDS:
            raise invalid_field(name, "names neither a field of the contract nor an attribute")
        expression = _FIELDS[ref.field]
        self.columns.add(expression)
        return expression

    def _about(self, text: str, name: str) -> str:
        if text not in self._meant.texts:
            raise invalid_field(name, "the text is empty; say in some words what the records are about")
        self.columns.add("pattern_id")
        patterns = relation(self._bind(self._meant.about(text)).removeprefix("$"))
        return f"(case when pattern_id in (select id from {patterns}) then 'true' else 'false' end)"

    def _attribute(self, key: str, name: str) -> str:
        if not key:
            raise invalid_field(f"{name}.attribute", "empty; name the attribute")
        self.columns.add("attributes")
        return f"attributes[{self._bind(key)}::varchar]"

    def _bind(self, value: object) -> str:
        name = f"a{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def metric(self, metric: pb.Metric, name: str) -> str:
        function = metric.function or pb.AGGREGATE_FUNCTION_COUNT
        if function in {pb.AGGREGATE_FUNCTION_COUNT, pb.AGGREGATE_FUNCTION_RATE}:
            return "{count}"
        if function == pb.AGGREGATE_FUNCTION_DISTINCT:
            return f"count(distinct {self.field(metric.of, f'{name}.of')})"
        if metric.of.WhichOneof("ref") != "attribute":
            raise invalid_field(f"{name}.of", "this function wants an attribute")
        number = _number(self._attribute(metric.of.attribute, f"{name}.of"))
        if function in _NUMERIC:
            return _NUMERIC[function].format(number)
        return f"quantile_cont({number}, {self._bind(metric.quantile)}::double)"


def _number(text: str) -> str:
    """A text as a number; NULL where it is none or not finite."""
    return f"(case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end)"


class _Run:
    """One run of a plan."""

    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        self._plan = plan
        self._snapshot = snapshot
        columns = plan.columns | plan.predicate.columns
        self._records = _WITH_TEMPLATES if "template_id" in columns else "logs"
        # Statistics may answer for all of the time together: the range, the groups. Only what is in each bucket needs the records.
        self._from_statistics = in_statistics(snapshot.view, columns)
        self._whole = _STATISTICS if self._from_statistics else self._records
        self._count_of_whole = "coalesce(sum(count), 0)::bigint" if self._from_statistics else "count(*)"
        self._inside = "true"
        self.left_out = ""
        """Which records are in no bucket, for people."""

    def plain(self) -> tuple[pa.Table, bool]:
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
        table = self._query(sql, extra | {"rows": plan.limit + 1})
        return table.slice(0, plan.limit), table.num_rows > plan.limit

    def bucketed(self) -> tuple[pa.Table, bool]:
        covered = self._covered()
        if covered is None:
            return pa.table({"bucket_start": pa.array([], pa.int64())}), False
        if (covered[1] - covered[0]) // self._plan.bucket_nanos > limits.MAX_BUCKETS:
            covered = self._without_outliers(*covered)
        cover = buckets.cover(*covered, self._plan.bucket_nanos, self._plan.zone)
        groups, truncated = self._groups()
        cells = len(cover.starts) * groups.num_rows
        if cells > limits.MAX_AGGREGATE_ROWS:
            limit = limits.MAX_AGGREGATE_ROWS
            problem = (
                f"{len(cover.starts)} buckets of {groups.num_rows} groups are over {limit} rows; take longer buckets or a smaller limit"
            )
            raise invalid_field("bucket_nanos", problem, limit=limit)
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
        first = self._metrics(self._count_of_whole)[0]
        keys = ", ".join(f"{key} as k{index}" for index, key in enumerate(plan.keys))
        order = self._order()
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
        if usual is None or not usual.outside:
            return first, last
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
    if order == pb.AGGREGATE_ORDER_UNSPECIFIED:
        by = (bucket, value, keys)
    elif order == pb.AGGREGATE_ORDER_GROUP:
        by = (keys, bucket, "")
    else:
        by = (value, bucket, keys)
    return ", ".join(part for part in by if part) or "1"


def _placed(cover: Buckets, relation: str) -> str:
    """A relation whose name is `logs`, with the start of each record's bucket."""
    length = cover.ends[0] - cover.starts[0]
    regular = all(end - start == length for start, end in zip(cover.starts, cover.ends, strict=True))
    if regular:
        start = cover.starts[0]
        return f"(select *, (epoch_ns(time) - {start}) // {length} * {length} + {start} as bucket_start from {relation})"
    return f"(select logs.*, bucket_start from {relation} asof join _buckets on epoch_ns(logs.time) >= _buckets.bucket_start)"


def _filled_metric(index: int, function: int) -> str:
    value = f"c.m{index}"
    if function in _ZERO_WHEN_EMPTY:
        value = f"coalesce({value}, 0)"
    if function == pb.AGGREGATE_FUNCTION_RATE:
        value += " / b.bucket_seconds"
    return f"{value} as m{index}"


def _texts(plan: Plan, table: pa.Table, snapshot: Snapshot) -> dict[int, dict[str, str]]:
    """For each key that is a pattern or a template: its words by id as a decimal."""
    texts: dict[int, dict[str, str]] = {}
    for index, column in plan.text_columns.items() if table.num_rows else ():
        key, ids = plan.keys[index], as_ids(table.column(f"k{index}").to_pylist())
        sql = f"select distinct {key}, {column} from _patterns where {key} in (select id from {relation('ids')})"
        found = snapshot.query(sql, {"ids": ids}, within=plan.predicate)
        texts[index] = {str(number): text for number, text in zip(*(each.to_pylist() for each in found.columns), strict=True)}
    return texts


def _rows(plan: Plan, table: pa.Table, texts: Mapping[int, dict[str, str]]) -> list[pb.AggregateRow]:
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in table.column_names}
    starts = columns.get("bucket_start") or [0] * table.num_rows
    keys = [columns[f"k{index}"] for index in range(len(plan.keys))] if table.num_rows else []
    values = [columns[f"m{index}"] for index in range(len(plan.metrics))] if table.num_rows else []
    return [
        pb.AggregateRow(
            bucket_start_unix_nano=start,
            groups=[_group(key[row], texts.get(index, {})) for index, key in enumerate(keys)],
            values=[pb.MetricValue(value=value[row]) for value in values],
        )
        for row, start in enumerate(starts)
    ]


def _group(value: object, texts: dict[str, str]) -> pb.AggregateGroup:
    text = None if value is None else str(value)
    return pb.AggregateGroup(value=text, text=texts.get(text or "", ""))
