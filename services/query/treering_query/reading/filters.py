"""`LogFilter` as SQL: a condition over the relation `logs` whose values are bound, never pasted."""

from collections.abc import Sequence

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import AttributeFilter, LogFilter
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading.attributes import value_of
from treering_query.values.pattern_ids import Ids, among, as_ids, relation
from treering_query.values.predicate import Predicate
from treering_runtime.errors import ServiceError, invalid_field

_FEW = 100
"""Up to so many alternatives are spelled out, which Parquet statistics can prune by; more are joined."""


class _Conditions:
    """Collects conditions and names their values."""

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.parameters: dict[str, object] = {}
        self.columns: set[str] = set()

    def bind(self, value: object) -> str:
        # `hub.marks` relies on this form to give the values of several filters names of their own.
        name = f"f{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def add(self, column: str, sql: str) -> None:
        self.columns.add(column)
        self.sql.append(sql)

    def one_of(self, column: str, values: Sequence[object], kind: str) -> None:
        # An empty list selects everything, as in the contract.
        if not values:
            return
        if len(values) <= _FEW:
            chosen = ", ".join(f"{self.bind(value)}::{kind}" for value in values)
        else:
            chosen = f"select unnest({self.bind(list(values))}::{kind}[])"
        self.add(column, f"{column} in ({chosen})")

    def patterns(self, ids: Ids) -> None:
        # No pattern is meant, which differs from no choice of patterns: nothing is selected.
        if not len(ids):
            self.add("pattern_id", "false")
        elif len(ids) <= _FEW:
            self.one_of("pattern_id", ids.tolist(), "ubigint")
        else:
            name = self.bind(ids).removeprefix("$")
            self.add("pattern_id", f"pattern_id in (select id from {relation(name)})")


def where(log_filter: LogFilter, meant: Meant = NOTHING) -> Predicate:
    """The condition of a filter.

    Args:
        log_filter: The filter.
        meant: The scores of its text `about`, if it has one.

    Raises:
        ServiceError: A field's value cannot be served; NOT_IMPLEMENTED for `about` where it is not scored.
    """
    if log_filter.about and log_filter.about not in meant.texts:
        message = (
            "filter.about is not served on streams: what arrives later has no score yet; list patterns with it, and give their pattern_ids"
        )
        raise ServiceError(ErrorReason.ERROR_REASON_NOT_IMPLEMENTED, message)
    # Before anything grows with the lists in it.
    _check(log_filter)
    patterns = _patterns(log_filter, meant)
    conditions = _Conditions()
    _times(conditions, log_filter)
    _severities(conditions, log_filter)
    # Each once: a repeated one would only lengthen the statement.
    conditions.one_of("service", list(dict.fromkeys(log_filter.services)), "varchar")
    conditions.one_of("environment", list(dict.fromkeys(log_filter.environments)), "varchar")
    if patterns is not None:
        conditions.patterns(patterns)
    for attribute in log_filter.attributes:
        _attribute(conditions, attribute)
    _trace(conditions, log_filter)
    _positions(conditions, log_filter)
    _message(conditions, log_filter)
    return Predicate(
        " and ".join(conditions.sql) or "true",
        conditions.parameters,
        frozenset(conditions.columns),
        # Next to the condition, for the choice of segments.
        frozenset(log_filter.services) or None,
        patterns,
        log_filter.start_time_unix_nano,
        # Exclusive, so one more than the largest time that a record may have.
        log_filter.end_time_unix_nano or limits.MAX_TIME_UNIX_NANO + 1,
    )


def _patterns(log_filter: LogFilter, meant: Meant) -> Ids | None:
    """The patterns that a filter selects by id and by meaning, ascending; None = all."""
    listed = as_ids(log_filter.pattern_ids) if log_filter.pattern_ids else None
    if not log_filter.about:
        return listed
    about = meant.about(log_filter.about)
    return about if listed is None else listed[among(listed, about)]


