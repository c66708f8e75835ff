"""Answers end where they would be too large, and their tokens lead through everything that is there, each once."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.query.conftest import MakeFrame, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, LogRecord
from treering_query import limits
from treering_query.answers import aggregates
from treering_query.patterns import compare, pattern_detail, pattern_list
from treering_query.store.store import Store
from treering_runtime import fitting as answer_size
from treering_runtime.errors import ServiceError
from treering_runtime.fitting import fitting

LOG = 7
SMALL = 3_000
"""Bytes of an answer here: a few patterns."""
ROOM = 1_500
"""Bytes that one row and what stands beside the rows may take, at most."""


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame) -> AsyncIterator[Store]:
    """40 patterns of services whose names are as long as names may be; those of `late` are new in the second half of the time."""
    async with open_store() as store:
        records = [
            LogRecord(
                time_unix_nano=1_700_000_000_000_000_000 + number,
                service=f"{number % 40:03}" + "é" * 200,
                environment="late" if number % 40 > 30 else "e",
                message=f"kind {'abcdefghij'[number % 10]} {'xyzw'[number % 40 // 10]} was seen",
                attributes={"long": f"{number % 40:03}" + "v" * 300},
            )
            for number in range(400)
        ]
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, records)], len(records))
        await store.templates.settled()
        yield store


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_size, "MAX_ANSWER_BYTES", SMALL)


async def ask(
    store: Store, plan: pattern_list.ListPatternsPlan | compare.ComparePlan | aggregates.AggregatePlan | pattern_detail.GetPatternPlan
) -> Any:
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def test_rows_end_where_the_next_one_would_not_fit() -> None:
    rows = [pb.Pattern(text="x" * 90) for _ in range(5)]
    each = rows[0].ByteSize() + 8
    assert [len(fitting(rows, budget)) for budget in (0, each, 2 * each - 1, 2 * each, 100 * each)] == [1, 1, 1, 2, 5]
    assert list(fitting([], 0)) == []


@pytest.mark.parametrize("unit", [pb.PATTERN_UNIT_PATTERN, pb.PATTERN_UNIT_TEMPLATE])
@pytest.mark.parametrize("order", range(1, 6))
async def test_pages_of_patterns_end_early_and_hold_each_pattern_once(
    store: Store, small: None, unit: pb.PatternUnit.ValueType, order: Callable[[range], int]
) -> None:
    found, token, pages = [], "", 0
    while True:
        page = await ask(store, pattern_list.plan(pb.ListPatternsRequest(order=order, unit=unit, page_token=token)))
        assert page.ByteSize() < SMALL + ROOM
        found += [pattern.pattern_id for pattern in page.patterns]
        pages, token = pages + 1, page.next_page_token
        if not token:
            break
    assert len(found) == len(set(found)) == page.total_count
    assert pages > 3 or unit == pb.PATTERN_UNIT_TEMPLATE


@pytest.mark.parametrize("page_size", [None, 3, 10_000])
async def test_pages_of_a_comparison_end_early_and_hold_each_difference_once(store: Store, small: None, page_size: int | None) -> None:
    def asked(**fields: int | str | None) -> pb.ComparePatternsRequest:
        return pb.ComparePatternsRequest(filter=LogFilter(environments=["late"]), baseline=LogFilter(environments=["e"]), **fields)

    whole, token, pages = [], "", 0
    while True:
        page = await ask(store, compare.plan(asked(page_size=page_size, page_token=token)))
        assert page.ByteSize() < SMALL + ROOM
        whole += [(each.log_likelihood_ratio, each.pattern.pattern_id) for each in page.differences]
        pages, token = pages + 1, page.next_page_token
        if not token:
            break
    assert len(whole) == len(set(whole)) == page.difference_count == 40
    assert pages > 3
    assert [ratio for ratio, _ in whole] == sorted((ratio for ratio, _ in whole), reverse=True)


@pytest.mark.parametrize("token", ["x", "AAAA", "\u00e9", "A" * 44, "A" * 16_000])
async def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="page_token"):
        compare.plan(pb.ComparePatternsRequest(page_token=token))


async def test_a_token_of_another_comparison_is_refused(store: Store, small: None) -> None:
    first = await ask(store, compare.plan(pb.ComparePatternsRequest(filter=LogFilter(environments=["late"]))))
    assert first.next_page_token
    with pytest.raises(ServiceError, match="page_token: made for another question"):
        compare.plan(pb.ComparePatternsRequest(filter=LogFilter(environments=["e"]), page_token=first.next_page_token))


async def test_groups_end_early_and_say_so(store: Store, small: None) -> None:
    asked = pb.AggregateLogsRequest(group_by=[pb.FieldRef(attribute="long")])
    answer = await ask(store, aggregates.plan(asked))
    assert answer.ByteSize() < SMALL + ROOM
    assert answer.truncated
    assert 3 < len(answer.rows) < 40
    with pytest.raises(ServiceError, match="limit: the answer is larger than a message may be"):
        await ask(store, aggregates.plan(pb.AggregateLogsRequest(group_by=asked.group_by, bucket_nanos=10**9)))


async def test_one_pattern_in_depth_fits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DETAIL_BYTES", SMALL)
    listed = await ask(store, pattern_list.plan(pb.ListPatternsRequest(unit=pb.PATTERN_UNIT_TEMPLATE)))
    template_id = listed.patterns[0].pattern_id
    answer = await ask(store, pattern_detail.plan(pb.GetPatternRequest(template_id=template_id, samples=100, values_per_variable=1_000)))
    assert answer.records
    assert answer.ByteSize() < 4 * SMALL + 100 * 300
