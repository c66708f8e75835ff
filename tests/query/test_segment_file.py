"""The file of a segment against a plain sort."""

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_query.sealed import segment_file
from treering_query.values.schemas import LOGS_SCHEMA

MIB = 1024 * 1024
TIME = st.integers(-(2**40), 2**62)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "log_id": st.sampled_from([1, 2, 2**63 + 5]),
            "offset": st.integers(0, 2**64 - 1),
            "time": TIME,
            "arrival_time": TIME,
            "severity": st.integers(0, 24),
            "service": st.sampled_from(["", "a", "B", "ab", "é", "\U0001f333", "zz"]),
            "environment": st.sampled_from(["", "prod"]),
            "message": st.text(max_size=8),
            "attributes": st.lists(st.tuples(st.text(max_size=2), st.text(max_size=3)), max_size=3),
            "trace_id": st.sampled_from([b"", b"0123456789abcdef"]),
            "span_id": st.sampled_from([b"", b"01234567"]),
            "resource": st.sampled_from(["", '{"k":"1"}', '{"k":"2"}']),
            "pattern_id": st.integers(0, 3) | st.integers(2**64 - 3, 2**64 - 1),
        }
    ),
    max_size=60,
)


PLAIN = [name for name in LOGS_SCHEMA.names if name != "resource"]
"""The columns of versions that knew no resources, and of files without one."""


def key(row: Any) -> tuple[Any, Any, Any, Any, Any]:
    return row["service"].encode(), row["pattern_id"], row["time"], row["log_id"], row["offset"]


@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_records_are_in_the_order_of_a_plain_sort_however_they_arrived_in_chunks(
    rows: list[dict[str, object]], cuts: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = pa.Table.from_pylist(rows, LOGS_SCHEMA)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    chunks = [whole.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    file = tmp_path_factory.mktemp("segment") / "1.parquet"
    expected = pa.Table.from_pylist(sorted(rows, key=key), LOGS_SCHEMA)
    segment_file.write(file, segment_file.in_order(pa.concat_tables(chunks)), with_resources=True)
    found = pq.read_table(file).replace_schema_metadata().cast(LOGS_SCHEMA)
    assert found.select(PLAIN).equals(expected.select(PLAIN))
    assert found.column("resource").to_pylist() == expected.column("resource").to_pylist()
    segment_file.write(file, segment_file.in_order(pa.concat_tables(chunks)), with_resources=False)
    assert pq.read_table(file).replace_schema_metadata().equals(expected.select(PLAIN))


def test_a_row_group_is_never_larger_than_said_whatever_order_the_records_come_in(tmp_path: Path) -> None:
    count = 2 * segment_file.ROW_GROUP_ROWS + 7
    columns = {
        "offset": range(count),
        "service": [f"svc{number % 3}" for number in range(count)],
        "message": [f"message {number}" for number in range(count)],
    }
    rest = {
        "log_id": 1,
        "time": 5,
        "arrival_time": 5,
        "severity": 9,
        "environment": "",
        "attributes": [],
        "resource": "",
        "trace_id": b"",
        "span_id": b"",
    }
    fixed = {name: [value] * count for name, value in (rest | {"pattern_id": 3}).items()}
    table = pa.table({name: (columns | fixed)[name] for name in LOGS_SCHEMA.names}, schema=LOGS_SCHEMA)
    segment_file.write(tmp_path / "1.parquet", segment_file.in_order(table), with_resources=False)
    found = pq.read_metadata(tmp_path / "1.parquet")
    sizes = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
    assert sizes == [segment_file.ROW_GROUP_ROWS, segment_file.ROW_GROUP_ROWS, 7]


def rows_with(resources: list[Any] | list[str]) -> Any:
    count = len(resources)
    fixed = {"log_id": 1, "offset": 1, "time": 5, "arrival_time": 5, "severity": 9, "service": "s", "environment": "", "message": "m"}
    fixed |= {"attributes": [], "trace_id": b"", "span_id": b"", "pattern_id": 3}
    columns = {"resource": resources, **{name: [value] * count for name, value in fixed.items()}}
    return pa.table({name: columns[name] for name in LOGS_SCHEMA.names}, schema=LOGS_SCHEMA)


def test_each_row_group_holds_its_own_resources_once(tmp_path: Path) -> None:
    texts = [f'{{"k":"{number % 100:0500}"}}' for number in range(3 * segment_file.ROW_GROUP_ROWS)]
    table = rows_with(sorted(texts))
    segment_file.write(tmp_path / "1.parquet", segment_file.in_order(table), with_resources=True)
    found = pq.read_metadata(tmp_path / "1.parquet")
    place = LOGS_SCHEMA.get_field_index("resource")
    columns = [
        next(c for c in map(found.row_group(number).column, range(found.num_columns)) if c.path_in_schema == "resource")
        for number in range(3)
    ]
    assert place
    assert all("RLE_DICTIONARY" in column.encodings and "PLAIN" not in column.encodings[1:] for column in columns)
    # A third of the sets, 500 bytes each, and a byte a record at most: not all of them, and not one for each record.
    assert all(column.total_uncompressed_size < 35 * 520 + segment_file.ROW_GROUP_ROWS for column in columns)
    assert pq.read_table(tmp_path / "1.parquet").column("resource").to_pylist() == sorted(texts)


def test_row_groups_whose_resources_are_too_many_to_be_kept_apart_hold_fewer_records(tmp_path: Path) -> None:
    texts = [f'{{"k":"{number % 100:050000}"}}' for number in range(3_000)]
    segment_file.write(tmp_path / "1.parquet", segment_file.in_order(rows_with(texts)), with_resources=True)
    found = pq.read_metadata(tmp_path / "1.parquet")
    assert max(found.row_group(number).num_rows for number in range(found.num_row_groups)) * 50_000 < 33 * MIB


@pytest.mark.parametrize(
    ("rows", "size_bytes", "together"),
    [(0, 0, 1), (500_000, 100 * MIB, segment_file.ROW_GROUP_ROWS), (128, 128 * MIB, 32), (3, 200 * MIB, 1), (7, 0, 224 * MIB)],
)
def test_row_groups_of_huge_records_hold_fewer_of_them(rows: int, size_bytes: int, together: int) -> None:
    assert segment_file.group_rows(rows, size_bytes) == min(together, segment_file.ROW_GROUP_ROWS)
