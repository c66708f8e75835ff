"""The rpcs of QueryService that answer with records, and its state."""

from collections.abc import Sequence
from typing import Literal

from treering.calls.call import Call, choice
from treering.v1 import query_pb2
from treering.v1.log_pb2 import LogFilter, Position

SearchMode = Literal["hybrid", "semantic", "keyword"]
_SEARCH_MODES = {
    "hybrid": query_pb2.SEARCH_MODE_HYBRID,
    "semantic": query_pb2.SEARCH_MODE_SEMANTIC,
    "keyword": query_pb2.SEARCH_MODE_KEYWORD,
}


def search_logs(
    text: str = "",
    *,
    like: Position | None = None,
    mode: SearchMode = "hybrid",
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    page_size: int | None = None,
    flat: bool = False,
    samples_per_pattern: int | None = None,
    min_score: float = 0,
    literal_budget_ms: int | None = None,
    page_token: str = "",
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.SearchLogsRequest]:
    """Finds records by what they say, in words that they need not contain.

    Args:
        text: What is looked for, 1 to 10,000 characters.
        like: Look for records like the one at this position instead; its `log_id` 0 is the only log there is.
        mode: "hybrid" (literal hits first, then by meaning), "semantic" (by meaning alone) or "keyword" (by words alone).
        filter: Which records, see `log_filter`.
        page_size: How many results, 1 to 1,000: patterns, or records when `flat`. None is 10.
        flat: One result for each record instead of one for each pattern.
        samples_per_pattern: How many sample records a pattern comes with, 0 to 100; None is 3.
        min_score: Leave out results with a lower score, 0 to 1; never what was found literally.
        literal_budget_ms: How long to look for literal hits in messages, at most 60,000; None is 300.
        page_token: `next_page_token` of the page before, for the same question.
        min_positions: See the module.
        timeout: See the module.

    Returns:
        Results, best first, each with score, reasons, pattern, count and sample records.

    Raises:
        ValueError: No such mode.
    """
    request = query_pb2.SearchLogsRequest(
        text=text,
        mode=choice("mode", mode, _SEARCH_MODES),
        filter=filter,
        page_size=page_size,
        flat=flat,
        samples_per_pattern=samples_per_pattern,
        min_score=min_score,
        literal_budget_ms=literal_budget_ms,
        like=like,
        page_token=page_token,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def tail_logs(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    backlog: int = 0,
    start: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.TailLogsRequest]:
    """Yields records as they become visible, without end: `tail` one by one, `tail_logs` as they were sent. A lost connection is an error.

    Args:
        filter: Which records.
        backlog: Begin with this many of the newest records, at most 10,000.
        start: Begin with everything at or after these positions instead (an earlier answer's `resume_from`).
        timeout: None is no deadline.
    """
    return Call(query_pb2.TailLogsRequest(filter=filter, backlog=backlog, start_positions=start), timeout)


def get_log_context(
    offset: int,
    *,
    log_id: int = 0,
    before: int | None = None,
    after: int | None = None,
    all_services: bool = False,
    page_token: str = "",
    timeout: float | None = None,
) -> Call[query_pb2.GetLogContextRequest]:
    """A record among its neighbours of the same service; where these are large, a page at a time, the nearest ones first.

    Args:
        offset: The record's offset.
        log_id: Its log; 0 is the only one there is.
        before: How many records before it, at most 1,000; None is 10.
        after: How many records after it, at most 1,000; None is 10.
        all_services: Neighbours of every service.
        page_token: `next_page_token` of the page before.
        timeout: See the module.

    Raises:
        NotFoundError: There is no record at this offset.
    """
    position = Position(log_id=log_id, offset=offset)
    request = query_pb2.GetLogContextRequest(position=position, before=before, after=after, all_services=all_services)
    request.page_token = page_token
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


def get_query_status(*, timeout: float | None = None) -> Call[query_pb2.GetQueryStatusRequest]:
    """How far the store is, and what it holds."""
    return Call(query_pb2.GetQueryStatusRequest(), timeout)
