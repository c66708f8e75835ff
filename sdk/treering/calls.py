"""One function for each rpc: its arguments in Python's terms, the request it becomes, and its manual.

`Client` and `AsyncClient` have a method for each, with the same name, arguments and documentation. In all of them:

- `timeout` is the call's deadline in seconds. None takes the client's default; `math.inf` sets none. Endless streams have none by default.
- `min_positions` waits until the answer includes everything below these positions, within the deadline: pass `UploadResult.positions`
  (or the `seen` of an earlier answer) to read what was written.
- Answers are the contract's own messages (`treering.v1`), whose fields are documented there.
- Every failure is a `TreeringError`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from treering import metrics
from treering.v1 import embed_pb2, ingest_pb2, query_pb2
from treering.v1.log_pb2 import LogFilter, Position

Request = TypeVar("Request")

SearchMode = Literal["hybrid", "semantic", "keyword"]
AggregateOrder = Literal["default", "largest", "smallest", "group"]
PatternOrder = Literal["count", "rarity", "newest", "last_seen"]

_SEARCH_MODES = {
    "hybrid": query_pb2.SEARCH_MODE_HYBRID,
    "semantic": query_pb2.SEARCH_MODE_SEMANTIC,
    "keyword": query_pb2.SEARCH_MODE_KEYWORD,
}
_AGGREGATE_ORDERS = {
    "default": query_pb2.AGGREGATE_ORDER_UNSPECIFIED,
    "largest": query_pb2.AGGREGATE_ORDER_VALUE_DESCENDING,
    "smallest": query_pb2.AGGREGATE_ORDER_VALUE_ASCENDING,
    "group": query_pb2.AGGREGATE_ORDER_GROUP,
}
_PATTERN_ORDERS = {
    "count": query_pb2.PATTERN_ORDER_COUNT,
    "rarity": query_pb2.PATTERN_ORDER_RARITY,
    "newest": query_pb2.PATTERN_ORDER_NEWEST,
    "last_seen": query_pb2.PATTERN_ORDER_LAST_SEEN,
}
_SQL_DEFAULT_TIMEOUT_S = 30.0
_SQL_GRACE_S = 10.0


@dataclass(frozen=True)
class Call(Generic[Request]):
    """A request and its deadline, ready to be sent."""

    request: Request
    timeout: float | None


def upload_logs(
    batches: Iterable[ingest_pb2.UploadLogsRequest], *, timeout: float | None = None
) -> Call[Iterable[ingest_pb2.UploadLogsRequest]]:
    """Uploads batches and answers once, when all are durable. The bare rpc: no resuming; `uploader` is what most programs want.

    Args:
        batches: Batches under 4 MiB. With a `producer_id` and sequences 1, 2, 3, ... a repeat is recognised and stored once.
        timeout: See the module.

    Returns:
        Counts of stored, repeated and refused records, and where they end in the log.
    """
    return Call(batches, timeout)


def stream_logs(
    batches: Iterable[ingest_pb2.StreamLogsRequest], *, timeout: float | None = None
) -> Call[Iterable[ingest_pb2.StreamLogsRequest]]:
    """Uploads batches for as long as they come, and yields acknowledgements. The bare rpc: `uploader` resumes and batches.

    Returns:
        An iterator of acknowledgements; each stands for all batches of its producer up to its sequence.
    """
    return Call(batches, timeout)


def get_ingest_status(*, timeout: float | None = None) -> Call[ingest_pb2.GetIngestStatusRequest]:
    """How the log and its sinks are doing: offsets, bytes, each sink's progress and lag, limits in force."""
    return Call(ingest_pb2.GetIngestStatusRequest(), timeout)


