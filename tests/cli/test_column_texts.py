"""Values of SQL results in every form: exact, readable, and the same whatever way they are written."""

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_cli.calendar_texts import date_text
from treering_cli.escaping import to_json
from treering_cli.output import rfc3339
from treering_cli.sql_values import csv_text, json_line_bytes, json_text


def said(expression: str) -> tuple[Any, str]:
    """A value of the database in JSON and in CSV."""
    table = duckdb.connect().sql(f"select {expression} as v").to_arrow_table()
    (cell,) = list(csv.reader(io.StringIO(csv_text(table), newline="")))[1]
    return json.loads(json_text(table))[0]["v"], cell


@pytest.mark.parametrize(
    ("expression", "in_json", "in_csv"),
    [
        ("9007199254740993.02::decimal(20, 2)", "9007199254740993.02", "9007199254740993.02"),
        ("12.50::decimal(20, 2)", 12.5, "12.50"),
        ("0.00000001::decimal(20, 10)", 1e-8, "0.0000000100"),
        ("18446744073709551615::ubigint", "18446744073709551615", "18446744073709551615"),
        ("170141183460469231731687303715884105727::hugeint", *["170141183460469231731687303715884105727"] * 2),
        ("123456789012345678901234567890123456789012::bignum", *["123456789012345678901234567890123456789012"] * 2),
        ("-5::bignum", *["-5"] * 2),
        ("7::hugeint", 7, "7"),
        ("0.1::double", 0.1, "0.1"),
        ("0.99::float", 0.99, "0.99"),
        ("'nan'::double", *["nan"] * 2),
        ("timestamp '9999-12-31 00:00:00'", *["9999-12-31T00:00:00Z"] * 2),
        ("timestamp '123456-01-02 00:00:00.5'", *["123456-01-02T00:00:00.500Z"] * 2),
        ("timestamp 'infinity'", *["infinity"] * 2),
        ("timestamp '-infinity'", *["-infinity"] * 2),
        ("timestamp_ns '2026-11-20 10:00:00.123456789'", *["2026-11-20T10:00:00.123456789Z"] * 2),
        ("timestamp_s '1969-12-31 23:59:59'", *["1969-12-31T23:59:59Z"] * 2),
        ("timestamptz '2026-11-20 10:00:00.12+02'", *["2026-11-20T08:00:00.120Z"] * 2),
        ("date 'infinity'", *["infinity"] * 2),
        ("date '0044-03-15 (BC)'", *["-0043-03-15"] * 2),
        ("time '24:00:00'", *["24:00:00"] * 2),
        ("interval 90 minute", *["01:30:00"] * 2),
        ("interval '-90 minutes'", *["-01:30:00"] * 2),
        ("interval '14 months 3 days 1.5 seconds'", *["1 year 2 months 3 days 00:00:01.500"] * 2),
        ("'ab'::blob", "6162", "6162"),
        (
            "[timestamp_ns '2026-11-20 10:00:00.123456789', null]",
            ["2026-11-20T10:00:00.123456789Z", None],
            '["2026-11-20T10:00:00.123456789Z", null]',
        ),
        ("{'a': 2::ubigint, 'b': map {1: 'x'}}", {"a": 2, "b": {"1": "x"}}, '{"a": 2, "b": {"1": "x"}}'),
        ("'x'::enum('x', 'y')", *["x"] * 2),
        ("null", None, ""),
    ],
)
def test_values_are_exact_and_readable(expression: str, in_json: Any, in_csv: str) -> None:
    assert said(expression) == (in_json, in_csv)


@given(st.lists(st.one_of(st.none(), st.text())))
def test_texts_in_json_are_those_of_the_slow_way(values: list[Any]) -> None:
    table = pa.table({"v": pa.array(values, pa.string())})
    lines = json_line_bytes(table).decode().split("\n")[:-1]
    assert [json.loads(line)["v"] for line in lines] == values
    assert [to_json({"v": value}) for value in values] == lines


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63) + 2, 2**63 - 2))))
def test_times_are_those_of_the_slow_way(values: list[Any]) -> None:
    (*lines,) = csv.reader(io.StringIO(csv_text(pa.table({"t": pa.array(values, pa.timestamp("ns"))})), newline=""))
    slow = ["" if value is None else rfc3339(value) or "1970-01-01T00:00:00Z" for value in values]
    assert [line[0] for line in lines[1:]] == slow


@given(st.dates())
def test_dates_are_those_of_the_calendar(date: dt.date) -> None:
    assert date_text((date - dt.date(1970, 1, 1)).days) == date.isoformat()


@given(st.lists(st.tuples(st.text(), st.text(alphabet=',"\r\n;a ')), min_size=1))
def test_csv_gives_back_every_text(rows: list[Any]) -> None:
    table = pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    assert list(csv.reader(io.StringIO(csv_text(table), newline="")))[1:] == [list(row) for row in rows]


def test_a_column_of_empty_texts_is_a_row_each() -> None:
    assert csv_text(pa.table({"a": ["", "x", ""]})) == 'a\n""\nx\n""\n'


def test_slices_and_lists_of_lists() -> None:
    rows = [[[1], []], None, [], [[2, None], None]]
    table = pa.table({"v": pa.array(rows, pa.list_(pa.list_(pa.int64())))})
    assert [json.loads(line)["v"] for line in json_line_bytes(table.slice(1)).decode().splitlines()] == rows[1:]


def test_ids_are_texts_in_each_batch_of_an_export() -> None:
    table = pa.table({"pattern_id": pa.array([0], pa.uint64()), "offset": pa.array([0], pa.uint64())})
    assert json_line_bytes(table) == b'{"pattern_id": "0", "offset": 0}\n'


def test_decimals_of_one_column_are_all_of_one_kind() -> None:
    table = pa.table({"v": pa.array([Decimal("1.00"), Decimal("9007199254740993.02")], pa.decimal128(20, 2))})
    assert [row["v"] for row in json.loads(json_text(table))] == ["1.00", "9007199254740993.02"]
