"""Rows of SQL results and exports as JSON, as CSV and as cells of a table."""

import struct
from collections.abc import Container
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from treering_cli.column_texts import is_number, json_lines, plain

IDS = frozenset({"log_id", "pattern_id"})
"""Columns of records whose numbers are texts in JSON, however small: so each batch of an export writes them alike."""

_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""What a spreadsheet takes for the beginning of a formula, or skips in front of one; the last four are the wide forms of the first."""

_QUOTED = '[",\r\n]'


def json_text(table: pa.Table) -> str:
    """The rows as one JSON list of objects."""
    return f"[{', '.join(json_lines(table).to_pylist())}]"


def json_line_bytes(table: pa.Table, as_text: Container[str] = IDS) -> bytes:
    """The rows as JSON objects, one a line."""
    return _bytes(json_lines(table, as_text))


def text_rows(table: pa.Table) -> tuple[list[list[str]], list[int]]:
    """The rows as text, and which columns are numbers."""
    numeric = [index for index, kind in enumerate(table.schema.types) if is_number(kind)]
    columns = [plain(column).fill_null("").to_pylist() for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)], numeric


def csv_text(table: pa.Table, *, for_spreadsheet: bool = False) -> str:
    """The table as CSV with a header; NULL is empty.

    For a spreadsheet, which computes what looks like a formula, such texts begin with an apostrophe; and each cell is in quotes, because
    some spreadsheets take a semicolon for the end of a cell.
    """
    return csv_bytes(table, with_header=True, for_spreadsheet=for_spreadsheet).decode()


def csv_bytes(table: pa.Table, *, with_header: bool, for_spreadsheet: bool = False) -> bytes:
    """The rows as lines of CSV; see `csv_text`."""
    columns = [
        _cells(plain(column), kind, for_spreadsheet=for_spreadsheet) for column, kind in zip(table.columns, table.schema.types, strict=True)
    ]
    names = [_cells(pa.array([name]), pa.string(), for_spreadsheet=for_spreadsheet) for name in table.column_names]
    return (_bytes(_row(names)) if with_header else b"") + _bytes(_row(columns))


def _cells(texts: pa.Array, kind: pa.DataType, *, for_spreadsheet: bool) -> pa.Array:
    texts = texts.fill_null("")
    if for_spreadsheet:
        if not is_number(kind):
            texts = pc.if_else(pc.match_substring_regex(texts, _FORMULA), _joined("'", texts), texts)
        return _in_quotes(texts)
    # A carriage return alone ends a line for many readers: the cell is quoted as one with a line feed is.
    special = pc.match_substring_regex(texts, _QUOTED)
    return pc.if_else(special, _in_quotes(texts), texts) if pc.any(special).as_py() else texts


def _in_quotes(texts: pa.Array) -> pa.Array:
    return _joined('"', pc.replace_substring(texts, '"', '""'), '"')


def _row(columns: list[Any]) -> pa.Array:
    if len(columns) == 1:  # an empty line would be no row
        return pc.if_else(pc.equal(columns[0], ""), '""', columns[0])
    return pc.binary_join_element_wise(*columns, ",")


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _bytes(lines: pa.Array) -> bytes:
    """The texts, each with the end of its line."""
    ended = _joined(lines, "\n")
    _, offsets, data = ended.buffers()
    # What was just computed is no slice: its buffer begins with these texts.
    end = struct.unpack_from("=i", offsets, len(ended) * struct.calcsize("=i"))[0] if len(ended) else 0
    return data[:end].to_pybytes() if end else b""
