"""The rpcs of QueryService that count: aggregates and SQL."""

from collections.abc import Sequence
from typing import Literal

from treering import metrics
from treering.calls.call import Call, choice
from treering.v1 import query_pb2
from treering.v1.log_pb2 import LogFilter, Position

AggregateOrder = Literal["bucket", "largest", "smallest", "group"]
_AGGREGATE_ORDERS = {
    "bucket": query_pb2.AGGREGATE_ORDER_BUCKET,
    "largest": query_pb2.AGGREGATE_ORDER_VALUE_DESCENDING,
    "smallest": query_pb2.AGGREGATE_ORDER_VALUE_ASCENDING,
    "group": query_pb2.AGGREGATE_ORDER_GROUP,
}
_SQL_DEFAULT_TIMEOUT_S = 30.0
_SQL_GRACE_S = 10.0


def aggregate_logs(
    *,
    by: Sequence[str | query_pb2.FieldRef] = (),
    metric: Sequence[str | query_pb2.Metric] = ("count",),
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    bucket_s: float | None = None,
    time_zone: str = "",
    order: AggregateOrder = "bucket",
    limit: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.AggregateLogsRequest]:
    """Counts and other numbers, grouped and bucketed.

    Args:
        by: What to group by, at most 8: service, environment, severity, pattern, template, message, trace_id, about:TEXT, or an
            attribute's key. Nothing is one group.
        metric: What to compute, at most 16: count, rate, distinct:FIELD, min:ATTR, max:ATTR, avg:ATTR, sum:ATTR, p95:ATTR.
        filter: Which records, see `log_filter`.
        bucket_s: Length of a time bucket in seconds, at least 0.001; None is no buckets. They cover the filter's time, with records or
            without; without an end they go on until now.
        time_zone: IANA name of the zone that buckets are cut in; empty is UTC.
        order: By bucket and largest value ("bucket"), "largest" or "smallest" first value, or by "group".
        limit: How many groups at most, 1 to 100,000; None is 10,000.
        min_positions: See the module.
        timeout: See the module.

    Returns:
        Rows of bucket, group values in the order of `by`, numbers in the order of `metric`.

    Raises:
        ValueError: A metric, field or order is none.
    """
    request = query_pb2.AggregateLogsRequest(
        filter=filter,
        group_by=[metrics.field(name) for name in by],
        metrics=[metrics.metric(text) for text in metric],
        bucket_nanos=None if bucket_s is None else round(bucket_s * 1e9),
        time_zone=time_zone,
        order=choice("order", order, _AGGREGATE_ORDERS),
        limit=limit,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def execute_sql(
    query: str,
    *,
    max_rows: int | None = None,
    timeout_ms: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ExecuteSqlRequest]:
    """Runs one read-only SELECT over the tables `logs`, `patterns` and `templates`.

    Args:
        query: The SELECT.
        max_rows: Stop after this many rows, at most 10,000,000; None is 100,000.
        timeout_ms: Stop the query after this time, at most 600,000; None is 30,000.
        min_positions: See the module.
        timeout: See the module; by default a little more than `timeout_ms`, so that the service's own words arrive.

    Returns:
        `sql`: the whole result. `execute_sql`: an iterator of its parts; their `arrow_ipc` together are one Arrow IPC stream, the last one
        holds the summary.

    Raises:
        SqlError: The SQL has an error, is more than one reading statement, or needs more than it may have.
    """
    request = query_pb2.ExecuteSqlRequest(query=query, max_rows=max_rows, timeout_ms=timeout_ms, min_positions=min_positions)
    # Above the query's own limit: then the service's error arrives, which says more than that a deadline is over.
    default = (_SQL_DEFAULT_TIMEOUT_S if timeout_ms is None else timeout_ms / 1000) + _SQL_GRACE_S
    return Call(request, default if timeout is None else timeout)
