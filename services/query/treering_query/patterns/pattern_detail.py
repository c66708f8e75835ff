"""GetPattern: one pattern or template in depth.

Counts, times and the sparkline are exact. The values of variables are read from the newest `limits.MAX_VARIABLE_RECORDS` records at most:
what matters at night is which hosts it is now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.patterns.entries import UNITS, Entry, by_pattern, count, describe, over_time
from treering_query.patterns.series import Span, growth, usual_bounds
from treering_query.patterns.variables import read_variables
from treering_query.reading import filters
from treering_query.reading.records import nanoseconds, stored_records, within_bytes
from treering_query.reading.samples import newest
from treering_query.reading.slices import newest_first
from treering_query.values.pattern_ids import Ids, among, as_ids, relation
from treering_query.values.predicate import Predicate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError, invalid_field
from treering_runtime.fitting import fitting
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import NO_PATTERN

_DEFAULT_PARTS = 60
_DEFAULT_VALUES = 10
_DEFAULT_SAMPLES = 3

_FEW = 100
"""Up to so many patterns are spelled out, which Parquet statistics can prune by; more are joined."""

_MESSAGES = """
select left(message, {characters}) as message, epoch_ns(time) as nanos
from {records} where {condition} order by time desc, log_id desc, "offset" desc limit {limit}
"""


@dataclass(frozen=True)
class GetPatternPlan:
    """A checked request, ready to run on a snapshot."""

    unit: pb.PatternUnit.ValueType
    identity: int
    predicate: Predicate
    parts: int
    values: int
    samples: int

    def answer(self, snapshot: Snapshot) -> pb.GetPatternResponse:
        """It, in depth. Blocks: runs on a thread of the store.

        Raises:
            ServiceError: NOT_FOUND.
        """
        # An id of a template that was joined to another one still leads there.
        identity = self._resolved(snapshot)
        within = _of_patterns(self.predicate, *_members(snapshot, self.unit, identity))
        snapshot.register("_counted", count(snapshot, within))
        counted = by_pattern(snapshot)
        # The pattern exists, the filter selects none of its records: that is an answer and no error.
        if not counted.num_rows:
            return pb.GetPatternResponse(pattern=_unselected(snapshot, self.unit, identity), seen=snapshot.seen)
        bounds = min(nanoseconds(counted.column("first_time"))), max(nanoseconds(counted.column("last_time")))
        first, last = usual_bounds(snapshot, within, *bounds)
        seconds, span = (last - first) / 1e9, Span.of(within, first, last, self.parts)
        (entry,) = describe(snapshot, self.unit, [identity], seconds)
        (counts,) = over_time(snapshot, within, span, [entry])
        entry.pattern.sparkline.extend(counts.tolist())
        entry.pattern.growth = growth(counts)
        # From whole messages, so of a bounded number of records.
        variables, read = read_variables(entry.pattern.text, _newest_messages(snapshot, within), self.values)
        return pb.GetPatternResponse(
            pattern=entry.pattern,
            # Members, variables and records each have a share, so that none crowds the others out.
            members=fitting([member.pattern for member in self._largest(snapshot, counted, seconds)], limits.MAX_DETAIL_BYTES),
            sparkline_start_unix_nano=span.start,
            sparkline_end_unix_nano=span.end,
            variables=[_shortened(variable, limits.MAX_DETAIL_BYTES // len(variables)) for variable in variables],
            variables_read_count=read,
            records=_samples(snapshot, within, counted, self.samples),
            seen=snapshot.seen,
        )

    def _resolved(self, snapshot: Snapshot) -> int:
        if self.unit == pb.PATTERN_UNIT_TEMPLATE:
            return snapshot.view.templates.template_ids.get(self.identity, self.identity)
        return self.identity

    def _largest(self, snapshot: Snapshot, counted: pa.Table, seconds: float) -> Sequence[Entry]:
        """The patterns of a template."""
        if self.unit == pb.PATTERN_UNIT_PATTERN:
            return ()
        ranked = counted.sort_by([("count", "descending"), ("pattern_id", "ascending")]).slice(0, limits.MAX_LISTED_MEMBERS)
        return describe(snapshot, pb.PATTERN_UNIT_PATTERN, ranked.column("pattern_id").to_pylist(), seconds)


def plan(request: pb.GetPatternRequest, meant: Meant = NOTHING) -> GetPatternPlan:
    """Checks a request; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    subject = request.WhichOneof("subject")
    if subject is None:
        raise invalid_field("subject", "neither pattern_id nor template_id is set; give one of the two")
    return GetPatternPlan(
        unit=pb.PATTERN_UNIT_PATTERN if subject == "pattern_id" else pb.PATTERN_UNIT_TEMPLATE,
        identity=getattr(request, subject),
        predicate=filters.where(request.filter, meant),
        parts=request.buckets if request.HasField("buckets") else _DEFAULT_PARTS,
        values=request.values_per_variable if request.HasField("values_per_variable") else _DEFAULT_VALUES,
        samples=request.samples if request.HasField("samples") else _DEFAULT_SAMPLES,
    )


