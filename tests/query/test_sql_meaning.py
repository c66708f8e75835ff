"""`meaning()` and `about()` in users' SQL, against a plain model of the same scores."""

import io
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.query.conftest import MakeFrame, MakeRecord, OpenSql, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query.meaning.embed_client import EmbedUnavailable, PatternScores
from treering_query.sql.runner import SqlQuery, SqlRunner
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

KINDS = ("disk is full", "payment timed out", "user logged in", "cache was rebuilt", "never scored")
SCORES = {
    "disk": (0.9, 0.4, 0.5, 0.1),
    "pay": (0.1, 0.95, 0.2, 0.3),
    'it\'s "odd"\\': (0.7, 0.1, 0.1, 0.1),
    "nothing": (0.0, 0.1, 0.1, 0.1),
}
RECORDS = 60


class Canned:
    """Scores by the words above, for all patterns but the last; remembers what it was asked."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.asked: list[tuple[list[str], list[Position]]] = []
        self.problem: EmbedUnavailable | None = None
        self.mask_version = MASK_VERSION

    async def score(self, texts: list[str], min_positions: Any, timeout_s: float) -> PatternScores:
        self.asked.append((list(texts), list(min_positions)))
        if self.problem:
            raise self.problem
        columns = [np.array(SCORES.get(text, (0.1, 0.2, 0.3, 0.4))[::-1], np.float32) for text in texts]
        return PatternScores.ascending(np.array(self.ids[::-1], np.uint64), columns, self.mask_version)


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
async def sql(
    open_store: OpenStore, open_sql: OpenSql, frame: MakeFrame, record: MakeRecord, canned: Canned, tmp_path: Path
) -> AsyncIterator[SqlRunner]:
    """Half of the records sealed; each pattern has a service of its own."""
    async with open_store() as store:
        await store.open_log(7, 0)
        for first in range(0, RECORDS, 20):
            numbers = range(first, first + 20)
            some = [record(number, service=f"svc{number % 5}", message=f"{KINDS[number % 5]} {number}") for number in numbers]
            await store.deliver(7, [frame(first, some)], first + 20)
            if not first:
                await store.seal()
        with store.snapshot() as snapshot:
            table = snapshot.query("select pattern_id from patterns order by service")
        canned.ids = table.column(0).to_pylist()[:4]
        async with open_sql(store, tmp_path / "store", canned) as runner:
            yield runner


async def ask(runner: SqlRunner, text: str, **fields: list[Any]) -> tuple[Any, Any | None]:
    query = SqlQuery.of(pb.ExecuteSqlRequest(query=text, timeout_ms=10_000, **fields))
    data, summary = io.BytesIO(), None
    async for response in runner.run(query, 20.0):
        data.write(response.arrow_ipc)
        if response.HasField("summary"):
            summary = response.summary
    return pa.ipc.open_stream(data.getvalue()).read_all(), summary


async def rows(runner: SqlRunner, text: str) -> list[tuple[Any, ...]]:
    table, _ = await ask(runner, text)
    return [tuple(round(value, 4) if isinstance(value, float) else value for value in row.values()) for row in table.to_pylist()]


async def refusal(runner: SqlRunner, text: str) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await ask(runner, text)
    return caught.value


EACH = RECORDS // 5
"""Records of each pattern."""

ANSWERS = [
    ("select count(*) from logs where about(pattern_id, 'disk')", [(2 * EACH,)]),
    ("select count(*) from logs where not about(pattern_id, 'disk')", [(3 * EACH,)]),
    ("select count(*) from logs where about(pattern_id, 'disk') or about(pattern_id, 'pay')", [(3 * EACH,)]),
    ("select count(*) from logs where about(pattern_id, 'disk') and about(pattern_id, 'pay')", [(0,)]),
    ("select distinct service, meaning(pattern_id, 'disk') m from logs order by m desc, service limit 2", [("svc0", 0.9), ("svc2", 0.5)]),
    ("select about(pattern_id, 'disk') a, count(*) from logs group by a order by a", [(False, 3 * EACH), (True, 2 * EACH)]),
    ("select about(pattern_id, 'disk'), count(*) from logs group by all order by all", [(False, 3 * EACH), (True, 2 * EACH)]),
    ("select about(pattern_id, 'pay'), sum(1) from logs group by about(pattern_id, 'pay') order by 1", [(False, 4 * EACH), (True, EACH)]),
    ("select service from logs group by service having max(meaning(pattern_id, 'disk')) > 0.45 order by 1", [("svc0",), ("svc2",)]),
    ("select service from patterns order by meaning(pattern_id, 'pay') desc limit 1", [("svc1",)]),
    ("select service from patterns where about(pattern_id, 'disk') order by 1", [("svc0",), ("svc2",)]),
    (
        (
            "select case when about(pattern_id, 'disk') then 'd' when about(pattern_id, 'pay') then 'p' end k, count(*) "
            "from logs group by k order by k"
        ),
        [("d", 2 * EACH), ("p", EACH), (None, 2 * EACH)],
    ),
    (
        "select count(*) filter (where about(pattern_id, 'disk')), count(*) filter (not about(pattern_id, 'pay')) from logs",
        [(2 * EACH, 4 * EACH)],
    ),
    (
        (
            "select service from patterns qualify "
            "row_number() over (partition by about(pattern_id, 'disk') order by meaning(pattern_id, 'pay') desc) = 1 order by 1"
        ),
        [("svc1",), ("svc2",)],
    ),
    ("with a as (select * from logs where about(pattern_id, 'disk')) select max(meaning(pattern_id, 'pay')) from a", [(0.2,)]),
    ("with a as materialized (select meaning(pattern_id, 'disk') m from logs) select max(m) from a", [(0.9,)]),
    ("select count(*) from logs l join patterns p on l.pattern_id = p.pattern_id and about(p.pattern_id, 'disk')", [(2 * EACH,)]),
    ("select count(*) from logs l left join patterns p on l.pattern_id = p.pattern_id and about(p.pattern_id, 'pay')", [(RECORDS,)]),
    ("select count(*) from logs where pattern_id in (select pattern_id from patterns where about(pattern_id, 'pay'))", [(EACH,)]),
    ("select count(*) from patterns p where exists (from logs l where l.pattern_id = p.pattern_id and about(l.pattern_id, 'pay'))", [(1,)]),
    ("select max(x.m) from logs l, lateral (select meaning(l.pattern_id, 'pay') m) x", [(0.95,)]),
    ("with recursive r(i) as (select 0 union all select i + 1 from r where i < 3 and not about(i, 'pay')) select count(*) from r", [(4,)]),
    ("select arg_max(service, meaning(pattern_id, 'pay')) from logs", [("svc1",)]),
    ("select count(*) from logs group by rollup(about(pattern_id, 'pay')) order by 1", [(EACH,), (4 * EACH,), (RECORDS,)]),
    (
        (
            "select count(*) from (pivot (select about(pattern_id, 'disk') a, service from logs) "
            "on a in (true, false) using count(*) group by service)"
        ),
        [(5,)],
    ),
    ("select typeof(meaning(0, 'disk')), typeof(about(0, 'disk'))", [("FLOAT", "BOOLEAN")]),
    ("select count(*) from logs where about(pattern_id, 'it''s \"odd\"\\')", [(EACH,)]),
    ("select count(*) from logs where about(pattern_id, E'it\\'s \"odd\"\\\\')", [(EACH,)]),
    ('select count(*) from logs where about(pattern_id, $$it\'s "odd"\\$$)', [(EACH,)]),
    ("select count(*) from logs where about(pattern_id, 'nothing')", [(0,)]),
]


@pytest.mark.parametrize(("text", "expected"), ANSWERS, ids=range(len(ANSWERS)))
async def test_meaning_is_usable_anywhere_in_a_select(sql: SqlRunner, text: str, expected: object) -> None:
    assert await rows(sql, text) == expected


async def test_patterns_without_a_score_and_no_pattern_at_all_score_zero(sql: SqlRunner) -> None:
    found = await rows(sql, "select distinct service, meaning(pattern_id, 'disk') from logs where service = 'svc4'")
    assert found == [("svc4", 0.0)]
    assert await rows(sql, "select meaning(null, 'disk'), about(null, 'disk'), meaning(12345, 'disk')") == [(0.0, False, 0.0)]


async def test_answer_says_how_many_patterns_have_no_score(sql: SqlRunner, canned: Canned) -> None:
    _, summary = await ask(sql, "select count(*) from logs where about(pattern_id, 'disk')")
    assert summary.degraded_because == "1 of 5 patterns have no vector yet: they score 0 for every text"
    _, summary = await ask(sql, "select count(*) from logs")
    assert summary.degraded_because == ""
    with sql._store.snapshot() as snapshot:
        canned.ids = snapshot.query("select pattern_id from patterns order by service").column(0).to_pylist()
    canned.score = _all(canned, (0.1, 0.2, 0.3, 0.4, 0.6))
    table, summary = await ask(sql, "select count(*) from logs where about(pattern_id, 'disk')")
    assert (summary.degraded_because, table.to_pylist()) == ("", [{"count_star()": EACH}])


def _all(
    canned: Canned, scores: tuple[float, float, float, float, float]
) -> Callable[[list[str], Any, float], Coroutine[Any, Any, PatternScores]]:
    async def score(texts: list[str], min_positions: Any, timeout_s: float) -> PatternScores:
        return PatternScores.ascending(np.array(canned.ids, np.uint64), [np.array(scores, np.float32) for _ in texts], MASK_VERSION)

    return score


ODD_SPELLINGS = [
    "select count(*) from logs where \"ABOUT\"(pattern_id, 'pay')",
    "select count(*) from logs where aBoUt(pattern_id, 'pay')",
    "select count(*) from logs where main.about(pattern_id, 'pay')",
    "select count(*) from logs where memory.main.\"About\"(pattern_id, 'pay')",
    "select count(*) from logs where pattern_id.about('pay')",
    "select count(*) from logs where logs.pattern_id.about('pay')",
    "select count(*) from logs where (pattern_id).about('pay')",
    "select count(*) from logs where about(pattern_id, ('pay'))",
    "select count(*) from logs where about(/* 'disk' */ pattern_id, -- 'disk'\n 'pay')",
    "select count(*) from logs where about(columns('pattern_id'), 'pay')",
    "select count(*) from logs where about(pattern_id::varchar, 'pay')",
    "with _scores as (select 1) select count(*) from logs, _scores where about(pattern_id, 'pay')",
    "with about as (from logs) select count(*) from about where about(pattern_id, 'pay')",
    "with meaning as (select *, 1 as pattern, 2 as text, 3 as score from logs) select count(*) from meaning where about(pattern_id, 'pay')",
    "select count(*) from (select pattern_id as text, 'x' as pattern_id from logs) where about(text, 'pay')",
    "select count(*) from (select pattern_id as score from logs) s where about(s.score, 'pay')",
]


@pytest.mark.parametrize("text", ODD_SPELLINGS)
async def test_odd_spellings_and_names_of_the_users_own_mean_the_same(sql: SqlRunner, canned: Canned, text: str) -> None:
    assert await rows(sql, text) == [(EACH,)]
    assert canned.asked == [(["pay"], [])]


async def test_columns_may_be_called_as_the_functions(sql: SqlRunner, canned: Canned) -> None:
    assert await rows(sql, "select meaning, about from (select 1 as meaning, 'x' as about)") == [(1, "x")]
    assert canned.asked == []


WRONG = [
    ("select meaning(pattern_id) from logs", "takes a pattern's id and a text", 8),
    ("select meaning() from logs", "takes a pattern's id and a text", 8),
    ("select meaning(pattern_id, 'a', 'b') from logs", "takes a pattern's id and a text", 8),
    ("select meaning(pattern_id := 1, text := 'a')", "takes a pattern's id and a text", 8),
    ("select pattern_id.meaning() from logs", "takes a pattern's id and a text", 8),
    ("select pattern_id.meaning(pattern_id, 'x') from logs", "takes a pattern's id and a text", 8),
    ("select about(pattern_id, message) from logs", "second argument of about must be a text in quotes; single quotes", 26),
    ('select about(pattern_id, "disk") from logs', "must be a text in quotes; single quotes", 26),
    ("select about('disk', pattern_id) from logs", "second argument of about must be a text in quotes", 22),
    ("select about(pattern_id, 'a' || 'b') from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, 7) from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, null) from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, (select 'a')) from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, 'a'::varchar) from logs", "must be a text in quotes", 29),
    ("select about(pattern_id, ['a']) from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, *) from logs", "must be a text in quotes", 26),
    ("select about(pattern_id, '') from logs", "the text of about is empty", 26),
    ("select about(pattern_id, E' \\n\\t') from logs", "the text of about is empty", 26),
    (f"select about(pattern_id, '{'x' * 1001}') from logs", "has 1001 characters, over 1000", 26),
    ("select meaning(distinct pattern_id, 'a') from logs", "meaning is no aggregate", 8),
    ("select meaning(pattern_id, 'a') over () from logs", "meaning is no aggregate", 8),
    ("select meaning(pattern_id, 'a') filter (where true) from logs", "meaning is no aggregate", 8),
    ("select meaning(pattern_id, 'a' order by time) from logs", "meaning is no aggregate", 8),
]


@pytest.mark.parametrize(("text", "words", "position"), WRONG, ids=range(len(WRONG)))
async def test_wrong_use_is_the_users_error_with_its_place_and_asks_nobody(
    sql: SqlRunner, canned: Canned, text: str, words: str, position: int
) -> None:
    error = await refusal(sql, text)
    assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
    assert error.message.startswith("Binder Error: ")
    assert words in error.message
    assert error.metadata == {"line": "1", "position": str(position)}
    assert canned.asked == []


async def test_place_of_wrong_use_counts_characters_not_bytes(sql: SqlRunner) -> None:
    error = await refusal(sql, "select 'żółć',\n  'ż' || about(pattern_id, message)\nfrom logs")
    assert error.metadata == {"line": "2", "position": "28"}


async def test_first_argument_is_judged_by_the_database(sql: SqlRunner) -> None:
    for text, words in [
        ("select meaning(nope, 'a') from logs", 'Referenced column "nope" not found'),
        ("select meaning(message, 'a') from logs", "Could not convert string"),
        ("select meaning(-1, 'a')", "out of range"),
        ("select meaning(*, 'a') from logs", "star expression"),
        ("select system.main.meaning(1, 'a')", "takes a pattern's id"),
    ]:
        error = await refusal(sql, text)
        assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
        assert words in error.message
        assert "score" not in error.message
        assert "pattern_id" in error.message or "nope" not in text


async def test_errors_beside_meaning_keep_their_place(sql: SqlRunner) -> None:
    error = await refusal(sql, "select about(pattern_id, 'a'),\n foo from logs")
    assert (error.reason, error.metadata) == (ErrorReason.ERROR_REASON_SQL_ERROR, {"line": "2", "position": "2"})


async def test_where_no_subquery_may_stand_the_way_out_is_told(sql: SqlRunner) -> None:
    for text in (
        "select list_transform([1], lambda x: x + meaning(pattern_id, 'a')) from logs",
        "select [about(pattern_id, 'a') for x in [1]] from logs",
        "select try(meaning(pattern_id, 'a')) from logs",
        "select * from range(meaning(1, 'a')::int)",
    ):
        error = await refusal(sql, text)
        assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
        assert error.message.endswith("compute them in a CTE first"), text


async def test_as_a_table_function_it_is_refused(sql: SqlRunner) -> None:
    for text in ("from meaning(1, 'a')", "select * from logs, about(1, 'a')"):
        error = await refusal(sql, text)
        assert error.reason == ErrorReason.ERROR_REASON_SQL_NOT_ALLOWED


async def test_tables_behind_it_cannot_be_read(sql: SqlRunner) -> None:
    for name in ("_scores", "_wide", "temp.main._scores", "main._wide"):
        error = await refusal(sql, f"select about(1, 'a') from {name}")
        assert error.reason in {ErrorReason.ERROR_REASON_SQL_NOT_ALLOWED, ErrorReason.ERROR_REASON_SQL_ERROR}
    assert await rows(sql, "select count(*) from logs where about(pattern_id, 'pay')") == [(EACH,)]


async def test_each_text_is_scored_once_and_all_together(sql: SqlRunner, canned: Canned) -> None:
    texts = ", ".join(f"max(meaning(pattern_id, 'text {number}'))" for number in range(16))
    table, _ = await ask(sql, f"select {texts}, bool_or(about(pattern_id, 'text 3')) from logs")
    assert table.num_columns == 17
    assert len(canned.asked) == 1
    assert sorted(canned.asked[0][0]) == sorted(f"text {number}" for number in range(16))


async def test_more_texts_than_are_scored_together_are_refused(sql: SqlRunner, canned: Canned) -> None:
    texts = ", ".join(f"meaning(pattern_id, 'text {number}')" for number in range(17))
    error = await refusal(sql, f"select {texts} from logs")
    assert error.reason == ErrorReason.ERROR_REASON_SQL_ERROR
    assert "more than 16 texts" in error.message
    assert canned.asked == []


async def test_index_is_waited_for_as_the_store_is(sql: SqlRunner, canned: Canned) -> None:
    await ask(sql, "select about(pattern_id, 'disk') from logs", min_positions=[Position(log_id=7, offset=RECORDS)])
    assert canned.asked == [(["disk"], [Position(log_id=7, offset=RECORDS)])]


async def test_embed_that_is_away_is_named_and_sql_without_meaning_works(sql: SqlRunner, canned: Canned) -> None:
    canned.problem = EmbedUnavailable("embed does not answer")
    error = await refusal(sql, "select about(pattern_id, 'disk') from logs")
    assert (error.reason, error.metadata) == (ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, {"peer": "embed"})
    assert error.message == "embed does not answer; try again, or ask without about and meaning, which need it"
    assert await rows(sql, "select count(*) from logs") == [(RECORDS,)]


async def test_position_that_is_not_indexed_in_time_is_named(sql: SqlRunner, canned: Canned) -> None:
    canned.problem = EmbedUnavailable("embed has not indexed the wanted position in time", "60")
    error = await refusal(sql, "select about(pattern_id, 'disk') from logs")
    assert (error.reason, error.metadata) == (ErrorReason.ERROR_REASON_TIMED_OUT, {"waiting_for": "60"})


async def test_scores_of_other_masking_rules_are_not_used(sql: SqlRunner, canned: Canned) -> None:
    canned.mask_version = MASK_VERSION + 1
    error = await refusal(sql, "select about(pattern_id, 'disk') from logs")
    assert error.reason == ErrorReason.ERROR_REASON_PEER_UNAVAILABLE
    assert "run one version of both" in error.message


HOSTILE = [
    "select about(pattern_id, '' union all select 1 --') from logs",
    "select about(pattern_id, ''') or true --') from logs",
    "select about(pattern_id, E'\\'); drop view logs; --') from logs",
    "select about(pattern_id, '\u202ea\ufffe') from logs",
    "select about(pattern_id, '\U0001f4a5\u200b\ufeff') from logs",
    "select " + "meaning(" * 200 + "1" + ", 'a')" * 200,
    "select " + " + ".join(["meaning(pattern_id, 'a')"] * 60) + " from logs limit 1",
    "select * from logs where " + " or ".join(f"about(pattern_id, '{number % 16}')" for number in range(60)) + " limit 1",
    "select " + "(" * 500 + "about(pattern_id, 'a')" + ")" * 500 + " from logs limit 1",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_hostile_texts_change_nothing(sql: SqlRunner, number: Callable[[range], int]) -> None:
    try:
        await ask(sql, HOSTILE[number])
    except ServiceError as error:
        name = ErrorReason.Name(error.reason)
        assert name in {"ERROR_REASON_SQL_LIMIT", "ERROR_REASON_SQL_ERROR"}, error  # noqa: PT017 - an answer in time is right too
    assert await rows(sql, "select count(*) from logs where about(pattern_id, 'pay')") == [(EACH,)]
