"""The relation `logs`, for the service's own process and for the processes of users' queries; imports nothing on purpose."""

from collections.abc import Sequence

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


def logs_view(files: Sequence[str], columns: Sequence[str]) -> str:
    """The statement that defines `logs` over some Parquet files of ours and the relation `_hot`."""
    # The columns by name: each part of the union must have them in the same order.
    return "create or replace temp view logs as " + _records(files, "_hot", ", ".join(f'"{name}"' for name in columns))


def user_columns() -> str:
    """The columns of `logs` as users see them, as expressions over those of the store."""
    names = ", ".join(f"'{name}'" for name in SEVERITY_NAMES)
    return f"""log_id, "offset", time, arrival_time, severity, [{names}][severity + 1] as severity_text, service, environment,
        message, attributes, lower(hex(trace_id)) as trace_id, lower(hex(span_id)) as span_id, pattern_id"""


def user_logs_view(files: Sequence[str], hot: str) -> str:
    """The statement that defines `logs` as users see it, over files and a relation: ids in hex, severities by name as well."""
    return "create view logs as " + _records(files, hot, user_columns())


def _records(files: Sequence[str], hot: str, columns: str) -> str:
    parts = [f"select {columns} from {hot}"]
    if files:
        # Quoted, not bound: DuckDB takes no parameters in the definition of a view.
        names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        # Without a file there is no `read_parquet`: it refuses an empty list.
        parts.insert(0, f"select {columns} from read_parquet([{names}])")
    return " union all ".join(parts)
