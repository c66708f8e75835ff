"""Columns of SQL results and exports as columns of text: exact, readable, and without a step of Python for each row of a common column.

Times are RFC 3339 in UTC, bytes are hex, decimals have all their digits, intervals look as the database writes them, an infinite time is
`infinity`. As JSON, numbers that a reader would round are texts.
"""

import functools
import math
import struct
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from treering_cli.calendar_texts import clock, date_text, interval_text, timestamp_text
from treering_cli.escaping import UNSEEN_IN_JSON, to_json

_EXACT_IN_JSON = 2**53
_EXACT_DIGITS = 15
_NANOS = 1_000_000_000
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": _NANOS}
_LAST_SECOND = 62_135_596_800
"""So many seconds before and after 1970, the years 1 to 3938, Arrow writes as everybody does."""

_CASTABLE = {pa.string(), pa.large_string(), pa.string_view(), pa.null(), pa.bool_()}
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What is left when these are escaped: controls, and characters that cannot be seen.
_SPECIAL = f'["\\\\\\x00-\\x1f{UNSEEN_IN_JSON}]'
_ODD = f"[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f{UNSEEN_IN_JSON}]"


def plain(column: pa.ChunkedArray) -> pa.Array:
    """A column as people read it; NULL stays."""
    return _texts(_whole(column), as_json=False, as_text=False)


def jsons(column: pa.ChunkedArray, *, as_text: bool = False) -> pa.Array:
    """A column as JSON values; NULL stays.

    Args:
        column: The column.
        as_text: Write its numbers as texts, whether a reader would round one of them or not.
    """
    return _texts(_whole(column), as_json=True, as_text=as_text)


def json_lines(table: pa.Table, as_text: Container[str] = ()) -> pa.Array:
    """The rows as JSON objects.

    Args:
        table: The rows.
        as_text: Columns whose numbers are texts.
    """
    parts: list[Any] = []
    names = _unique(table.column_names)
    for name, own, column in zip(names, table.column_names, table.columns, strict=True):
        parts += [f"{', ' if parts else '{'}{to_json(name)}: ", jsons(column, as_text=own in as_text).fill_null("null")]
    return _joined(*parts, "}") if parts else pa.array(["{}"] * table.num_rows)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _unique(names: list[str]) -> list[str]:
    """Column names, later ones of the same name numbered, so that none is lost in an object."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*(_constant(part) if isinstance(part, str) else part for part in parts), _constant(""))


@functools.cache
def _constant(text: str) -> pa.Scalar:
    # Arrow looks for pandas, file by file, each time that it makes one.
    return pa.scalar(text, pa.string())


def _texts(array: pa.Array, *, as_json: bool, as_text: bool) -> pa.Array:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        whole = _bignums(array.storage) if "bignum" in str(kind) else array.storage
        return _texts(whole, as_json=as_json, as_text=as_text)
    if pa.types.is_dictionary(kind):
        return _texts(array.dictionary_decode(), as_json=as_json, as_text=as_text)
    if pa.types.is_nested(kind):
        return _nested(array)
    if is_number(kind):
        return _numbers(array, as_json=as_json, as_text=as_text)
    texts = _scalars(array)
    if not as_json or pa.types.is_boolean(kind):
        return texts
    return _joined('"', texts, '"') if pa.types.is_temporal(kind) else quoted(texts)


def _bignums(storage: pa.Array) -> pa.Array:
    """The digits of the database's integers without a bound: three bytes of length, then the value; all inverted below zero."""

    def digits(data: bytes) -> str:
        is_negative = data[0] < 0x80
        value = int.from_bytes(bytes(byte ^ 0xFF for byte in data[3:]) if is_negative else data[3:])
        return str(-value if is_negative else value)

    return pa.array([None if data is None else digits(data) for data in storage.to_pylist()], pa.string())


