"""How many records a filter selects of each pattern: from statistics where the filter allows, else by counting."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_query.view.view import View

# Columns of the statistics and of the pattern table. A condition on anything else needs the records.
_IN_STATISTICS = frozenset({"service", "environment", "severity", "pattern_id", "template_id"})

_STATISTICS = """
select pattern_id, severity, count, first_time, last_time
from (select pattern_counts.*, service from pattern_counts join _patterns using (pattern_id))
where {condition}
"""

_COUNTED = """
select pattern_id, severity, count(*) as count, min(time) as first_time, max(time) as last_time
from logs where {condition} group by pattern_id, severity
"""


def in_statistics(view: View, columns: frozenset[str]) -> bool:
    """Whether statistics answer for some columns. They have a record's service from its pattern, so all records must have one."""
    return columns <= _IN_STATISTICS and not ("service" in columns and view.has_records_without_pattern)


def counts_sql(view: View, predicate: Predicate) -> str:
    """A SELECT of (pattern_id, severity, count, first_time, last_time), perhaps several rows a pattern and severity."""
    # The two give the same numbers; only the cost differs, by the number of records in a group.
    template = _STATISTICS if in_statistics(view, predicate.columns) else _COUNTED
    return template.format(condition=predicate.sql)


def selected_counts(snapshot: Snapshot, predicate: Predicate) -> pa.Table:
    """Records by pattern: pattern_id, n; patterns without any are left out."""
    if in_statistics(snapshot.view, predicate.columns):
        sql = f"select pattern_id, sum(count)::bigint as n from ({counts_sql(snapshot.view, predicate)}) group by pattern_id"
    else:
        sql = f"select pattern_id, count(*) as n from logs where {predicate.sql} group by pattern_id"
    return snapshot.query(sql, predicate.parameters, within=predicate)


def total_counts(view: View, pattern_ids: Iterable[int]) -> dict[int, int]:
    """All records of some patterns, whatever the filter; patterns without any are left out."""
    wanted = pa.array(list(pattern_ids), pa.uint64())
    # Without SQL: a few ids of a table in memory are found faster than a statement is planned.
    tables = [view.sealed_counts, *(chunk.counts for chunk in view.hot)]
    # One pattern has many rows: by environment and severity, and by chunk.
    totals: Counter[int] = Counter()
    for table in tables:
        found = table.select(["pattern_id", "count"]).filter(pc.is_in(table.column("pattern_id"), wanted))
        for pattern_id, count in zip(*(column.to_pylist() for column in found.columns), strict=True):
            totals[pattern_id] += count
    return dict(totals)
