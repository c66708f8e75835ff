"""Filters from conditions as people write them."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from treering.conditions import Condition, parse_condition
from treering.severity import severity_number
from treering.trace_ids import trace_id_bytes
from treering.v1.log_pb2 import AttributeFilter, LogFilter, NumberRange, Severity, TextCondition

_Build: TypeAlias = Callable[[Condition, list[Condition]], LogFilter]
"""Makes the filter of a condition; for `=` of all values that its key is to be equal to."""

_TEXT_OPERATORS: Mapping[str, str] = {"*=": "contains", "^=": "prefix", "~=": "matches"}
_NUMBER_OPERATORS: Mapping[str, str] = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}
_MOST_SERIOUS = 24


def conditions_filter(texts: Iterable[str]) -> LogFilter:
    """The filter for all of some conditions; several values that one key is to be equal to are alternatives.

    Raises:
        ConditionError: One of them is none, or means nothing for its key.
    """
    wanted = LogFilter()
    equal: dict[tuple[str, bool], list[Condition]] = {}
    for condition in map(parse_condition, texts):
        if condition.operator == "=" and not condition.negated:
            equal.setdefault((condition.key, condition.is_field), []).append(condition)
        else:
            join(wanted, _filter([condition]))
    for alternatives in equal.values():
        join(wanted, _filter(alternatives))
    return wanted


def join(wanted: LogFilter, one: LogFilter) -> None:
    """Adds a filter to what is wanted, flat where it says nothing of what is said there; services and such of both are alternatives."""
    once = ("min_severity", "max_severity", "trace_id", "any_of")
    if any(getattr(wanted, name) and getattr(one, name) for name in once):
        wanted.all_of.append(one)
    else:
        wanted.MergeFrom(one)


def _filter(alternatives: list[Condition]) -> LogFilter:
    """The filter for one condition, or for several equalities of one key."""
    condition = alternatives[0]
    build = _FIELDS.get(condition.key) if condition.is_field else None
    if build is None:
        return _attribute(condition, [each.value for each in alternatives])
    found = build(condition, alternatives)
    return LogFilter(none_of=[found]) if condition.negated else found


def _attribute(condition: Condition, values: list[str]) -> LogFilter:
    attribute = AttributeFilter(key=condition.key, exclude=condition.negated)
    if condition.operator == "=":
        attribute.values.extend(values)
    elif condition.operator in _TEXT_OPERATORS:
        attribute.text.append(_text(condition))
    elif condition.operator:
        attribute.number.CopyFrom(NumberRange(**{_NUMBER_OPERATORS[condition.operator]: _number(condition)}))
    return LogFilter(attributes=[attribute])


def _text(condition: Condition) -> TextCondition:
    return TextCondition(**{_TEXT_OPERATORS[condition.operator]: condition.value})  # type: ignore[arg-type]  # a field of texts


def _number(condition: Condition) -> float:
    try:
        number = float(condition.value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problem = f"no number; texts are compared with =, !=, *=, ^=, ~=, and {condition.operator} wants a number such as 500 or 2.5"
        raise condition.error(condition.value_at, problem)
    return number


def _named(field: str) -> _Build:
    """Of a field that is compared as a whole: service, environment."""

    def build(condition: Condition, alternatives: list[Condition]) -> LogFilter:
        if condition.operator == "=":
            return LogFilter(**{field: [each.value for each in alternatives]})  # type: ignore[arg-type]  # a field of texts
        _allow(condition, "", "=")
        return LogFilter(none_of=[LogFilter(**{field: [""]})])  # type: ignore[arg-type]

    return build


def _severity(condition: Condition, alternatives: list[Condition]) -> LogFilter:
    _allow(condition, "", "=", *_NUMBER_OPERATORS)
    if not condition.operator:
        return LogFilter(min_severity=Severity.SEVERITY_TRACE)
    levels = [_level(each) for each in alternatives]
    if condition.operator == "=":
        found = [LogFilter(min_severity=level, max_severity=level) if level else _without_severity() for level in levels]
        return found[0] if len(found) == 1 else LogFilter(any_of=found)
    # Numbers without a gap: above one is at least the next.
    level = levels[0] + {">": 1, "<": -1}.get(condition.operator, 0)
    if not 1 <= level <= _MOST_SERIOUS:
        raise condition.error(condition.value_at, "no severity is in this order to it")
    bound = Severity.ValueType(level)
    return LogFilter(min_severity=bound) if condition.operator in {">", ">="} else LogFilter(max_severity=bound)


def _without_severity() -> LogFilter:
    return LogFilter(none_of=[LogFilter(min_severity=Severity.SEVERITY_TRACE)])


def _level(condition: Condition) -> Severity.ValueType:
    try:
        return Severity.ValueType(severity_number(condition.value))
    except ValueError as error:
        raise condition.error(condition.value_at, str(error)) from None


def _message(condition: Condition, alternatives: list[Condition]) -> LogFilter:
    _allow(condition, "=", *_TEXT_OPERATORS)
    if condition.operator != "=":
        return LogFilter(message=[_text(condition)])
    found = [LogFilter(message=[TextCondition(equals=each.value, case_sensitive=True)]) for each in alternatives]
    return found[0] if len(found) == 1 else LogFilter(any_of=found)


def _trace(condition: Condition, alternatives: list[Condition]) -> LogFilter:
    _allow(condition, "=")
    found = [LogFilter(trace_id=_trace_id(each)) for each in alternatives]
    return found[0] if len(found) == 1 else LogFilter(any_of=found)


def _trace_id(condition: Condition) -> bytes:
    try:
        if raw := trace_id_bytes(condition.value):
            return raw
    except ValueError as error:
        raise condition.error(condition.value_at, str(error)) from None
    raise condition.error(condition.value_at, "no trace id; give 32 hex digits")


def _ids(field: str) -> _Build:
    """Of a field of ids: pattern_ids, template_ids."""

    def build(condition: Condition, alternatives: list[Condition]) -> LogFilter:
        _allow(condition, "=")
        return LogFilter(**{field: [_id(each) for each in alternatives]})  # type: ignore[arg-type]  # a field of numbers

    return build


def _id(condition: Condition) -> int:
    text = condition.value
    if not (text.isascii() and text.isdigit() and int(text) < 2**64):
        raise condition.error(condition.value_at, "no id; ids are decimal numbers below 2^64, as SQL and --json print them")
    return int(text)


def _allow(condition: Condition, *operators: str) -> None:
    """Raises ConditionError for a field that is asked for in a way that the contract does not have."""
    if condition.operator not in operators:
        words = ", ".join(each for operator in operators for each in (operator, "!=" * (operator == "=")) if each)
        problem = f"{condition.key} is compared with {words}; an attribute of this name stands in double quotes"
        raise condition.error(condition.operator_at if condition.operator else condition.key_at, problem)


_FIELDS: Mapping[str, _Build] = {
    "service": _named("services"),
    "environment": _named("environments"),
    "severity": _severity,
    "message": _message,
    "trace_id": _trace,
    "pattern_id": _ids("pattern_ids"),
    "template_id": _ids("template_ids"),
}
"""How the fields of every record are asked for, by the keys that mean them."""
