"""The time in which records usually lie."""

from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_query.patterns.outliers import Usual, usual_time

DAY = 86_400_000_000_000
LAST = 2**63 - 2  # the latest time that a record can have
NOON = 19_675 * DAY + DAY // 2


def usual(times: Sequence[int]) -> Usual | None:
    rows = ", ".join(f"(make_timestamp_ns({time}::bigint))" for time in times)
    with duckdb.connect(":memory:") as connection:
        return usual_time(lambda sql: connection.sql(sql).to_arrow_table(), f"(values {rows}) as t(time)", "true")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([NOON], Usual(NOON, NOON, 0)),
        ([NOON, NOON + 3 * DAY], Usual(NOON, NOON + 3 * DAY, 0)),
        ([*[NOON] * 4, LAST], Usual(NOON, NOON, 1)),
        ([1, *[NOON] * 4], Usual(NOON, NOON, 1)),
        ([0, *[NOON] * 3, NOON + 3 * DAY, NOON + 4 * DAY, LAST, *[NOON] * 3], Usual(NOON, NOON + 4 * DAY, 2)),
        ([LAST] * 3, Usual(LAST, LAST, 0)),
        ([0] * 3, Usual(0, 0, 0)),
    ],
)
def test_records_far_from_most_are_outside(times: list[int], expected: Usual) -> None:
    assert usual(times) == expected


def test_there_is_no_usual_time_without_a_record() -> None:
    with duckdb.connect(":memory:") as connection:
        records = "(select make_timestamp_ns(1) as time)"
        assert usual_time(lambda sql: connection.sql(sql).to_arrow_table(), records, "false") is None


def plain(times: Sequence[int]) -> Usual:
    """Day by day, as one would on paper."""
    days = sorted(time // DAY for time in times)
    low, high = (days[-(-len(days) * quarter // 4) - 1] for quarter in (1, 3))
    reach = 3 * max(high - low, 1)
    inside = [time for time in times if low - reach <= time // DAY <= high + reach]
    return Usual(min(inside), max(inside), len(times) - len(inside))


TIMES = st.integers(NOON - 20 * DAY, NOON + 20 * DAY) | st.integers(0, LAST)


@given(times=st.lists(TIMES, min_size=1, max_size=30))
def test_it_is_what_the_plain_rule_says(times: list[Any]) -> None:
    assert usual(times) == plain(times)


def test_it_is_found_in_less_memory_than_the_times_need() -> None:
    """20 million times are 160 MB."""
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "64MB", "threads": 2, "temp_directory": ""}
    records = f"(select make_timestamp_ns(case when i = 7 then {LAST} else {NOON} + i end) as time from range(20000000) t(i)) as t"
    with duckdb.connect(":memory:", config=config) as connection:
        found = usual_time(lambda sql: connection.sql(sql).to_arrow_table(), records, "true")
    assert found == Usual(NOON, NOON + 19_999_999, 1)
