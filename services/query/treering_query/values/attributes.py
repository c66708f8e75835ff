"""A record's attributes in SQL: its own, and those of its resource, which is a text of its own in the store (`treering_runtime.resources`).

Expressions over the columns of the store. The record's own attribute wins. One attribute is looked up in both, at next to no cost; only
where all are wanted at once a map is made for each record that has a resource: 5 us, where a map that is read from a file takes 0.1.
"""

from collections.abc import Iterable

# The empty text is no JSON. No braces in these: statements of ours are filled in by `format`.
_JSON = "case when resource = '' then '[]' else resource end"

# Half of the time that `from_json` takes; keys and values come in the same order.
_PAIRS = f"list_zip(json_keys({_JSON}), json_extract_string({_JSON}, '$.*'))::struct(key varchar, value varchar)[]"

RESOURCE_MAP = f"map_from_entries({_PAIRS})"
"""The resource as a map."""

_BOTH = f"""list_concat(map_entries(attributes),
    list_filter({_PAIRS}, lambda pair: not list_contains(map_keys(attributes), pair.key)))"""

ENTRIES = f"case when resource = '' then map_entries(attributes) else {_BOTH} end"
"""All attributes as a list of pairs, each key once."""

# Half of the time of `map_concat`, which looks every key up in a table of the record's own.
ALL = f"case when resource = '' then attributes else map_from_entries({_BOTH}) end"
"""All attributes as a map."""


def some(keys: Iterable[str]) -> str:
    """Some attributes as a struct with a field for each, NULL where there is none: `attributes['key']` means the same for it as for a map.

    Args:
        keys: At least one. Names of fields are the same in upper and lower case, and never empty.
    """
    fields = (f"{_quoted(key, chr(34))} := {one(_quoted(key), _quoted(pointer(key)))}" for key in keys)
    return f"struct_pack({', '.join(fields)})"


def one(key: str, place: str) -> str:
    """One attribute, NULL where there is none.

    Args:
        key: SQL for its key.
        place: SQL for `pointer` of the key.
    """
    # The second part runs for records without an attribute of their own under this key; nothing is parsed where there is no resource.
    return f"coalesce(attributes[{key}::varchar], json_extract_string(nullif(resource, ''), {place}::varchar))"


def pointer(key: str) -> str:
    """Where a key is in an object, as a JSON pointer (RFC 6901): no key means anything else in it, as some do in a JSON path."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _quoted(text: str, quote: str = "'") -> str:
    return quote + text.replace(quote, 2 * quote) + quote
