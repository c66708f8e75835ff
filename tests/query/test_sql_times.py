"""Users' SQL compares the tables' times, which are UTC without a zone, with literals that name a zone and with `now()`."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from tests.query.conftest import MakeFrame, MakeRecord, OpenSql, OpenStore
from tests.query.test_sql_meaning import refusal, rows
from treering.v1.error_pb2 import ErrorReason
from treering_query.sql.runner import SqlRunner
from treering_query.sql.zones import in_utc

TEN = dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC)
NANOS = int(TEN.timestamp()) * 10**9


@pytest.fixture
async def sql(open_store: OpenStore, open_sql: OpenSql, frame: MakeFrame, record: MakeRecord, tmp_path: Path) -> AsyncIterator[SqlRunner]:
    """Three records at ten, eleven and twelve o'clock UTC; the first one is on disk, the last one says a time."""
    async with open_store() as store:
        await store.open_log(7, 0)
        messages = ("a", "b", "2026-11-20T12:00:00+02:00")
        for number, message in enumerate(messages):
            one = record(number, time_unix_nano=NANOS + number * 3600 * 10**9 + 123_456_789, message=message, service="s")
            await store.deliver(7, [frame(number, [one])], number + 1)
            if not number:
                await store.seal()
        async with open_sql(store, tmp_path / "store") as runner:
            yield runner


ALL = ["a", "b", "2026-11-20T12:00:00+02:00"]
SELECTED = [
    ("time = '2026-11-20T12:00:00.123456789+02:00'", ALL[:1]),
    ("time >= '2026-11-20T11:00:00.123456789Z'", ALL[1:]),
    ("time < '2026-11-20 06:30-05:00'", ALL[:2]),
    ("time between '2026-11-20T12:00:00+02' and '2026-11-20T12:30:00 Europe/Berlin'", ALL[:2]),
    ("time in ('2026-11-20T15:30:00.123456789+05:30', '2026-11-20')", ALL[:1]),
    ("time > timestamp '2026-11-20 12:30:00+02:00'", ALL[1:]),
    ("'2026-11-20T13:30:00+02:00'::timestamp_ns < time", ALL[2:]),
    ("time_bucket(interval 1 hour, time) = '2026-11-20T12:00:00+02:00'", ALL[:1]),
    ("time::date = '2026-11-20T23:00:00-02:00'", []),
    ("message = '2026-11-20T12:00:00+02:00'", ALL[2:]),  # a text is a text
    ("message like '2026-11-20T12:00:00+02:00' and time > '2026-11-20T12:00:00+02:00'", ALL[2:]),
    ("time > '2026-11-20' /* '2026-11-20T12:00:00+02:00' */", ALL),
    ("time < now() - interval 1 hour", ALL),
    ("time > now() - interval '20 years' and time < current_timestamp", ALL),
    ("time between timestamptz '2026-11-20 13:00:00+02:00' and now()", ALL[1:]),
    ("time > '2026-11-20 13:00:00+02:00'::timestamptz + interval 30 minute", ALL[2:]),
    ("time < to_timestamp(1795168801)", ALL[:1]),
    ("arrival_time <> now()", ALL),
    ("now() - time > interval 1 hour", ALL),
]


@pytest.mark.parametrize(("condition", "expected"), SELECTED)
async def test_a_zone_counts_wherever_a_time_is_compared(sql: SqlRunner, condition: str, expected: list[str]) -> None:
    assert await rows(sql, f"select message from logs where {condition} order by time") == [(message,) for message in expected]


@pytest.mark.parametrize(
    ("condition", "converted"),
    [
        ("time = '2026-11-20T12:00:00+02:00'", "time = '2026-11-20 10:00:00'      "),
        ("message = '2026-11-20T12:00:00+02:00'", "message = '2026-11-20T12:00:00+02:00'"),
        ("time = '2026-11-20T12:00:00Z' -- '2026-11-20T12:00:00+02:00'", "time = '2026-11-20T12:00:00Z' -- '2026-11-20T12:00:00+02:00'"),
    ],
)
def test_literals_become_utc_where_they_become_times(condition: str, converted: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create table logs (time timestamp_ns, message varchar)")
        connection.execute("insert into logs values ('2026-11-20', '2026-11-20T12:00:00+02:00'), ('2026-11-21', 'x')")
        assert in_utc(connection, f"select 1 from logs where {condition}") == f"select 1 from logs where {converted}"


async def test_a_zone_counts_through_a_cte_and_a_name_of_its_own(sql: SqlRunner) -> None:
    statement = "with a as (select time t, message from logs) select message from a where t > '2026-11-20T12:30:00+02:00' order by t"
    assert await rows(sql, statement) == [("b",), (ALL[2],)]


async def test_what_is_asked_at_a_time_zone_keeps_its_meaning(sql: SqlRunner) -> None:
    plain = await rows(sql, "select (now() at time zone 'Asia/Tokyo')::date")
    beside = await rows(sql, "select (now() at time zone 'Asia/Tokyo')::date from logs where time < now() limit 1")
    assert plain == beside


async def test_a_zone_that_nobody_knows_is_refused_where_it_stands(sql: SqlRunner) -> None:
    error = await refusal(sql, "select 1 from logs where time > '2026-11-20T12:00:00 Nowhere/Land'")
    assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
    assert "names a zone that is not known" in str(error)
    assert error.metadata == {"line": "1", "position": "33"}


async def test_errors_keep_their_places_behind_a_time_that_was_converted(sql: SqlRunner) -> None:
    error = await refusal(sql, "select 1 from logs where time > '2026-11-20T12:00:00+02:00' and nothing = 1")
    assert error.metadata == {"line": "1", "position": "65"}
    error = await refusal(sql, "select nothing from logs where time > now()")
    assert 'column "nothing" not found' in str(error)


async def test_too_many_zones_are_refused(sql: SqlRunner) -> None:
    times = ", ".join("'2026-11-20T12:00:00+02:00'" for _ in range(65))
    assert "more than 64 times with an offset" in str(await refusal(sql, f"select 1 from logs where time in ({times})"))
