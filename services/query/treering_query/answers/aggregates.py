"""AggregateLogs: a typed request becomes one or two SELECTs whose values are all bound.

Names and numbers that stand in the SQL are ours. Where a request asks only for counts by service, environment, severity
and pattern, the statistics answer it and no record is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.answers import buckets
from treering_query.answers.aggregate_fields import Expressions, function
from treering_query.answers.aggregate_run import Grouping, Run
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.values.pattern_ids import as_ids, relation
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field
from treering_runtime.fitting import fitting
from treering_runtime.limits import MAX_ANSWER_BYTES

_TEXT_COLUMNS = {"pattern_id": "text", "template_id": "template_text"}
"""Columns of `_patterns` that say in words what an id stands for."""


@dataclass(frozen=True)
class AggregatePlan(Grouping):
    """A checked request, ready to run on a snapshot."""

    text_columns: Mapping[int, str]
    """Which of the keys are patterns or templates: the column of `_patterns` that holds their words."""
    meant: Meant

    def answer(self, snapshot: Snapshot) -> pb.AggregateLogsResponse:
        """Runs it. Blocks."""
        run = Run(self, snapshot)
        table, truncated = run.bucketed() if self.bucket_nanos else run.plain()
        rows = _rows(self, table, _texts(self, table, snapshot))
        # In the order of the answer, so what does not fit is the end of it.
        kept = fitting(rows)
        if len(kept) < len(rows) and self.bucket_nanos:  # a bucket that is not there would look empty
            raise invalid_field("limit", "the answer is larger than a message may be; ask for fewer groups", limit=MAX_ANSWER_BYTES)
        return pb.AggregateLogsResponse(
            rows=kept,
            truncated=truncated or len(kept) < len(rows),
            seen=snapshot.seen,
            degraded_because="; ".join(filter(None, [self.meant.missing_in(snapshot.view.patterns), run.left_out])),
        )


def plan(request: pb.AggregateLogsRequest, meant: Meant = NOTHING, now: int = 0) -> AggregatePlan:
    """Checks a request that came at `now`, nanoseconds since 1970; `meant` scores the texts of its filter and its groups.

    Raises:
        ServiceError: INVALID_FIELD.
    """
    # The cheap checks first; the filter may hold thousands of values.
    zone = buckets.check(request.bucket_nanos, request.time_zone)
    expressions = Expressions(meant)
    keys = tuple(expressions.field(ref, f"group_by[{index}]") for index, ref in enumerate(request.group_by))
    wanted = list(request.metrics) or [pb.Metric(function=pb.AGGREGATE_FUNCTION_COUNT)]
    functions = tuple(function(metric) for metric in wanted)
    metrics = tuple(expressions.metric(metric, f"metrics[{index}]") for index, metric in enumerate(wanted))
    return AggregatePlan(
        predicate=filters.where(request.filter, meant),
        keys=keys,
        metrics=metrics,
        functions=functions,
        parameters=expressions.parameters,
        columns=frozenset(expressions.columns),
        text_columns={index: _TEXT_COLUMNS[key] for index, key in enumerate(keys) if key in _TEXT_COLUMNS},
        order=request.order if request.HasField("order") else pb.AGGREGATE_ORDER_BUCKET,
        limit=request.limit if request.HasField("limit") else limits.DEFAULT_AGGREGATE_LIMIT,
        bucket_nanos=request.bucket_nanos,
        zone=zone,
        now=now,
        meant=meant,
    )


def texts(request: pb.AggregateLogsRequest) -> dict[str, str]:
    """The texts that a request asks about, by the name of their field."""
    groups = {f"group_by[{index}].about": ref.about for index, ref in enumerate(request.group_by)}
    metrics = {f"metrics[{index}].of.about": metric.of.about for index, metric in enumerate(request.metrics)}
    return {**filters.abouts(request.filter), **groups, **metrics}


def _texts(plan: AggregatePlan, table: pa.Table, snapshot: Snapshot) -> dict[int, dict[str, str]]:
    """For each key that is a pattern or a template: its words by id as a decimal."""
    texts: dict[int, dict[str, str]] = {}
    for index, column in plan.text_columns.items() if table.num_rows else ():
        key, ids = plan.keys[index], as_ids(table.column(f"k{index}").to_pylist())
        sql = f"select distinct {key}, {column} from _patterns where {key} in (select id from {relation('ids')})"
        # Only for the ids in the answer, after the groups were cut.
        found = snapshot.query(sql, {"ids": ids}, within=plan.predicate)
        texts[index] = {str(number): text for number, text in zip(*(each.to_pylist() for each in found.columns), strict=True)}
    return texts


def _rows(plan: AggregatePlan, table: pa.Table, texts: Mapping[int, dict[str, str]]) -> list[pb.AggregateRow]:
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
    # Null is a group of its own (no such attribute) and differs from an empty text.
    text = None if value is None else str(value)
    return pb.AggregateGroup(value=text, text=texts.get(text or "", ""))