def _scalars(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _timestamps(array)
    if kind in _CASTABLE:
        return array.cast(pa.string())
    write, numbers = _writer(array)
    return pa.array([None if value is None else write(value) for value in numbers.to_pylist()], pa.string())


def _writer(array: pa.Array) -> tuple[Callable[[Any], str], pa.Array]:
    """What writes a value of a rare kind, and the values in a form that Python has without loss."""
    kind = array.type
    if pa.types.is_date32(kind):
        return date_text, array.view(pa.int32())
    if pa.types.is_date64(kind):
        return lambda value: date_text(value // 86_400_000), array.view(pa.int64())
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        per_second = _PER_SECOND[kind.unit]
        return lambda value: clock(value * (_NANOS // per_second)), array.view(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    if kind == pa.month_day_nano_interval():
        return lambda value: interval_text(value.months, value.days, value.nanoseconds), array
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return bytes.hex, array
    return str, array


def _timestamps(array: pa.Array) -> pa.Array:
    per_second = _PER_SECOND[array.type.unit]
    numbers = array.view(pa.int64())
    # Bounds of what can be multiplied again: beyond them are the years that are written one by one.
    if not _is_within(numbers, _LAST_SECOND * per_second if per_second < _NANOS else 2**63 - per_second):
        return pa.array([None if value is None else timestamp_text(value, per_second) for value in numbers.to_pylist()], pa.string())
    seconds, rest = _divided(numbers, per_second)
    days = pc.replace_substring(seconds.cast(pa.timestamp("s")).cast(pa.string()), " ", "T")
    if not pc.any(pc.not_equal(rest, 0)).as_py():
        return _joined(days, "Z")
    # As many digits as are needed: none, 3, 6 or 9.
    digits = pc.utf8_lpad(pc.multiply(rest, _NANOS // per_second).cast(pa.string()), 9, "0")
    return _joined(days, pc.replace_substring_regex(_joined(".", digits), r"\.?(?:000){1,3}$", ""), "Z")


def _divided(numbers: pa.Array, by: int) -> tuple[pa.Array, pa.Array]:
    """Quotients, rounded down, and what remains, which is never below zero."""
    towards_zero = pc.divide(numbers, by)
    rest = pc.subtract(numbers, pc.multiply(towards_zero, by))
    is_below = pc.less(rest, 0)
    return pc.subtract(towards_zero, is_below.cast(pa.int64())), pc.add(rest, pc.multiply(is_below.cast(pa.int64()), by))


def _numbers(array: pa.Array, *, as_json: bool, as_text: bool) -> pa.Array:
    kind = array.type
    if pa.types.is_integer(kind):
        texts, exact = array.cast(pa.string()), _is_within(array, _EXACT_IN_JSON)
    elif pa.types.is_decimal(kind):
        values: list[Decimal | None] = array.to_pylist()
        texts = pa.array([None if value is None else format(value, "f") for value in values], pa.string())
        exact = all(value is None or len(value.as_tuple().digits) <= _EXACT_DIGITS for value in values)
    else:
        return _floats(array, as_json=as_json)
    return _joined('"', texts, '"') if as_json and (as_text or not exact) else texts


def _is_within(array: pa.Array, bound: int) -> bool:
    bounds = pc.min_max(array).as_py()
    return bounds["min"] is None or (-bound <= bounds["min"] and bounds["max"] <= bound)


def _floats(array: pa.Array, *, as_json: bool) -> pa.Array:
    write = _shortest if array.type.bit_width < 64 else repr
    quote = '"' if as_json else ""
    texts = [None if value is None else write(value) if math.isfinite(value) else f"{quote}{value}{quote}" for value in array.to_pylist()]
    return pa.array(texts, pa.string())


def _shortest(value: float) -> str:
    """A 32-bit float as the shortest decimal that means it: 0.99, not 0.9900000095367432."""
    exact = struct.pack("f", value)
    return repr(next((short for digits in range(6, 10) if struct.pack("f", short := float(f"{value:.{digits}g}")) == exact), value))


def _nested(array: pa.Array) -> pa.Array:
    """Lists, structs and maps as JSON, from the texts of what is in them."""
    kind = array.type
    if pa.types.is_map(kind):
        keys = _texts(array.keys, as_json=False, as_text=False).fill_null("null")
        # There are few of them, again and again.
        distinct = keys.dictionary_encode()
        return _enclosed("{", array, _joined(quoted(distinct.dictionary).take(distinct.indices), ": ", _inner(array.items)), "}")
    if pa.types.is_struct(kind):
        parts: list[Any] = []
        for index, field in enumerate(kind):
            parts += [f"{', ' if parts else '{'}{to_json(field.name)}: ", _inner(array.field(index))]
        written = _joined(*parts, "}") if parts else pa.array(["{}"] * len(array))
        return pc.if_else(array.is_valid(), written, None)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _enclosed("[", array, _inner(array.values), "]")
    if pa.types.is_fixed_size_list(kind):
        return _nested(array.cast(pa.list_(kind.value_type)))
    return pa.array([None if value is None else to_json(value) for value in array.to_pylist()], pa.string())


def _inner(array: pa.Array) -> pa.Array:
    return _texts(array, as_json=True, as_text=False).fill_null("null")


def _enclosed(start: str, array: pa.Array, parts: pa.Array, end: str) -> pa.Array:
    """The parts of each list, between commas. `parts` are those of the whole buffer, of which the array may be a slice."""
    offsets = array.offsets.cast(pa.int32())
    lists = pa.ListArray.from_arrays(offsets, parts)
    written = _joined(start, pc.binary_join(lists, ", "), end)
    return pc.if_else(array.is_valid(), written, None) if array.null_count else written


def quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON writes them; what cannot be seen is escaped, too."""
    if not pc.any(pc.match_substring_regex(texts, _SPECIAL)).as_py():
        return _joined('"', texts, '"')
    odd = pc.match_substring_regex(texts, _ODD)
    escaped = texts
    for character, escape in _ESCAPED.items():
        escaped = pc.replace_substring(escaped, character, escape)
    written = _joined('"', escaped, '"')
    if not pc.any(odd).as_py():
        return written
    rare = [to_json(text) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(written, odd.fill_null(False), pa.array(rare, pa.string()))
