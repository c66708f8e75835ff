"""Names in SQL: what a CTE's name opens is that CTE, and nothing of the catalog that has the same name."""

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.hostile import ALL
from treering_query.sql import functions, gate
from treering_query.sql.refusal import Refused

HIDING = (
    "select * from (with {n} as (select 1) select 1), {n}",
    "select * from {n}, (with {n} as (select 1) select 1)",
    "with {n} as (select * from {n}) select * from {n}",
    "with a as (select * from {n}), {n} as (select 1) from a",
    "with recursive {n} as (select 1 as x union all select 1 from {n}) select 1 from main.{n}",
    "with {n} as (select 1) select * from main.{n}",
    "with recursive {n} as (select * from {n} union all select 1) from {n}",
    "with recursive a as ((with {n} as (select 1) select 1 as x) union all select 1 from a, {n}) from a",
    "select 1 union all (with {n} as (select 1) select * from {n}) union all select 1 from {n}",
    "(with {n} as (select 1) from {n}) except (select * from {n})",
    "select (with {n} as (select 1) from {n}), (select count(*) from {n})",
    "select * from logs where severity in (with {n} as (select 1) from {n}) and exists (from {n})",
    "from logs, lateral (with {n} as (select 1) from {n}), {n}",
    "with a as (with {n} as (select 1) from {n}) select * from a, {n}",
    "with a as (with {n} as (select 1) from {n}), b as (from {n}) from a, b",
    "select * from recurring.{n}",
    "with {n} as (select 1) from (from temp.{n})",
)
SHOWING = (
    "with {n} as (select 1) from {n}",
    "with {n} as (select 1), a as (from {n}) from a, {n}",
    "with {n} as (select 1) select (select count(*) from {n}) from logs where severity in (from {n})",
    "with {n} as (select 1) select 1 from {n} union all select * from {n}",
    "with {n} as (select 1) select * from (select * from (from {n}))",
    "with recursive {n} as (select 1 as x union all select x + 1 from {n} where x < 3) from {n}",
    "with {n} as (select 1) select * from (with {n} as (select * from {n}) from {n})",
    "with {n} as materialized (select 1) from logs, lateral (from {n})",
    "with recursive {n}(a) using key (a) as (select 1 union all (select a + 1 from {n} where (from recurring.{n}) < 2)) from {n}",
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    with duckdb.connect(":memory:") as opened:
        yield opened


def passes(connection: Any, text: str) -> bool:
    try:
        gate.check(connection, text)
    except Refused:
        return False
    return True


def relations(connection: Any) -> list[str]:
    views = connection.execute("select view_name from duckdb_views() union select table_name from duckdb_tables()").fetchall()
    return [*(name for (name,) in views), "_hot", "_patterns", "PG_SETTINGS"]


@pytest.mark.parametrize("form", HIDING)
def test_a_ctes_name_opens_no_relation_of_the_catalog(connection: Any, form: str) -> None:
    names = relations(connection)
    assert len(names) > 40
    assert not [name for name in names if passes(connection, form.format(n=name))]


@pytest.mark.parametrize("form", SHOWING)
def test_a_cte_may_have_any_name(connection: Any, form: str) -> None:
    assert all(passes(connection, form.format(n=name)) for name in [*relations(connection), "logs", "Mine"])


NAMES = st.sampled_from(["na", "nb", "NB"])


EXAMPLES, DEPTH = (20_000, 3) if ALL else (400, 2)
"""Statements, and how deeply queries stand in each other; `make hostile` makes more, other ones each time."""


@st.composite
def _source(draw: DrawFn, depth: int) -> str:
    """What stands after FROM: most often a name."""
    if not depth or draw(st.integers(0, 2)):
        return draw(NAMES | st.just("(select 1 as x)"))
    inner = draw(_query(depth - 1))
    forms = (
        f"({inner})",
        f"(describe {inner})",
        f"(summarize {inner})",
        f"(pivot ({inner}) on x in (1) using count(*))",
        f"(unpivot ({inner}) on x)",
        f"(values ((select count(*) from ({inner}))))",
    )
    return draw(st.sampled_from(forms))


@st.composite
def _select(draw: DrawFn, depth: int) -> str:
    sources = [draw(_source(depth)) for _ in range(draw(st.integers(1, 2)))]
    text = f"select 1 as x from {', '.join(f'{source} as s{number}' for number, source in enumerate(sources))}"
    if not depth or draw(st.booleans()):
        return text
    inner = draw(_query(depth - 1))
    one = f"(select count(*) from ({inner}))"
    forms = (
        f"{text}, lateral ({inner}) as s",
        f"{text} join ({inner}) as s on true",
        f"{text} where exists ({inner})",
        f"{text} order by {one}",
        f"{text} limit {one}",
        f"{text} qualify {one} > row_number() over ()",
    )
    return draw(st.sampled_from(forms))


@st.composite
def _cte(draw: DrawFn, depth: int, name: str) -> str:
    inner = draw(_query(depth - 1))
    kind = draw(st.sampled_from(["", " materialized", " not materialized"]))
    repeated = f"union all select 1 from {draw(_source(depth - 1))} as s0, {draw(NAMES)} as s1 where false"
    return draw(
        st.sampled_from([f"{name} as{kind} ({inner})", f"{name}(x) as (select 1 {repeated})", f"{name}(x) as (({inner}) {repeated})"])
    )


@st.composite
def _query(draw: int, depth: int) -> str:
    """A SELECT that reads from nothing but CTEs, of which some may be out of sight."""
    names = draw(st.lists(NAMES, max_size=2, unique_by=str.lower)) if depth else []
    ctes = [draw(_cte(depth, name)) for name in names]
    first = f"with {draw(st.sampled_from(['', 'recursive ']))}{', '.join(ctes)} " if ctes else ""
    joined = draw(st.sampled_from(["union", "union all", "except", "intersect", "union all by name"]))
    body = draw(_select(depth))
    return f"{first}({body}) {joined} ({draw(_query(depth - 1))})" if depth and draw(st.booleans()) else f"{first}{body}"


@pytest.mark.time_limit(3_600 if ALL else 120)
@settings(max_examples=EXAMPLES)
@given(text=st.integers(1, DEPTH).flatmap(_query))
def test_what_the_gate_lets_pass_the_database_finds_among_the_ctes(connection: Any, text: Any) -> None:
    """None of the names is in the catalog: the database would say so of one that no CTE has there."""
    if passes(connection, text):
        with contextlib.suppress(duckdb.BinderException, duckdb.ParserException, duckdb.NotImplementedException):  # what it cannot do
            connection.execute(f"explain {text}")


def test_every_function_of_the_database_is_classified(connection: Any) -> None:
    """A new version of the database brings new functions: each is to be looked at, and to be written into one of the two lists."""
    kinds = "('scalar', 'aggregate', 'macro', 'window')"
    rows = connection.execute(f"select distinct lower(function_name) from duckdb_functions() where function_type in {kinds}").fetchall()
    unknown = sorted(name for (name,) in rows if not functions.is_allowed(name) and not functions.is_refused(name))
    assert unknown == []
    assert not functions.ALLOWED & functions.REFUSED
    written = functions.ALLOWED | functions.REFUSED
    assert sorted(written - {name for (name,) in rows}) == []


def test_a_function_that_nobody_classified_is_refused(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "ALLOWED", functions.ALLOWED - {"md5"})
    with pytest.raises(Refused, match="the function md5 is not allowed"):
        gate.check(connection, "select MD5(message) from logs")
    gate.check(connection, "select no_such_function(message) from logs")  # the database says what it has instead


@pytest.mark.parametrize("caller", sorted(functions.BY_NAME))
def test_an_aggregate_that_is_named_in_a_text_is_looked_at_as_one_that_is_called(connection: Any, caller: str) -> None:
    for text in (
        f"select {caller}([1, 2], 'sum_no_overflow')",
        f"select {caller}([1, 2], 'SUM_NO_OVERFLOW')",
        f"select [1, 2].{caller}('sum_no_overflow')",
        f"select l.{caller}('sum_no_overflow') from (select [1, 2] as l)",
        f"select {caller}([1, 2], 'sum_no' || '_overflow')",
        f"select {caller}([1, 2], l) from (select 'sum_no_overflow' as l)",
    ):
        with pytest.raises(Refused) as caught:
            gate.check(connection, text)
        assert caught.value.reason == "SQL_NOT_ALLOWED", text
    for text in (
        f"select {caller}([1, 2], 'sum')",
        f"select [1, 2].{caller}('Max')",
        f"select l.{caller}('quantile', 0.5) from (select [1] as l)",
    ):
        gate.check(connection, text)
        assert connection.execute(text).fetchall()
    gate.check(connection, f"select {caller}([1], 'nope'), {caller}([1])")  # the database's own words say it best
