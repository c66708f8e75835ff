"""The value of an attribute, as SQL has it."""

ATTRIBUTE_COLUMNS = frozenset({"attributes"})
"""The columns that it looks at."""


def attribute_value(key: str) -> str:
    """The value that a record has for a key, null where it has none; `key` is an expression for the key, such as a bound value."""
    return f"attributes[{key}::varchar]"
