"""Values of SQL results as JSON and as text: exact times, readable bytes, integers that survive JSON."""

import csv
import datetime as dt
import io
import math
import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from treering_cli.escaping import to_json
from treering_cli.output import rfc3339

_EXACT_IN_JSON = 2**53
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, or skips in front of one; the last four are the wide forms of the first."""


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as objects. Times are RFC 3339 strings, bytes are hex, columns with integers beyond 2^53 are decimal strings."""
    columns = [_column(column) for column in table.columns]
    names = _unique(table.column_names)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def text_rows(table: pa.Table) -> tuple[list[list[str]], list[int]]:
    """The rows as text, and which columns are numbers."""
    columns = [_column(column) for column in table.columns]
    numeric = [index for index, kind in enumerate(table.schema.types) if _is_number(kind)]
    return [[_text(value) for value in row] for row in zip(*columns, strict=True)], numeric


def csv_text(table: pa.Table, *, for_spreadsheet: bool = False) -> str:
    """The table as CSV with a header; NULL is empty.

    For a spreadsheet, which computes what looks like a formula, such texts begin with an apostrophe; and each cell is in quotes, because
    some spreadsheets take a semicolon for the end of a cell.
    """
    out = _Lines()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL if for_spreadsheet else csv.QUOTE_MINIMAL)
    rows, numeric = text_rows(table)
    if for_spreadsheet:
        writer.writerow(map(_inert, table.column_names))
        rows = [[cell if index in numeric else _inert(cell) for index, cell in enumerate(row)] for row in rows]
    else:
        writer.writerow(table.column_names)
    writer.writerows(rows)
    return out.getvalue()


class _Lines(io.StringIO):
    """Ends the lines of CSV as files here do; the writer is told another end, because it puts only what it knows as one into quotes."""

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _unique(names: Iterable[str]) -> list[str]:
    """Column names, later ones of the same name numbered, so that none is lost in an object."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _column(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        nanos = column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_pylist()
        return [None if value is None else _time(value) for value in nanos]
    if pa.types.is_float32(kind):
        return [_plain(None if value is None else _shortest(value)) for value in column.to_pylist()]
    values = [_plain(value) for value in column.to_pylist(maps_as_pydicts="lossy")]
    if any(isinstance(value, int) and not -_EXACT_IN_JSON <= value <= _EXACT_IN_JSON for value in values):
        return [None if value is None else str(value) for value in values]
    return values


def _shortest(value: float) -> float:
    """A 32-bit float as the shortest decimal that means it: 0.99, not 0.9900000095367432."""
    if not math.isfinite(value):
        return value
    exact = struct.pack("f", value)
    return next((short for digits in range(6, 10) if struct.pack("f", short := float(f"{value:.{digits}g}")) == exact), value)


def _time(nanos: int) -> str:
    return rfc3339(nanos) or "1970-01-01T00:00:00Z"


def _plain(value: Any) -> Any:
    """A value that JSON has; most have nothing to do."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (bytes, bytes.hex),
    (Decimal, _number),
    (float, lambda value: value if math.isfinite(value) else str(value)),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    (dt.timedelta, str),
)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return to_json(value) if isinstance(value, dict | list) else str(value)
