"""ListFieldValues: the most frequent values of some fields.

Where the statistics know a field and what the filter asks for, they answer, and no record is read. Else each field is one statement, which
reads that field's column and those of the filter. With a budget of time the statements run over the newest parts of the store first, then
over twice as many, and so on, while the next run fits into the budget: what is kept in memory does not depend on how many values there are,
and reading in growing steps costs at most as much again as the last one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.answers.aggregate_fields import Expressions
from treering_query.answers.aggregate_run import STATISTICS
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.patterns.counts import in_statistics
from treering_query.reading import filters
from treering_query.reading.slices import Slice, newest_first
from treering_query.values.pattern_ids import as_ids, relation
from treering_query.values.predicate import Predicate
from treering_query.view import hot
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field
from treering_runtime.fitting import fitting
from treering_runtime.limits import MAX_ANSWER_BYTES

_ABSENT = {"service": "''", "environment": "''", "severity": "0", "pattern_id": "0", "template_id": "0", "lower(hex(trace_id))": "''"}
"""By the column of a built-in field: what a record has that lacks it."""

_TEXTS = {"pattern_id": "text", "template_id": "template_text"}
"""Columns of `_patterns` that say in words what an id stands for."""

_WITH_TEMPLATES = "(select records.*, template_id from {records} as records join _patterns using (pattern_id))"

_VALUE_BYTES = 32
"""What a value takes in an answer beside its text, at most."""

_VALUES = """
with grouped as (
    select {value} as value, {count} as n from {records} where {condition} group by 1
), counted as materialized (
    select value::varchar as value, n from grouped
), listed as (
    select value, n from (
        select value, n, sum(strlen(value) + {value_bytes}) over (order by n desc, value rows unbounded preceding) as size
        from (from counted where value is not null order by n desc, value limit {limit})
    ) where size <= {budget}
)
select totals.*, listed.*
from (
    select count(value) as distinct_count, coalesce(sum(n) filter (where value is not null), 0)::bigint as record_count,
        coalesce(sum(n) filter (where value is null), 0)::bigint as missing_count
    from counted
) as totals left join listed on true
order by n desc, value
"""
"""One row at least, with the totals. Values that do not fit into the answer do not leave the database: each may be a mebibyte long."""


@dataclass(frozen=True)
class Field:
    """One field as SQL."""

    ref: pb.FieldRef
    expression: str
    parameters: dict[str, object]
    columns: frozenset[str]

    @property
    def value(self) -> str:
        """Its value, null where a record lacks it."""
        return f"nullif({self.expression}, {_ABSENT[self.expression]})" if self.expression in _ABSENT else self.expression

    def over(self, records: str) -> str:
        """A relation with what it looks at, over one with the columns of `logs`."""
        return _WITH_TEMPLATES.format(records=records) if "template_id" in self.columns else records


@dataclass(frozen=True)
class _Source:
    """What values are counted in: a relation, and how its records are counted."""

    records: str
    count: str = "count(*)"
    part: Slice | None = None
    """A part of the store alone; None = what the snapshot chooses."""

    @property
    def back_to(self) -> int:
        """From when on it holds everything, nanoseconds since 1970; 0 when it is all there is."""
        return self.part.older_than + 1 if self.part and self.part.older_than else 0

    def query(self, snapshot: Snapshot, sql: str, parameters: dict[str, object], within: Predicate) -> pa.Table:
        """Runs a SELECT over it."""
        return self.part.query(snapshot, sql, parameters) if self.part else snapshot.query(sql, parameters, within=within)


_STATISTICS = _Source(STATISTICS, "coalesce(sum(count), 0)::bigint")


@dataclass(frozen=True)
class FieldValuesPlan:
    """A checked request, ready to run on a snapshot."""

    predicate: Predicate
    fields: Sequence[Field]
    limit: int
    budget_s: float | None
    meant: Meant
    clock: Callable[[], float]

    def answer(self, snapshot: Snapshot) -> pb.ListFieldValuesResponse:
        """The values. Blocks: runs on a thread of the store."""
        known = {index for index, field in enumerate(self.fields) if self._is_in_statistics(snapshot, field)}
        read = self._read(snapshot, [field for index, field in enumerate(self.fields) if index not in known])
        lists = [self._values(snapshot, field, _STATISTICS) if index in known else read.pop(0) for index, field in enumerate(self.fields)]
        missing = self.meant.missing_in(snapshot.view.patterns)
        return pb.ListFieldValuesResponse(fields=lists, seen=snapshot.seen, degraded_because=missing)

    def _is_in_statistics(self, snapshot: Snapshot, field: Field) -> bool:
        return in_statistics(snapshot.view, field.columns | self.predicate.columns)

    def _read(self, snapshot: Snapshot, fields: Sequence[Field]) -> list[pb.FieldValues]:
        """The values of some fields by reading records, as far back as the budget allows."""
        if self.budget_s is None or not fields:
            return [self._values(snapshot, field, _Source(field.over("logs"))) for field in fields]
        found: list[pb.FieldValues] = []
        began = last = self.clock()
        rows_before = 0
        for part in _growing(snapshot, self.predicate):
            rows, now = _rows(part, snapshot), self.clock()
            # The next run takes as much longer than the last one as it reads more.
            if rows_before and now - began + (now - last) * rows / rows_before > self.budget_s:
                break
            last, rows_before = now, rows
            found = [self._values(snapshot, field, _Source(field.over(part.records), part=part)) for field in fields]
        return found

    def _values(self, snapshot: Snapshot, field: Field, source: _Source) -> pb.FieldValues:
        condition, parameters = self.predicate.sql, {**self.predicate.parameters, **field.parameters}
        if source.back_to:
            # What was read of older records is a part of them: their numbers would be neither exact nor comparable.
            condition, parameters = f"{condition} and time >= make_timestamp_ns($back_to::bigint)", parameters | {"back_to": source.back_to}
        budget = MAX_ANSWER_BYTES // len(self.fields)
        sql = _VALUES.format(
            value=field.value,
            count=source.count,
            records=source.records,
            condition=condition,
            limit=self.limit,
            budget=budget,
            value_bytes=_VALUE_BYTES,
        )
        table = source.query(snapshot, sql, parameters, self.predicate)
        values = fitting(_listed(snapshot, field, table), budget)
        totals = {name: table.column(name)[0].as_py() for name in ("distinct_count", "record_count", "missing_count")}
        truncated = len(values) < min(self.limit, totals["distinct_count"])
        return pb.FieldValues(field=field.ref, values=values, **totals, scanned_back_to_unix_nano=source.back_to, truncated=truncated)


def plan(request: pb.ListFieldValuesRequest, meant: Meant = NOTHING, clock: Callable[[], float] = time.monotonic) -> FieldValuesPlan:
    """Checks a request; `meant` scores the texts of its filter and its fields.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    if not request.fields:
        raise invalid_field("fields", "names none; give 1 to 20 fields, as ListFields lists them")
    return FieldValuesPlan(
        predicate=filters.where(request.filter, meant),
        fields=[_field(ref, f"fields[{index}]", meant) for index, ref in enumerate(request.fields)],
        limit=request.values_per_field if request.HasField("values_per_field") else limits.DEFAULT_FIELD_VALUES,
        budget_s=request.budget_ms / 1000 if request.HasField("budget_ms") else None,
        meant=meant,
        clock=clock,
    )


