"""The file of a segment against a plain sort."""

import itertools

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
            "pattern_id": st.integers(0, 3) | st.integers(2**64 - 3, 2**64 - 1),
        }
    ),
    max_size=60,
)


def key(row):
    return row["service"].encode(), row["pattern_id"], row["time"], row["log_id"], row["offset"]


@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_records_are_in_the_order_of_a_plain_sort_however_they_arrived_in_chunks(rows, cuts, tmp_path_factory):
    whole = pa.Table.from_pylist(rows, LOGS_SCHEMA)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    chunks = [whole.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    file = tmp_path_factory.mktemp("segment") / "1.parquet"
    segment_file.write(file, segment_file.in_order(pa.concat_tables(chunks)))
    found = pq.read_table(file).replace_schema_metadata()
    assert found.schema.equals(LOGS_SCHEMA)
    assert found.equals(pa.Table.from_pylist(sorted(rows, key=key), LOGS_SCHEMA))


def test_a_row_group_is_never_larger_than_said_whatever_order_the_records_come_in(tmp_path):
    count = 2 * segment_file.ROW_GROUP_ROWS + 7
    columns = {
        "offset": range(count),
        "service": [f"svc{number % 3}" for number in range(count)],
        "message": [f"message {number}" for number in range(count)],
    }
    rest = {"log_id": 1, "time": 5, "arrival_time": 5, "severity": 9, "environment": "", "attributes": [], "trace_id": b"", "span_id": b""}
    fixed = {name: [value] * count for name, value in (rest | {"pattern_id": 3}).items()}
    table = pa.table({name: (columns | fixed)[name] for name in LOGS_SCHEMA.names}, schema=LOGS_SCHEMA)
    segment_file.write(tmp_path / "1.parquet", segment_file.in_order(table))
    found = pq.read_metadata(tmp_path / "1.parquet")
    sizes = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
    assert sizes == [segment_file.ROW_GROUP_ROWS, segment_file.ROW_GROUP_ROWS, 7]


@pytest.mark.parametrize(
    ("rows", "size_bytes", "together"),
    [(0, 0, 1), (500_000, 100 * MIB, segment_file.ROW_GROUP_ROWS), (128, 128 * MIB, 32), (3, 200 * MIB, 1), (7, 0, 224 * MIB)],
)
def test_row_groups_of_huge_records_hold_fewer_of_them(rows, size_bytes, together):
    assert segment_file.group_rows(rows, size_bytes) == min(together, segment_file.ROW_GROUP_ROWS)
