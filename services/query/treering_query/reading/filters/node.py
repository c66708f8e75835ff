"""The conditions of one filter of a tree, those of the filters in it left out."""

from collections.abc import Iterator

from treering.v1.log_pb2 import LogFilter, OffsetRange, TextCondition
from treering_query.meaning.meant import Meant
from treering_query.reading.attributes import ATTRIBUTE_COLUMNS
from treering_query.reading.filters.attributes import attribute_holds
from treering_query.reading.filters.bound import Bound
from treering_query.reading.filters.texts import text_holds
from treering_query.values.pattern_ids import Ids, among, as_ids
from treering_query.values.predicate import END_OF_TIME, Predicate


def conditions(node: LogFilter, meant: Meant, bound: Bound) -> Iterator[Predicate]:
    """Each condition that a filter states itself."""
    yield from _times(node, bound)
    yield from _severities(node, bound)
    yield from _names(node, bound)
    yield from _patterns(node, meant, bound)
    for attribute in node.attributes:
        yield Predicate(attribute_holds(attribute, bound), columns=ATTRIBUTE_COLUMNS)
    if node.trace_id:
        yield _over("trace_id", f"trace_id = {bound.bind(node.trace_id)}::blob")
    yield from _places(node, bound)
    if node.message_contains:
        yield _over("message", text_holds(TextCondition(contains=node.message_contains), "message", bound))
    for text in node.message:
        yield _over("message", text_holds(text, "message", bound))


def _over(column: str, sql: str) -> Predicate:
    return Predicate(sql, columns=frozenset({column}))


def _times(node: LogFilter, bound: Bound) -> Iterator[Predicate]:
    time, arrival_time = frozenset({"time"}), frozenset({"arrival_time"})
    if start := node.start_time_unix_nano:
        yield Predicate(f"time >= {_moment(start, bound)}", columns=time, start_time=start)
    if end := node.end_time_unix_nano:
        yield Predicate(f"time < {_moment(end, bound)}", columns=time, end_time=end)
    if start := node.arrival_start_time_unix_nano:
        yield Predicate(f"arrival_time >= {_moment(start, bound)}", columns=arrival_time, arrival_start_time=start)
    if end := node.arrival_end_time_unix_nano:
        yield Predicate(f"arrival_time < {_moment(end, bound)}", columns=arrival_time, arrival_end_time=min(end, END_OF_TIME))


def _moment(nanos: int, bound: Bound) -> str:
    return f"make_timestamp_ns({bound.bind(nanos)}::bigint)"


def _severities(node: LogFilter, bound: Bound) -> Iterator[Predicate]:
    # Severity 0 is unknown: whoever names a bound does not mean it.
    if node.min_severity or node.max_severity:
        yield _over("severity", f"severity >= {bound.bind(max(node.min_severity, 1))}::utinyint")
    if node.max_severity:
        yield _over("severity", f"severity <= {bound.bind(node.max_severity)}::utinyint")


def _names(node: LogFilter, bound: Bound) -> Iterator[Predicate]:
    # Each once: a repeated one would only lengthen the statement. An empty list selects everything, as in the contract.
    if services := list(dict.fromkeys(node.services)):
        sql = bound.one_of("service", services, "varchar")
        yield Predicate(sql, columns=frozenset({"service"}), services=frozenset(services))
    if environments := list(dict.fromkeys(node.environments)):
        yield _over("environment", bound.one_of("environment", environments, "varchar"))


def _patterns(node: LogFilter, meant: Meant, bound: Bound) -> Iterator[Predicate]:
    patterns = _chosen(node, meant)
    if patterns is not None:
        yield Predicate(bound.one_of_patterns(patterns), columns=frozenset({"pattern_id"}), patterns=patterns)
    if node.template_ids:
        yield _over("pattern_id", bound.of_templates(as_ids(node.template_ids)))


def _chosen(node: LogFilter, meant: Meant) -> Ids | None:
    """The patterns that a filter selects by id and by meaning, ascending; None = all."""
    listed = as_ids(node.pattern_ids) if node.pattern_ids else None
    if not node.about:
        return listed
    about = meant.about(node.about)
    return about if listed is None else listed[among(listed, about)]


def _places(node: LogFilter, bound: Bound) -> Iterator[Predicate]:
    if node.positions:
        logs = bound.bind([position.log_id for position in node.positions])
        offsets = bound.bind([position.offset for position in node.positions])
        # Two lists unnested side by side are pairs.
        yield _over("offset", f'(log_id, "offset") in (select unnest({logs}::ubigint[]), unnest({offsets}::ubigint[]))')
    if node.ranges:
        yield _over("offset", f"({' or '.join(_within(each, bound) for each in node.ranges)})")


def _within(each: OffsetRange, bound: Bound) -> str:
    log_id, first, end = (bound.bind(value) for value in (each.log_id, each.first_offset, each.end_offset_exclusive))
    return f'(log_id = {log_id}::ubigint and "offset" >= {first}::ubigint and "offset" < {end}::ubigint)'
