"""One JSON object a line."""

import json
import re
from typing import Any

import msgspec

from treering_formats.fields import Number, add_field

_FAST = msgspec.json.Decoder(float_hook=Number)


def _integer(text: str) -> int | Number:
    return Number(text) if text == "-0" or len(text) > _MOST_DIGITS else int(text)


_MOST_DIGITS = 4_000
"""Python refuses to read or write longer integers."""
# The standard library's decoder is slower and takes more: NaN, integers of any length, tabs in strings, half of a surrogate pair.
_WIDE = json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=Number, strict=False)


class _Pairs(list[tuple[str, Any]]):
    """An object with all of its keys, also those that are there twice."""


_PAIRS = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=Number, parse_int=_integer, parse_constant=Number, strict=False)
_MINUS_ZERO = re.compile(r"[:,\[]\s*-0\s*[,}\]]")
_MOST_DEPTH = 200
"""Deeper nesting is kept as text: whoever goes on with it may be recursive."""


def json_fields(line: str) -> dict[str, Any] | None:
    """The flat fields of a line that is one JSON object, nested ones with dotted names; None when it is not.

    Numbers with a fraction or an exponent are as they are written (`Number`). Of a name that comes twice the last value counts, and the
    others are `treering.duplicate.NAME`.
    """
    try:
        # the fast decoder makes 0 of -0
        is_clean = "-0" not in line or not _MINUS_ZERO.search(line)
        try:
            value = _FAST.decode(line) if is_clean else _WIDE.decode(line)
        except (msgspec.MsgspecError, ValueError):
            value, is_clean = _WIDE.decode(line), False
        if not isinstance(value, dict):
            return None
        # An object without brackets inside is flat as it is.
        if "[" not in line and line.find("{", 1) < 0:
            fields, count = value, len(value)
        elif _depth(line, value) > _MOST_DEPTH:
            return None
        else:
            fields = {}
            count = _flatten(value.items(), "", fields)
        if _may_repeat_keys(line, count):
            fields = {}
            _flatten(_PAIRS.decode(line), "", fields)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than the decoder goes: kept as a plain message
        return None
    # looked for in the line, which is cheap: only an escape can hold half of a surrogate pair, which is no text in UTF-8
    return fields if is_clean or "\\u" not in line else {_clean(key): _cleaned(item) for key, item in fields.items()}


def _may_repeat_keys(line: str, count: int) -> bool:
    """Whether an object of the line may have a key twice, by the colons behind quotes: for most lines a count says that it has not.

    A quote within a string is escaped, so a colon stands directly behind one only at the end of a key, or where a string begins with it.
    """
    if '" :' in line or "\t" in line or "\r" in line:
        return True
    if "\\" not in line:
        return line.count('":') != count
    return '\\\\"' in line or line.count('":') - line.count('\\":') != count


def _key_count(value: Any) -> int:
    """Keys of all objects in a list."""
    if value.__class__ is dict:
        return len(value) + sum(_key_count(item) for item in value.values() if item.__class__ in _NESTING)
    return sum(_key_count(item) for item in value if item.__class__ in _NESTING)


_NESTING = frozenset({dict, list, _Pairs})


def _depth(line: str, value: Any) -> int:
    """How deep a value is nested; only looked at where the line has enough brackets for it to matter."""
    if line.count("{") + line.count("[") <= _MOST_DEPTH:
        return 0
    level, depth = [value], 0
    while level and depth <= _MOST_DEPTH:
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inner for child in children if child.__class__ in _NESTING]
        depth += 1
    return depth


def _flatten(items: Any, prefix: str, fields: dict[str, Any]) -> int:
    """Adds keys and values, nested ones dotted; returns how many keys there are. An empty object is kept as a value."""
    count = 0
    for key, item in items:
        count += 1
        name = prefix + key if prefix else key
        kind = item.__class__
        if kind in _NESTING:
            if item and kind is not list:
                count += _flatten(item.items() if kind is dict else item, name + ".", fields)
                continue
            count += _key_count(item)
            item = _plain(item)  # noqa: PLW2901 - the value without pairs takes its place
        if name in fields:
            add_field(fields, name, item)
        else:
            fields[name] = item
    return count


def _plain(value: Any) -> Any:
    """A value without pairs: of a key that is twice in it, an object in a list keeps all values as the record does."""
    if isinstance(value, _Pairs):
        fields: dict[str, Any] = {}
        for key, item in value:
            add_field(fields, key, _plain(item))
        return fields
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _clean(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cleaned(value: Any) -> Any:
    if isinstance(value, Number):
        return value
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value