def _times(conditions: _Conditions, log_filter: LogFilter) -> None:
    if log_filter.start_time_unix_nano:
        conditions.add("time", f"time >= make_timestamp_ns({conditions.bind(log_filter.start_time_unix_nano)}::bigint)")
    if log_filter.end_time_unix_nano:
        conditions.add("time", f"time < make_timestamp_ns({conditions.bind(log_filter.end_time_unix_nano)}::bigint)")


def _severities(conditions: _Conditions, log_filter: LogFilter) -> None:
    # Severity 0 is unknown: whoever names a bound does not mean it.
    if log_filter.min_severity or log_filter.max_severity:
        conditions.add("severity", f"severity >= {conditions.bind(max(log_filter.min_severity, 1))}::utinyint")
    if log_filter.max_severity:
        conditions.add("severity", f"severity <= {conditions.bind(log_filter.max_severity)}::utinyint")


def _attribute(conditions: _Conditions, attribute: AttributeFilter) -> None:
    value = value_of(attribute.key, conditions.bind)
    if attribute.values:
        chosen = ", ".join(f"{conditions.bind(wanted)}::varchar" for wanted in attribute.values)
        # A missing attribute gives null, and `not null` is null: an excluding filter would drop the records that lack the attribute.
        holds = f"coalesce({value} in ({chosen}), false)"
    else:
        holds = f"{value} is not null"
    conditions.add("attributes", f"not ({holds})" if attribute.exclude else holds)


def _trace(conditions: _Conditions, log_filter: LogFilter) -> None:
    if log_filter.trace_id:
        conditions.add("trace_id", f"trace_id = {conditions.bind(log_filter.trace_id)}::blob")


def _positions(conditions: _Conditions, log_filter: LogFilter) -> None:
    if log_filter.positions:
        logs = conditions.bind([position.log_id for position in log_filter.positions])
        offsets = conditions.bind([position.offset for position in log_filter.positions])
        # Two lists unnested side by side are pairs.
        conditions.add("offset", f'(log_id, "offset") in (select unnest({logs}::ubigint[]), unnest({offsets}::ubigint[]))')


def _message(conditions: _Conditions, log_filter: LogFilter) -> None:
    if text := log_filter.message_contains:
        conditions.add("message", contains(conditions.bind(searched(text)), text))


def contains(parameter: str, text: str) -> str:
    """The condition that a message holds a text, upper and lower case alike, where `parameter` is bound to `searched(text)`.

    A regular expression takes two thirds of the time that lowering every message takes (and of ILIKE).
    """
    # The same question as in `searched`: the two have to agree on what is bound.
    if _as_expression(text):
        return f"regexp_matches(message, {parameter}::varchar)"
    return f"contains(lower(message), lower({parameter}::varchar))"


def searched(text: str) -> str:
    """What `contains` looks for."""
    return "".join(map(_either_case, text)) if _as_expression(text) else text


def _as_expression(text: str) -> bool:
    return text.isascii() and len(text) <= _SHORT


_SHORT = 200
"""Up to so many characters are looked for as a regular expression: longer ones make large automata."""

_MORE_CASES = {"i": "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "k": "\N{KELVIN SIGN}"}
"""What besides its capital the database lowers to an ASCII letter."""


def _either_case(letter: str) -> str:
    """One ASCII character as a regular expression."""
    if letter.isalpha():
        return f"[{letter.lower()}{letter.upper()}{_MORE_CASES.get(letter.lower(), '')}]"
    # Every other character by its number: nothing of the text can be an operator.
    return f"\\x{ord(letter):02x}"


def _check(log_filter: LogFilter) -> None:
    """Whether its fields make sense together; what each may hold says `request_limits`."""
    if 0 < log_filter.end_time_unix_nano <= log_filter.start_time_unix_nano:
        raise invalid_field("filter.end_time_unix_nano", "not after start_time_unix_nano; the end is exclusive")
    if 0 < log_filter.max_severity < log_filter.min_severity:
        raise invalid_field("filter.max_severity", "below min_severity, so that nothing is selected; swap them")
    for index, attribute in enumerate(log_filter.attributes):
        if not attribute.key:
            raise invalid_field(f"filter.attributes[{index}].key", "empty; name the attribute")
