"""What to group by and what to compute, as short strings."""

import re

from treering.v1.query_pb2 import AggregateFunction, FieldRef, LogField, Metric

_FIELDS = {
    "service": LogField.LOG_FIELD_SERVICE,
    "environment": LogField.LOG_FIELD_ENVIRONMENT,
    "severity": LogField.LOG_FIELD_SEVERITY,
    "pattern": LogField.LOG_FIELD_PATTERN,
    "template": LogField.LOG_FIELD_TEMPLATE,
    "message": LogField.LOG_FIELD_MESSAGE,
    "trace_id": LogField.LOG_FIELD_TRACE_ID,
}
_FUNCTIONS = {
    "distinct": AggregateFunction.AGGREGATE_FUNCTION_DISTINCT,
    "min": AggregateFunction.AGGREGATE_FUNCTION_MIN,
    "max": AggregateFunction.AGGREGATE_FUNCTION_MAX,
    "avg": AggregateFunction.AGGREGATE_FUNCTION_AVG,
    "sum": AggregateFunction.AGGREGATE_FUNCTION_SUM,
}
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


def field(name: str | FieldRef) -> FieldRef:
    """A built-in field by its name (service, environment, severity, pattern, template, message, trace_id), else an attribute by its key.

    `attribute:KEY` means the attribute even when KEY is the name of a built-in field; `about:TEXT` is whether a record is about the text.

    Raises:
        ValueError: The name is empty.
    """
    if isinstance(name, FieldRef):
        return name
    # Short forms of fields come before attributes; `attribute:` is the way around.
    if name in _FIELDS:
        return FieldRef(field=_FIELDS[name])
    if name.startswith("about:"):
        return FieldRef(about=name.removeprefix("about:"))
    key = name.removeprefix("attribute:")
    if not key:
        raise ValueError("a field needs a name: service, environment, severity, pattern, message, trace_id or an attribute's key")
    return FieldRef(attribute=key)


def field_name(ref: FieldRef) -> str:
    """The name of a field, from which `field` makes the same one."""
    if ref.HasField("attribute"):
        is_taken = ref.attribute in _FIELDS or ref.attribute.startswith(("about:", "attribute:"))
        return f"attribute:{ref.attribute}" if is_taken else ref.attribute
    if ref.HasField("about"):
        return f"about:{ref.about}"
    return next(name for name, number in _FIELDS.items() if number == ref.field)


def metric(text: str | Metric) -> Metric:
    """A metric by its short form: `count`, `rate`, `distinct:FIELD`, or `min:ATTR`, `max:`, `avg:`, `sum:`, `p95:ATTR` (any percentile).

    Raises:
        ValueError: No such metric.
    """
    if isinstance(text, Metric):
        return text
    if text == "count":
        return Metric(function=AggregateFunction.AGGREGATE_FUNCTION_COUNT)
    if text == "rate":
        return Metric(function=AggregateFunction.AGGREGATE_FUNCTION_RATE)
    name, _, of = text.partition(":")
    if of and name in _FUNCTIONS:
        return Metric(function=_FUNCTIONS[name], of=field(of))
    # After the named functions: none of them looks like a percentile.
    if of and (match := _QUANTILE.fullmatch(name)):
        return Metric(function=AggregateFunction.AGGREGATE_FUNCTION_QUANTILE, of=field(of), quantile=float(match[1]) / 100)
    raise ValueError(f"{text!r} is no metric; use count, rate, distinct:FIELD, min:ATTR, max:ATTR, avg:ATTR, sum:ATTR or p95:ATTR")