def digest_log(first_offset: int, end_offset: int, *, step: int = 4_096, timeout: float | None = None) -> Call[ingest_pb2.DigestLogRequest]:
    """Reads a part of the log again and digests it, to be compared with `digest_store`. `treering verify` does it for everything.

    Args:
        first_offset: Where to begin.
        end_offset: Where to end, at most 262,144 later.
        step: Offsets in one run; at most 4,096 runs.
        timeout: See the module.
    """
    return Call(ingest_pb2.DigestLogRequest(first_offset=first_offset, end_offset_exclusive=end_offset, step=step), timeout)


def search_patterns(
    text: str,
    *,
    restrict_to: Iterable[int] | None = None,
    services: Sequence[str] = (),
    also_score_ids: Sequence[int] = (),
    limit: int = 10,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[embed_pb2.SearchPatternsRequest]:
    """Ranks patterns by closeness of meaning. `search_logs` is the same with records, counts and literal hits.

    Args:
        text: What is looked for, in any words.
        restrict_to: Only these patterns; None is all, an empty list is none.
        services: Only patterns of these services.
        also_score_ids: Score these too, wherever they rank.
        limit: How many patterns, 1 to 10,000.
        min_positions: See the module.
        timeout: See the module.
    """
    request = embed_pb2.SearchPatternsRequest(
        text=text, services=services, also_score_ids=also_score_ids, limit=limit, min_positions=min_positions
    )
    if restrict_to is not None:
        request.restrict_to.CopyFrom(embed_pb2.PatternIdSet(pattern_ids=restrict_to))
    return Call(request, timeout)


def score_patterns(
    texts: Sequence[str], *, min_positions: Sequence[Position] = (), timeout: float | None = None
) -> Call[embed_pb2.ScorePatternsRequest]:
    """Scores every pattern against each of 1 to 16 texts.

    Returns:
        An iterator of slices of at most 16,384 patterns.
    """
    return Call(embed_pb2.ScorePatternsRequest(texts=texts, min_positions=min_positions), timeout)


def embed_texts(texts: Sequence[str], *, timeout: float | None = None) -> Call[embed_pb2.EmbedTextsRequest]:
    """Embeds 1 to 256 texts with the model of the index; vectors have unit length."""
    return Call(embed_pb2.EmbedTextsRequest(texts=texts), timeout)


def forget_patterns(
    pattern_ids: Sequence[int], *, below: Sequence[Position] = (), timeout: float | None = None
) -> Call[embed_pb2.ForgetPatternsRequest]:
    """Forgets at most 10,000 patterns that were last seen below the given positions. Idempotent; the query service calls it by itself."""
    return Call(embed_pb2.ForgetPatternsRequest(pattern_ids=pattern_ids, below=below), timeout)


def get_embed_status(*, timeout: float | None = None) -> Call[embed_pb2.GetEmbedStatusRequest]:
    """Which model is in use, and how far the index is."""
    return Call(embed_pb2.GetEmbedStatusRequest(), timeout)


def digest_index(*, min_positions: Sequence[Position] = (), timeout: float | None = None) -> Call[embed_pb2.DigestIndexRequest]:
    """Compares the registry of patterns with the index.

    Returns:
        An iterator of messages, each with some ids of one state; the last one has `keyword_only_count`.
    """
    return Call(embed_pb2.DigestIndexRequest(min_positions=min_positions), timeout)


def aggregate_logs(
    *,
    by: Sequence[str | query_pb2.FieldRef] = (),
    metric: Sequence[str | query_pb2.Metric] = ("count",),
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    bucket_s: float = 0,
    time_zone: str = "",
    order: AggregateOrder = "default",
    limit: int = 0,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.AggregateLogsRequest]:
    """Counts and other numbers, grouped and bucketed.

    Args:
        by: What to group by, at most 8: service, environment, severity, pattern, message, trace_id, or an attribute's key.
            None is one group.
        metric: What to compute, at most 16: count, rate, distinct:FIELD, min:ATTR, max:ATTR, avg:ATTR, sum:ATTR, p95:ATTR.
        filter: Which records, see `log_filter`.
        bucket_s: Length of a time bucket in seconds, at least 0.001; 0 is no buckets.
        time_zone: IANA name of the zone that buckets are cut in; empty is UTC.
        order: By bucket and largest value ("default"), "largest" or "smallest" first value, or by "group".
        limit: How many groups at most, 1 to 100,000; 0 is 10,000.
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
        bucket_nanos=round(bucket_s * 1e9),
        time_zone=time_zone,
        order=_choice("order", order, _AGGREGATE_ORDERS),
        limit=limit,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def execute_sql(
    query: str,
    *,
    max_rows: int = 0,
    timeout_ms: int = 0,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ExecuteSqlRequest]:
    """Runs one read-only SELECT over the tables `logs` and `patterns`. The bare rpc: `sql` gives a table or dictionaries.

    Args:
        query: The SELECT.
        max_rows: Stop after this many rows, at most 10,000,000; 0 is 100,000.
        timeout_ms: Stop the query after this time, at most 600,000; 0 is 30,000.
        min_positions: See the module.
        timeout: See the module; by default a little more than `timeout_ms`, so that the service's own words arrive.

    Returns:
        An iterator of parts; their `arrow_ipc` together are one Arrow IPC stream, the last one holds the summary.

    Raises:
        SqlError: The SQL has an error, is more than one reading statement, or needs more than it may have.
    """
    request = query_pb2.ExecuteSqlRequest(query=query, max_rows=max_rows, timeout_ms=timeout_ms, min_positions=min_positions)
    default = (timeout_ms / 1000 or _SQL_DEFAULT_TIMEOUT_S) + _SQL_GRACE_S
    return Call(request, default if timeout is None else timeout)


def search_logs(
    text: str,
    *,
    mode: SearchMode = "hybrid",
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    limit: int = 10,
    flat: bool = False,
    samples_per_pattern: int | None = None,
    min_score: float = 0,
    literal_budget_ms: int = 0,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.SearchLogsRequest]:
    """Finds records by what they say, in words that they need not contain.

    Args:
        text: What is looked for, 1 to 10,000 characters.
        mode: "hybrid" (literal hits first, then by meaning), "semantic" (by meaning alone) or "keyword" (by words alone).
        filter: Which records, see `log_filter`.
        limit: How many results, 1 to 1,000: patterns, or records when `flat`.
        flat: One result for each record instead of one for each pattern.
        samples_per_pattern: How many sample records a pattern comes with, 0 to 100; None is 3.
        min_score: Leave out results with a lower score, 0 to 1; never what was found literally.
        literal_budget_ms: How long to look for literal hits in messages, at most 60,000; 0 is 300.
        min_positions: See the module.
        timeout: See the module.

    Returns:
        Results, best first, each with score, reasons, pattern, count and sample records.

    Raises:
        ValueError: No such mode.
    """
    request = query_pb2.SearchLogsRequest(
        text=text,
        mode=_choice("mode", mode, _SEARCH_MODES),
        filter=filter,
        limit=limit,
        flat=flat,
        samples_per_pattern=samples_per_pattern,
        min_score=min_score,
        literal_budget_ms=literal_budget_ms,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def list_patterns(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    order: PatternOrder = "count",
    page_size: int = 0,
    page_token: str = "",
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ListPatternsRequest]:
    """One page of patterns with their counts. `patterns` goes through all pages.

    Args:
        filter: Which records count.
        order: By "count", "rarity", "newest" (latest first appearance) or "last_seen".
        page_size: How many, 1 to 10,000; 0 is 50.
        page_token: `next_page_token` of the page before.
        min_positions: See the module.
        timeout: See the module.

    Raises:
        ValueError: No such order.
    """
    chosen = _choice("order", order, _PATTERN_ORDERS)
    request = query_pb2.ListPatternsRequest(
        filter=filter, order=chosen, page_size=page_size, page_token=page_token, min_positions=min_positions
    )
    return Call(request, timeout)


def compare_patterns(
    filter: LogFilter,  # noqa: A002 - the contract's name
    baseline: LogFilter,
    *,
    limit: int = 0,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ComparePatternsRequest]:
    """How the patterns of two selections differ: new, gone, more, less; most telling first.

    Raises:
        UnsupportedError: The server does not serve it yet.
    """
    request = query_pb2.ComparePatternsRequest(filter=filter, baseline=baseline, limit=limit, min_positions=min_positions)
    return Call(request, timeout)


def watch_patterns(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    start: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.WatchPatternsRequest]:
    """Yields patterns that were never seen before, as they appear; `start` takes up at an earlier answer's `resume_from`.

    Raises:
        UnsupportedError: The server does not serve it yet.
    """
    request = query_pb2.WatchPatternsRequest(filter=filter)
    getattr(request, "from").extend(start)
    return Call(request, timeout)


def tail_logs(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    backlog: int = 0,
    start: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.TailLogsRequest]:
    """Yields records as they become visible. The bare rpc: `tail` yields record by record and survives disconnects.

    Args:
        filter: Which records.
        backlog: Begin with this many of the newest records, at most 10,000.
        start: Begin with everything at or after these positions instead (an earlier answer's `resume_from`).
        timeout: None is no deadline.
    """
    request = query_pb2.TailLogsRequest(filter=filter, backlog=backlog)
    getattr(request, "from").extend(start)
    return Call(request, timeout)


def get_log_context(
    offset: int,
    *,
    log_id: int = 0,
    before: int | None = None,
    after: int | None = None,
    all_services: bool = False,
    timeout: float | None = None,
) -> Call[query_pb2.GetLogContextRequest]:
    """A record among its neighbours of the same service.

    Args:
        offset: The record's offset.
        log_id: Its log; 0 is the only one there is.
        before: How many records before it, at most 1,000; None is 10.
        after: How many records after it, at most 1,000; None is 10.
        all_services: Neighbours of every service.
        timeout: See the module.

    Raises:
        NotFoundError: There is no record at this offset.
    """
    position = Position(log_id=log_id, offset=offset)
    request = query_pb2.GetLogContextRequest(position=position, before=before, after=after, all_services=all_services)
    return Call(request, timeout)


def get_query_status(*, timeout: float | None = None) -> Call[query_pb2.GetQueryStatusRequest]:
    """How far the store is, and what it holds."""
    return Call(query_pb2.GetQueryStatusRequest(), timeout)


def digest_store(
    log_id: int,
    first_offset: int,
    end_offset: int,
    *,
    step: int = 4_096,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.DigestStoreRequest]:
    """Reads a part of the store again and digests it, to be compared with `digest_log`.

    Args:
        log_id: The log that the records came from.
        first_offset: Where to begin.
        end_offset: Where to end, at most 262,144 later.
        step: Offsets in one run; at most 4,096 runs.
        min_positions: See the module.
        timeout: See the module.
    """
    request = query_pb2.DigestStoreRequest(
        log_id=log_id, first_offset=first_offset, end_offset_exclusive=end_offset, step=step, min_positions=min_positions
    )
    return Call(request, timeout)


def export_logs(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ExportLogsRequest]:
    """Streams every record that a filter selects, without a limit on rows.

    Args:
        filter: Which records, see `log_filter`.
        min_positions: See the module.
        timeout: None is no deadline.

    Returns:
        An iterator of parts; their `arrow_ipc` together are one Arrow IPC stream, the last one holds the summary: without it the export
        is not complete.
    """
    return Call(query_pb2.ExportLogsRequest(filter=filter, min_positions=min_positions), timeout)


_Value = TypeVar("_Value")


def _choice(name: str, value: str, choices: dict[str, _Value]) -> _Value:
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(choices)}")
    return choices[value]