def _members(snapshot: Snapshot, unit: pb.PatternUnit.ValueType, identity: int) -> tuple[Ids, frozenset[str] | None]:
    """The patterns that are meant, and their services; None where records of any service may be meant."""
    found = snapshot.query(f"select pattern_id, service from _patterns where {UNITS[unit]} = $id::ubigint", {"id": identity})
    if not found.num_rows:
        unit_name = UNITS[unit].removesuffix("_id")
        message = f"no {unit_name} has the id {identity}: it never had a record, or they all have expired; ListPatterns shows what there is"
        raise ServiceError(ErrorReason.ERROR_REASON_NOT_FOUND, message, metadata={"field": UNITS[unit]})
    # The records without a pattern are of any service.
    services = None if identity == NO_PATTERN else frozenset(found.column("service").unique().to_pylist())
    return as_ids(found.column("pattern_id").to_numpy()), services


def _of_patterns(predicate: Predicate, members: Ids, services: frozenset[str] | None) -> Predicate:
    """The same, of some patterns only. Few are spelled out, with their services: segments are sorted by these, so that little is read."""
    # Services too: they are the first key of a segment's order.
    if len(members) <= _FEW and services is not None:
        own = {f"own{number}": service for number, service in enumerate(sorted(services))}
        sql = f"pattern_id in ({', '.join(map(str, members.tolist()))}) and service in ({', '.join(f'${name}::varchar' for name in own)})"
        parameters: dict[str, object] = dict(own)
    else:
        sql, parameters = f"pattern_id in (select id from {relation('members')})", {"members": members}
    return replace(
        predicate,
        sql=f"{predicate.sql} and {sql}",
        parameters={**predicate.parameters, **parameters},
        columns=predicate.columns | {"pattern_id", "service"},
        services=_both(predicate.services, services),
        patterns=members if predicate.patterns is None else members[among(members, predicate.patterns)],
    )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The services of both; None = all."""
    return one & other if one is not None and other is not None else other if one is None else one


def _unselected(snapshot: Snapshot, unit: pb.PatternUnit.ValueType, identity: int) -> pb.Pattern:
    """What is known of a pattern or template of which the filter selects no record."""
    text = "template_text" if unit == pb.PATTERN_UNIT_TEMPLATE else "text"
    sql = f"""select service, {text} as text, example, template_id from _patterns
        where {UNITS[unit]} = $id::ubigint order by pattern_id = template_id desc, pattern_id limit 1"""
    return pb.Pattern(pattern_id=identity, **snapshot.query(sql, {"id": identity}).to_pylist()[0])


def _newest_messages(snapshot: Snapshot, within: Predicate) -> pa.ChunkedArray:
    """The newest messages, as many as variables are read from; no more of the store is read than that takes."""
    limit = limits.MAX_VARIABLE_RECORDS
    found: list[pa.Table] = []
    for part in newest_first(snapshot, within):
        sql = _MESSAGES.format(characters=MAX_PATTERN_TEXT_CHARACTERS + 1, records=part.records, condition=within.sql, limit=limit)
        found.append(part.query(snapshot, sql, within.parameters))
        nanos = pa.concat_tables(found).column("nanos")
        # Enough that are newer than everything in the parts to come.
        if pc.sum(pc.greater_equal(nanos, part.older_than), min_count=0).as_py() >= limit:
            break
    return pa.concat_tables(found).sort_by([("nanos", "descending")]).slice(0, limit).column("message")


def _samples(snapshot: Snapshot, within: Predicate, counted: pa.Table, wanted: int) -> list[StoredRecord]:
    """The newest records: they are of the patterns that were seen last, as many at most."""
    if not wanted:
        return []
    # The newest n records are of the n patterns that were seen last, at most.
    latest = counted.sort_by([("last_time", "descending"), ("pattern_id", "ascending")]).slice(0, wanted)
    table = newest(snapshot, latest.column("pattern_id").to_pylist(), wanted, within).select(LOGS_SCHEMA.names).slice(0, wanted)
    return stored_records(within_bytes(table, limits.MAX_DETAIL_BYTES))


def _shortened(variable: pb.PatternVariable, budget: int) -> pb.PatternVariable:
    """A variable with as many of its values as fit, the most frequent ones."""
    values = fitting(variable.values, budget)
    del variable.values[len(values) :]
    return variable
