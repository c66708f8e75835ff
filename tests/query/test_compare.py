"""ComparePatterns on a real store, sealed and hot."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter
from treering_query.patterns import compare
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError

LOG = 7
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def _window(first: int, end: int) -> LogFilter:
    return LogFilter(start_time_unix_nano=START + first * SECOND, end_time_unix_nano=START + end * SECOND)


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> AsyncIterator[Store]:
    """A record a second: `steady` always, `old` until 60, `new` from 60 on, and `steady` twice as often from 60 on."""
    async with open_store() as store:
        texts = [("old here" if number < 60 else "new here") if number % 4 == 0 else "steady here" for number in range(100)]
        records = [record(number, message=text, service="one") for number, text in enumerate(texts)]
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, records[:50])], 100)
        await store.seal()
        await store.deliver(LOG, [frame(50, records[50:])], 100)
        yield store


async def _compare(store: Store, **fields: LogFilter | list[Any] | float | pb.PatternUnit.ValueType) -> Any:
    plan = compare.plan(pb.ComparePatternsRequest(**fields))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def _kinds(response: Any) -> dict[Any, Any]:
    return {each.pattern.text: each.change for each in response.differences}


async def test_windows_over_segments_and_memory(store: Store) -> None:
    response = await _compare(store, filter=_window(60, 100), baseline=_window(0, 60))
    assert _kinds(response) == {"new here": pb.PATTERN_CHANGE_NEW, "old here": pb.PATTERN_CHANGE_GONE}
    assert (response.total_count, response.baseline_total_count, response.difference_count) == (40, 60, 2)
    gone = next(each for each in response.differences if each.change == pb.PATTERN_CHANGE_GONE)
    assert (gone.pattern.count, gone.baseline_count) == (0, 15)
    assert gone.baseline_last_time_unix_nano == START + 56 * SECOND
    assert gone.pattern.example == "old here"


async def test_more_and_less_by_share(store: Store) -> None:
    response = await _compare(store, filter=LogFilter(environments=["dev"]), baseline=LogFilter())
    assert _kinds(response) == {
        "steady here": pb.PATTERN_CHANGE_MORE,
        "old here": pb.PATTERN_CHANGE_GONE,
        "new here": pb.PATTERN_CHANGE_GONE,
    }


async def test_identical_filters_differ_in_nothing(store: Store) -> None:
    response = await _compare(store, filter=_window(10, 90), baseline=_window(10, 90))
    assert not response.differences
    assert response.difference_count == 0
    assert response.total_count == response.baseline_total_count == 80


async def test_overlapping_windows_count_in_both(store: Store) -> None:
    response = await _compare(store, filter=_window(50, 100), baseline=_window(0, 100))
    assert (response.total_count, response.baseline_total_count) == (50, 100)
    assert _kinds(response)["new here"] == pb.PATTERN_CHANGE_MORE


async def test_an_empty_selection_makes_everything_new_or_gone_and_says_so_in_its_total(store: Store) -> None:
    nothing, everything = LogFilter(services=["nowhere"]), LogFilter()
    gone = await _compare(store, filter=nothing, baseline=everything)
    assert (gone.total_count, gone.gone_count, gone.difference_count) == (0, 3, 3)
    new = await _compare(store, filter=everything, baseline=nothing)
    assert (new.baseline_total_count, new.new_count) == (0, 3)
    assert [each.pattern.count for each in new.differences] == [75, 15, 10]
    assert all(each.log_likelihood_ratio == 0 for each in new.differences)


async def test_changes_and_limit_choose_and_the_counts_stay_whole(store: Store) -> None:
    fields = {"filter": _window(60, 100), "baseline": _window(0, 60)}
    only_new = await _compare(store, **fields, changes=[pb.PATTERN_CHANGE_NEW])
    assert _kinds(only_new) == {"new here": pb.PATTERN_CHANGE_NEW}
    assert (only_new.difference_count, only_new.new_count, only_new.gone_count) == (1, 1, 1)
    first = await _compare(store, **fields, page_size=1)
    assert len(first.differences) == 1
    assert first.difference_count == 2


async def test_what_chance_may_have_done_is_left_out_but_never_what_is_new(store: Store) -> None:
    fields = {"filter": _window(62, 72), "baseline": _window(0, 62)}
    everything = await _compare(store, **fields)
    assert everything.more_count + everything.less_count > 0
    telling = await _compare(store, **fields, min_log_likelihood_ratio=1e6)
    assert (telling.more_count, telling.less_count) == (0, 0)
    assert telling.gone_count == everything.gone_count > 0


async def test_an_empty_store_differs_in_nothing(open_store: OpenStore) -> None:
    async with open_store() as store:
        response = await _compare(store, filter=LogFilter(), baseline=_window(0, 1))
    assert not response.differences


async def test_a_comparison_that_takes_too_long_is_stopped(store: Store) -> None:
    plan = compare.plan(pb.ComparePatternsRequest(filter=_window(0, 50)))
    with store.snapshot() as snapshot, pytest.raises(ServiceError) as error:
        await store.run(snapshot, plan.answer, 0.0)
    assert error.value.reason == ErrorReason.ERROR_REASON_TIMED_OUT


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"page_size": 10_001}, "page_size"),
        ({"page_size": 0}, "page_size"),
        ({"changes": [0]}, "changes[0]"),
        ({"changes": [9]}, "changes[0]"),
        ({"min_log_likelihood_ratio": -1}, "min_log_likelihood_ratio"),
        ({"min_log_likelihood_ratio": float("nan")}, "min_log_likelihood_ratio"),
        ({"filter": LogFilter(min_severity=99)}, "filter.min_severity"),
        ({"baseline": LogFilter(min_severity=99)}, "baseline.min_severity"),
        ({"baseline": LogFilter(start_time_unix_nano=2, end_time_unix_nano=1)}, "baseline.end_time_unix_nano"),
    ],
)
def test_bad_values_are_named(fields: dict[str, int] | dict[str, list[int]] | dict[str, float] | dict[str, LogFilter], named: str) -> None:
    with pytest.raises(ServiceError) as error:
        compare.plan(within_limits(pb.ComparePatternsRequest(**fields)))
    assert error.value.metadata["field"] == named
    assert error.value.message.startswith(named)


async def test_templates_are_compared_across_services(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> None:
    """What differs in one place only is one template of both services, new as a whole."""
    names = ["ann", "bob", "cyd", "dan", "eve", "fay"]
    async with open_store() as store:
        before = [record(number, message="all is quiet", service="one") for number in range(20)]
        after = [
            record(20 + place, message=f"session opened for user {name} today", service="two" if place > 1 else "one")
            for place, name in enumerate(names)
        ]
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, [*before, *after])], 26)
        await store.templates.settled()
        response = await _compare(
            store, filter=_window(20, 26), baseline=_window(0, 20), unit=pb.PATTERN_UNIT_TEMPLATE, changes=[pb.PATTERN_CHANGE_NEW]
        )
    (new,) = [each.pattern for each in response.differences]
    assert (new.text, new.count, new.pattern_count) == ("session opened for user <*> today", 6, 6)
    assert list(new.services) == ["two", "one"]
    assert (new.service, new.example, new.template_id) == ("one", "session opened for user ann today", new.pattern_id)
