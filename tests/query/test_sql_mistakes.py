"""A hundred typical mistakes: each is answered in the database's words about the user's own text, with its place, and nothing of ours."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.query.conftest import Fill, OpenSql, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering_query.sql.runner import SqlQuery, SqlRunner
from treering_runtime.errors import ServiceError

MISTAKES = r"""
selct 1
selct * from logs
select * frm logs
select * from log
select * from Logz
select * from "logs "
select * from pattern
select mesage from logs
select massage, severity from logs
select level from logs
select timestamp from logs
select "service name" from logs
select l.foo from logs l
select p.message from patterns p
select logs.message from logs l
select x.message from logs
select offset from logs
select * from logs where level = 'ERROR'
select * from logs where severty > 9
select * from logs where service == nope
select * from logs where severity = 'ERROR'
select * from logs where time > 'yesterday'
select * from logs where time > now() - '1 hour ago'
select * from logs where service like 5
select * from logs where attributes.ms > 5
select * from logs where count(*) > 5
select * from logs where max(severity) > 5
select * from logs where row_number() over () = 1
select service, count(*) from logs
select service, message, count(*) from logs group by service
select service, max(time), message from logs group by service
select * from logs group by
select * from logs group by nope
select * from logs order by nope
select * from logs order by 99
select * from logs group by 99
select * from logs limit ten
select * from logs limit -1
select * from logs limit 'a'
select cuont(*) from logs
select lenght(message) from logs
select uppercase(message) from logs
select date_format(time, '%H') from logs
select to_char(time, 'HH24') from logs
select ifnul(service, 'x') from logs
select concat_wss(',', service) from logs
select percentile(severity, 0.5) from logs
select count(distinct) from logs
select sum(message) from logs
select avg(service) from logs
select sum(*) from logs
select substr(message) from logs
select date_trunc(time, 'hour') from logs
select date_trunc('fortnight', time) from logs
select time_bucket('1 parsec', time) from logs
select regexp_matches(message, '(') from logs
select regexp_extract(message, '[') from logs
select strftime(message, '%H') from logs
select message::int from logs
select cast(message as integer) from logs
select cast(message as intger) from logs
select message::timestampp from logs
select attributes['ms'] + 1 from logs
select message + 1 from logs
select severity || from logs
select -message from logs
select 'a' + 'b'
select 1 +
select (1
select 1)
select 'unterminated
select "unterminated
select 1 /* open
select case when true then 1
select case severity when 'a' then 1 end from logs
select if(severity > 9, 'a') from logs
select coalesce() from logs
select distinct from logs
select * from logs l join patterns p
select * from logs l join patterns p on l.pattern_id = p.id
select * from logs join patterns using (id)
select pattern_id from logs, patterns
select * from logs natural join
select * from (select * from logs
select * from (select 1), (select 2) where a = 1
select (select service, message from logs)
select * from logs where service in (select service, message from logs)
select 1 union select 1, 2
select 1 union
with a as (select 1)
with a as (select 1) select * from b
with a as (select * from a) select * from a
select service from logs having count(*) > 1
select row_number() from logs
select lag(time) from logs
select rank() over (order nope) from logs
select count(*) over (partition nope by service) from logs
select unnest(message) from logs
select list_sum(message) from logs
select [1, 'a']::int[]
select {'a': 1}.b
select struct_extract({'a': 1}, 'b')
select * exclude (nope) from logs
select * replace (1 as nope) from logs
select columns('nope') from logs
select date '2026-13-45'
select timestamp '2026-01-01 25:00'
select interval '1 parsec'
select time at time zone 'Mars/Olympus' from logs
select 1 where 'maybe'
select top 5 * from logs
select * from logs limit 5, 10
select * from logs where message = "timeout"
select * from logs where message contains 'timeout'
select * from logs where service = 'a' and
select * from logs where and service = 'a'
select * from logs where not
select * from logs where service = 'a' service = 'b'
select about('disk') from logs
select means(pattern_id, 'disk') from logs
"""


async def answer(runner: SqlRunner, text: str) -> ServiceError | None:
    query = SqlQuery.of(pb.ExecuteSqlRequest(query=text, timeout_ms=10_000, max_rows=1_000_000))
    data = io.BytesIO()
    try:
        async for response in runner.run(query, 20.0):
            data.write(response.arrow_ipc)
    except ServiceError as error:
        return error
    return None


@pytest.fixture
async def sql(open_store: OpenStore, open_sql: OpenSql, fill: Fill, tmp_path: Path) -> AsyncIterator[SqlRunner]:
    async with open_store() as store:
        await fill(store, 0, 50)
        await store.seal()
        await fill(store, 50, 100)
        async with open_sql(store, tmp_path / "store") as runner:
            yield runner


async def test_each_is_answered_in_words_about_the_users_own_text(sql: SqlRunner, tmp_path: Path) -> None:
    errors = {text: await answer(sql, text) for text in MISTAKES.strip().splitlines()}
    assert len(errors) >= 100
    for text, error in errors.items():
        assert error, text
        assert error.reason in {ErrorReason.ERROR_REASON_SQL_ERROR, ErrorReason.ERROR_REASON_SQL_NOT_ALLOWED}, text
        assert not [own for own in (str(tmp_path), ".parquet", "_hot", "_patterns", "template_text") if own in error.message], error.message
    placed = [error for error in errors.values() if error.metadata.keys() == {"line", "position"}]
    assert len(placed) >= len(errors) * 0.85
    assert all(int(error.metadata["position"]) <= len(text) for text, error in errors.items() if error in placed)


async def test_mistake_in_a_late_row_is_told_as_one_in_the_first(sql: SqlRunner) -> None:
    error = await answer(sql, "select case when x < 100000 then '1' else 'x' end::int from range(200000) t(x)")
    assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
    assert "Could not convert string 'x' to INT32" in error.message
