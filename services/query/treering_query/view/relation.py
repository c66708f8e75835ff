"""The relation `logs`, for the service's own process and for the processes of users' queries; imports next to nothing on purpose."""

from collections.abc import Iterable, Sequence

from treering_query.values import attributes

SEVERITY_NAMES = (
    "UNSPECIFIED",
    *(f"{name}{step}" for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL") for step in ("", "2", "3", "4")),
)
"""By severity number, 0 to 24."""

PATTERNS_VIEW = "create view patterns as select * exclude (template_text) from {patterns}"
"""The statement that defines `patterns` as users see them, over a relation with what the store gives of them."""

TEMPLATES_VIEW = """
create view templates as
select template_id, any_value(template_text) as text, list(distinct service order by service) as services, count(*) as pattern_count,
    sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from {patterns} group by template_id
"""
"""The same for `templates`. `logs` has no `template_id`: as a column of the view it would cost a join whether it is used or not."""


def logs_view(sealed: str | None, columns: Sequence[str]) -> str:
    """The statement that defines `logs` over sealed records, if any, and the relation `_hot`."""
    # The columns by name: each part of the union must have them in the same order.
    return "create or replace temp view logs as " + _records(sealed, "_hot", ", ".join(f'"{name}"' for name in columns))


def user_columns(keys: Iterable[str] | None = None) -> str:
    """The columns of `logs` as users see them, as expressions over those of the store; with `keys` only these attributes."""
    shown = attributes.some(keys) if keys else attributes.ALL
    names = ", ".join(f"'{name}'" for name in SEVERITY_NAMES)
    return f"""log_id, "offset", time, arrival_time, severity, [{names}][severity + 1] as severity_text, service, environment,
        message, {shown} as attributes, lower(hex(trace_id)) as trace_id, lower(hex(span_id)) as span_id, pattern_id"""


def user_logs_view(sealed: str | None, hot: str, keys: Iterable[str] | None = None) -> str:
    """The statement that defines `logs` as users see it, over sealed and hot records: ids in hex, severities by name, resources as maps.

    Args:
        sealed: A relation, if there are sealed records.
        hot: A relation.
        keys: The only attributes that are asked for, if that is known.
    """
    return "create view logs as " + _records(sealed, hot, f"{user_columns(keys)}, {attributes.RESOURCE_MAP} as resource")


def _records(sealed: str | None, hot: str, columns: str) -> str:
    parts = (sealed, hot) if sealed else (hot,)
    return " union all ".join(f"select {columns} from {part}" for part in parts)
