"""One attribute in a statement of ours: of the record, else of its resource."""

from collections.abc import Callable

from treering_query.values import attributes

ATTRIBUTE_COLUMNS = frozenset({"attributes"})
"""The columns of the table `logs` that it looks at; the resource is a part of its attributes."""


def value_of(key: str, bind: Callable[[object], str]) -> str:
    """The expression for the value of an attribute, NULL where there is none; `bind` names a value of the statement, as `$name`."""
    return attributes.one(bind(key), bind(attributes.pointer(key)))
