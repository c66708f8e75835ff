"""The rpcs of QueryService that list: records, fields, values."""

from collections.abc import Sequence
from typing import Literal

from treering import metrics
from treering.calls.call import Call, choice
from treering.v1 import query_pb2
from treering.v1.log_pb2 import LogFilter, Position

LogOrder = Literal["newest", "oldest", "position"]
_LOG_ORDERS = {
    "newest": query_pb2.LOG_ORDER_NEWEST_FIRST,
    "oldest": query_pb2.LOG_ORDER_OLDEST_FIRST,
    "position": query_pb2.LOG_ORDER_BY_POSITION,
}


def list_logs(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    order: LogOrder = "newest",
    page_size: int | None = None,
    page_token: str = "",
    max_message_bytes: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ListLogsRequest]:
    """Records in an order: `list_logs` gives one page, `logs` all, one by one; `timeout` is for each page.

    All pages are about the records that the first one saw: what arrives meanwhile neither repeats nor hides one.

    Args:
        filter: Which records, see `log_filter`.
        order: "newest" or "oldest" by time, then by position; or by "position" alone.
        page_size: How many, 1 to 10,000; None is 100, with `logs` 1,000.
        page_token: `next_page_token` of the page before.
        max_message_bytes: Cut longer messages, between two characters; `whole_message_bytes` of a record then says how long its message
            is. None is not at all.
        min_positions: See the module.
        timeout: See the module.

    Raises:
        ValueError: No such order.
    """
    request = query_pb2.ListLogsRequest(
        filter=filter,
        order=choice("order", order, _LOG_ORDERS),
        page_size=page_size,
        page_token=page_token,
        max_message_bytes=max_message_bytes,
        min_positions=min_positions,
    )
    return Call(request, timeout)


def list_fields(
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    page_size: int | None = None,
    page_token: str = "",
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ListFieldsRequest]:
    """The fields that records have, built-in ones first, then attributes, most records first: `list_fields` gives one page, `fields` all.

    Args:
        filter: Which records, see `log_filter`.
        page_size: How many fields, 1 to 10,000; None is 1,000.
        page_token: `next_page_token` of the page before.
        min_positions: See the module.
        timeout: See the module.

    Returns:
        Fields, each with the number of records that have it, and what kinds of values these are.
    """
    request = query_pb2.ListFieldsRequest(filter=filter, page_size=page_size, page_token=page_token, min_positions=min_positions)
    return Call(request, timeout)


def list_field_values(
    fields: Sequence[str | query_pb2.FieldRef],
    *,
    filter: LogFilter | None = None,  # noqa: A002 - the contract's name
    values_per_field: int | None = None,
    budget_ms: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[query_pb2.ListFieldValuesRequest]:
    """The most frequent values of some fields, with counts.

    Args:
        fields: Which, 1 to 20: service, environment, severity, pattern, template, message, trace_id, about:TEXT, or an attribute's key.
        filter: Which records, see `log_filter`.
        values_per_field: How many values of each, 1 to 1,000; None is 10.
        budget_ms: Look at the newest records only, as many as can be read in about so many milliseconds, at most 60,000; None is all.
        min_positions: See the module.
        timeout: See the module.

    Returns:
        Values, counts and how many different values there are, for each field in the order of `fields`.

    Raises:
        ValueError: A field has no name.
    """
    request = query_pb2.ListFieldValuesRequest(
        filter=filter,
        fields=[metrics.field(name) for name in fields],
        values_per_field=values_per_field,
        budget_ms=budget_ms,
        min_positions=min_positions,
    )
    return Call(request, timeout)