def texts(request: pb.ListFieldValuesRequest) -> dict[str, str]:
    """The texts that a request asks about, by the name of their field."""
    return {**filters.abouts(request.filter), **{f"fields[{index}].about": ref.about for index, ref in enumerate(request.fields)}}


def _field(ref: pb.FieldRef, name: str, meant: Meant) -> Field:
    # Each by itself: a statement binds the values of its own field only.
    expressions = Expressions(meant)
    expression = expressions.field(ref, name)
    return Field(ref, expression, expressions.parameters, frozenset(expressions.columns))


def _growing(snapshot: Snapshot, within: Predicate) -> Iterator[Slice]:
    """What is in memory with the newest segments, then twice as much, and so on, at last everything."""
    parts = list(newest_first(snapshot, within))
    count = 1
    while True:
        count = min(2 * count, len(parts))
        yield Slice(tuple(segment for part in parts[:count] for segment in part.segments), True, parts[count - 1].older_than)
        if count == len(parts):
            return


def _rows(part: Slice, snapshot: Snapshot) -> int:
    return sum(segment.row_count for segment in part.segments) + hot.total_rows(snapshot.view.hot)


def _listed(snapshot: Snapshot, field: Field, table: pa.Table) -> list[pb.FieldValue]:
    values, counts = (table.column(name).to_pylist() for name in ("value", "n"))
    # Without any value the row has the totals alone.
    rows = [(value, count) for value, count in zip(values, counts, strict=True) if value is not None]
    words = _words(snapshot, field.expression, [value for value, _ in rows])
    return [pb.FieldValue(value=value, text=words.get(value, ""), count=count) for value, count in rows]


def _words(snapshot: Snapshot, column: str, ids: Sequence[str]) -> dict[str, str]:
    """What some ids of patterns or templates stand for, by id; nothing for other values."""
    if column not in _TEXTS or not ids:
        return {}
    sql = f"select distinct {column}, {_TEXTS[column]} from _patterns where {column} in (select id from {relation('ids')})"
    found = snapshot.query(sql, {"ids": as_ids(map(int, ids))})
    return {str(number): text for number, text in zip(*(each.to_pylist() for each in found.columns), strict=True)}
