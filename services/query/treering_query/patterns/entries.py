"""What answers say of a pattern or a template: made from one count of the selected records by pattern and severity.

`count` makes it; whoever asks registers it as `_counted` with the snapshot, and the other functions here look there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.patterns.counts import counts_sql
from treering_query.patterns.series import Counts, Span, series
from treering_query.reading.records import nanoseconds
from treering_query.values.pattern_ids import as_ids, relation
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot

UNITS = {pb.PATTERN_UNIT_PATTERN: "pattern_id", pb.PATTERN_UNIT_TEMPLATE: "template_id"}
"""The column of `_patterns` that tells entries apart."""

_COUNTED = """
select pattern_id, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from ({counts}) group by pattern_id, severity
"""

_BY_PATTERN = """
select pattern_id, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from _counted where {chosen} group by pattern_id
"""

# The oldest pattern is the one with the template's id; once its records are gone, another one speaks for the template.
_ENTRIES = f"""
with chosen as (
    select {{unit}} as id, pattern_id, template_id, severity, count, first_time, last_time, service, {{text}} as text, example,
        case when pattern_id = template_id then 0 else pattern_id end as place
    from _counted join _patterns using (pattern_id) where {{unit}} in (select id from {relation("ids")})
), entries as (
    select id, any_value(template_id) as template_id, sum(count)::bigint as count, min(first_time) as first_time,
        max(last_time) as last_time, arg_min(service, place) as service, arg_min(text, place) as text,
        arg_min(example, place) as example, list(distinct pattern_id) as members
    from chosen group by id
), severities as (
    select id, list(severity) as severities, list(n) as severity_counts
    from (select id, severity, sum(count)::bigint as n from chosen group by all) group by id
), services as (
    select id, list(service order by n desc, service)[:{{services}}] as services
    from (select id, service, sum(count) as n from chosen group by all) group by id
)
select * from entries join severities using (id) join services using (id)
"""


@dataclass(frozen=True)
class Entry:
    """One pattern or template of an answer, and the patterns whose records it counts."""

    pattern: pb.Pattern
    members: list[int]


def count(snapshot: Snapshot, predicate: Predicate) -> pa.Table:
    """What a filter selects, by pattern and severity: pattern_id, severity, count, first_time, last_time."""
    # Once for each answer: page, order, entries and times are all made of this table.
    return snapshot.query(_COUNTED.format(counts=counts_sql(snapshot.view, predicate)), predicate.parameters, within=predicate)


def by_pattern(snapshot: Snapshot, pattern_ids: Sequence[int] | None = None) -> pa.Table:
    """The same by pattern alone, of some patterns or of all."""
    if pattern_ids is None:
        return snapshot.query(_BY_PATTERN.format(chosen="true"))
    chosen = f"pattern_id in (select id from {relation('ids')})"
    return snapshot.query(_BY_PATTERN.format(chosen=chosen), {"ids": as_ids(pattern_ids)})


def over_time(snapshot: Snapshot, predicate: Predicate, span: Span, entries: Sequence[Entry]) -> list[Counts]:
    """Records in each part of the span, for each entry."""
    counted = by_pattern(snapshot, [member for entry in entries for member in entry.members])
    # By pattern, also for templates: a template's records are those of its members.
    found = series(snapshot, predicate, span, counted)
    return [sum((found[member] for member in entry.members), np.zeros(span.parts, np.int64)) for entry in entries]


def describe(snapshot: Snapshot, unit: pb.PatternUnit.ValueType, ids: Sequence[int], seconds: float) -> list[Entry]:
    """The entries of some ids, in their order, each with a selected record; rates are over `seconds`."""
    whole = unit == pb.PATTERN_UNIT_TEMPLATE
    text = "template_text" if whole else "text"
    sql = _ENTRIES.format(unit=UNITS[unit], text=text, services=limits.MAX_LISTED_SERVICES)
    table = snapshot.query(sql, {"ids": as_ids(ids)})
    columns = {name: table.column(name).to_pylist() for name in table.column_names if not name.endswith("_time")}
    columns |= {name: nanoseconds(table.column(name)) for name in ("first_time", "last_time")}
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    entries = {row["id"]: _entry(row, seconds, whole=whole) for row in rows}
    # The database gives them in no order.
    return [entries[identity] for identity in ids]


def _entry(row: dict[str, Any], seconds: float, *, whole: bool) -> Entry:
    pattern = pb.Pattern(
        pattern_id=row["id"],
        service=row["service"],
        text=row["text"],
        example=row["example"],
        count=row["count"],
        first_time_unix_nano=row["first_time"],
        last_time_unix_nano=row["last_time"],
        count_by_severity=dict(zip(row["severities"], row["severity_counts"], strict=True)),
        template_id=row["template_id"],
        pattern_count=len(row["members"]) if whole else 0,
        services=row["services"] if whole else (),
        # One record, or several at one instant, have no rate.
        rate_per_second=row["count"] / seconds if seconds else 0.0,
    )
    return Entry(pattern, row["members"])
