"""The rpcs of QueryService about kinds of messages."""

from collections.abc import Sequence
from typing import Literal

from treering.calls.call import Call, choice
from treering.times import TimeLike, time_nanos
from treering.v1 import query_pb2
from treering.v1.log_pb2 import LogFilter, Position

PatternOrder = Literal["count", "rarity", "newest", "last_seen", "growth"]
PatternUnit = Literal["pattern", "template"]
PatternChange = Literal["new", "gone", "more", "less"]
_PATTERN_ORDERS = {
    "count": query_pb2.PATTERN_ORDER_COUNT,
    "rarity": query_pb2.PATTERN_ORDER_RARITY,
    "newest": query_pb2.PATTERN_ORDER_NEWEST,
    "last_seen": query_pb2.PATTERN_ORDER_LAST_SEEN,
    "growth": query_pb2.PATTERN_ORDER_GROWTH,
}
_UNITS = {"pattern": query_pb2.PATTERN_UNIT_PATTERN, "template": query_pb2.PATTERN_UNIT_TEMPLATE}
_CHANGES = {
    "new": query_pb2.PATTERN_CHANGE_NEW,
    "gone": query_pb2.PATTERN_CHANGE_GONE,
    "more": query_pb2.PATTERN_CHANGE_MORE,
    "less": query_pb2.PATTERN_CHANGE_LESS,
}


def list_patterns(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    order: PatternOrder = "count",
    unit: PatternUnit = "pattern",
    sparkline_buckets: int | None = None,
    page_size: int | None = None,
    page_token: str = "",
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ListPatternsRequest]:
    """Patterns or templates with their counts: `list_patterns` gives one page, `patterns` all, one by one; `timeout` is for each page.

    Args:
        filter: Which records count.
        order: By "count", "rarity", "newest" (latest first appearance), "last_seen" or "growth".
        unit: "pattern" (of one service), or "template" (what differs in one variable word or in the service, taken together).
        sparkline_buckets: In how many equal parts of time records are counted, 2 to 240; None is not at all.
        page_size: How many, 1 to 10,000; None is 50, with `patterns` 1,000.
        page_token: `next_page_token` of the page before.
        min_positions: See the module.
        timeout: See the module.

    Raises:
        ValueError: No such order or unit.
    """
    request = query_pb2.ListPatternsRequest(
        filter=filter,
        order=choice("order", order, _PATTERN_ORDERS),
        unit=choice("unit", unit, _UNITS),
        sparkline_buckets=sparkline_buckets,
        page_size=page_size,
        page_token=page_token,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def get_pattern(
    pattern_id: int,
    *,
    unit: PatternUnit = "pattern",
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    buckets: int | None = None,
    values_per_variable: int | None = None,
    samples: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.GetPatternRequest]:
    """One pattern or template in depth: its records over time, and the values that its variable parts take.

    Args:
        pattern_id: Its id.
        unit: What the id names: a "pattern" or a "template".
        filter: Which of its records.
        buckets: In how many equal parts of time its records are counted, 2 to 1,000; None is 60.
        values_per_variable: How many values each variable part is listed with, 1 to 1,000; None is 10.
        samples: How many sample records, at most 100; None is 3.
        min_positions: See the module.
        timeout: See the module.

    Raises:
        NotFoundError: There is no such pattern.
        ValueError: No such unit.
    """
    # Checked here, as the name of a field is made of it.
    choice("unit", unit, _UNITS)
    request = query_pb2.GetPatternRequest(
        filter=filter, buckets=buckets, values_per_variable=values_per_variable, samples=samples, min_positions=min_positions
    )
    setattr(request, f"{unit}_id", pattern_id)
    return Call(request, timeout)


def compare_patterns(
    filter: LogFilter,  # noqa: A002 - the contract's name
    baseline: LogFilter,
    *,
    unit: PatternUnit = "pattern",
    changes: Sequence[PatternChange] = (),
    min_log_likelihood_ratio: float = 0,
    page_size: int | None = None,
    page_token: str = "",
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ComparePatternsRequest]:
    """How the patterns of two selections differ: new, gone, more, less; most telling first.

    Args:
        filter: What is looked at.
        baseline: What it is compared with.
        unit: "pattern" or "template".
        changes: Only these: "new", "gone", "more", "less". None is all.
        min_log_likelihood_ratio: Leave out "more" and "less" below this; 10.83 leaves out what chance alone would give one time in 1,000.
        page_size: How many differences, 1 to 10,000; None is 50.
        page_token: `next_page_token` of the page before, for the same question; pages also end where a message would be too large.
        min_positions: See the module.
        timeout: See the module.

    Raises:
        ValueError: No such unit or change.
    """
    request = query_pb2.ComparePatternsRequest(
        filter=filter,
        baseline=baseline,
        unit=choice("unit", unit, _UNITS),
        changes=[choice("changes", change, _CHANGES) for change in changes],
        min_log_likelihood_ratio=min_log_likelihood_ratio,
        page_size=page_size,
        page_token=page_token,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def watch_patterns(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    start: Sequence[Position] = (),
    since: TimeLike | None = None,
    timeout: float | None = None,
) -> Call[query_pb2.WatchPatternsRequest]:
    """Yields patterns that were never seen before, as they appear, each at least once; and signs of life, which have no `pattern`.

    Args:
        filter: Which records may announce a pattern: its first one must be among them.
        start: Announce what is new since these positions (an earlier answer's `resume_from`); empty is from `since` on.
        since: Announce what has arrived since this time; None is from now on. Ignored with `start`.
        timeout: None is no deadline.
    """
    since_unix_nano = None if since is None else time_nanos(since, "since")
    return Call(query_pb2.WatchPatternsRequest(filter=filter, start_positions=start, since_unix_nano=since_unix_nano), timeout)
