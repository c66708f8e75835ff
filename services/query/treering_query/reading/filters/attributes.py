"""`AttributeFilter` as SQL."""

from treering.v1.log_pb2 import AttributeFilter, NumberRange
from treering_query.reading.attributes import value_of
from treering_query.reading.filters.bound import Bound
from treering_query.reading.filters.texts import text_holds

_COMPARISONS = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}


def attribute_holds(attribute: AttributeFilter, bound: Bound) -> str:
    """The condition that a record's attribute is as wanted."""
    value = value_of(attribute.key, bound.bind)
    conditions = [text_holds(text, value, bound) for text in attribute.text]
    if attribute.values:
        conditions.insert(0, bound.one_of(value, list(dict.fromkeys(attribute.values)), "varchar"))
    if attribute.HasField("number"):
        conditions.append(_number_holds(attribute.number, value, bound))
    # A missing attribute gives null, and `not null` is null: what excludes it would leave out the records that lack it.
    holds = f"coalesce({' and '.join(conditions)}, false)" if conditions else f"({value} is not null)"
    return f"(not {holds})" if attribute.exclude else holds


def _number_holds(number: NumberRange, value: str, bound: Bound) -> str:
    cast = f"try_cast({value} as double)"
    ends = [(end, name) for end in ("lower", "upper") if (name := number.WhichOneof(end))]
    compared = [f"{cast} {_COMPARISONS[name]} {bound.bind(getattr(number, name))}::double" for _, name in ends]
    # NaN would be above all numbers here.
    return " and ".join([f"isfinite({cast})", *compared])
