"""Statistics of records: counts and times by pattern, environment and severity."""

import pyarrow as pa

from treering_query.values.schemas import COUNTS_SCHEMA

_GROUP = ["pattern_id", "environment", "severity"]


def statistics(records: pa.Table) -> pa.Table:
    """Statistics of some records, `COUNTS_SCHEMA`."""
    # By Arrow and not by SQL: callers have no connection at hand. The sealer's SQL gives the same.
    grouped = records.group_by(_GROUP).aggregate([([], "count_all"), ("time", "min"), ("time", "max")])
    return grouped.select([*_GROUP, "count_all", "time_min", "time_max"]).rename_columns(COUNTS_SCHEMA.names).cast(COUNTS_SCHEMA)


def merged(counts: pa.Table) -> pa.Table:
    """Statistics with one row for each pattern, environment and severity, sorted by these."""
    found = counts.group_by(_GROUP).aggregate([("count", "sum"), ("first_time", "min"), ("last_time", "max")])
    columns = [*_GROUP, "count_sum", "first_time_min", "last_time_max"]
    return found.select(columns).rename_columns(COUNTS_SCHEMA.names).cast(COUNTS_SCHEMA).sort_by([(name, "ascending") for name in _GROUP])
