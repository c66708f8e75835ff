"""ListPatterns on a real store, compared with counting by hand."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter
from treering_query.patterns import pattern_detail, pattern_list
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError

LOG = 7
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> AsyncIterator[Store]:
    async with open_store() as store:
        words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
        records = [record(number, message=f"{words[number % 6]} is here", service="one") for number in range(100)]
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, records[:70])], 100)
        await store.seal()
        await store.deliver(LOG, [frame(70, records[70:])], 100)
        yield store


async def _list(store: Store, **fields: LogFilter | str | int) -> Any:
    plan = pattern_list.plan(pb.ListPatternsRequest(**fields))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def _counts(response: Any) -> dict[Any, Any]:
    return {pattern.text.split()[0]: pattern.count for pattern in response.patterns}


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        ({}, lambda number: True),
        ({"environments": ["dev"]}, lambda number: number % 2 == 1),
        ({"min_severity": 17}, lambda number: number % 3 == 2),
        ({"services": ["two"]}, lambda number: False),
        ({"message_contains": "TA is"}, lambda number: number % 6 in {1, 3, 5}),
        ({"start_time_unix_nano": 1_700_000_050_000_000_000}, lambda number: number >= 50),
    ],
)
async def test_counts_are_exact_from_statistics_and_from_records(
    store: Store, selection: dict[str, list[str]] | dict[str, int] | dict[str, str], wanted: Callable[[Any], bool] | Callable[[Any], Any]
) -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    expected = Counter(words[number % 6] for number in range(100) if wanted(number))
    response = await _list(store, filter=LogFilter(**selection))
    assert _counts(response) == expected
    assert response.total_count == len(expected)
    assert all(sum(pattern.count_by_severity.values()) == pattern.count for pattern in response.patterns)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        (pb.PATTERN_ORDER_COUNT, lambda pattern: -pattern.count),
        (pb.PATTERN_ORDER_RARITY, lambda pattern: pattern.count),
        (pb.PATTERN_ORDER_NEWEST, lambda pattern: -pattern.first_time_unix_nano),
        (pb.PATTERN_ORDER_LAST_SEEN, lambda pattern: -pattern.last_time_unix_nano),
        (pb.PATTERN_ORDER_GROWTH, lambda pattern: -pattern.growth),
    ],
)
async def test_pages_join_to_the_whole_in_order(store: Store, order: pb.PatternOrder.ValueType, key: Callable[[Any], Any]) -> None:
    whole = (await _list(store, order=order)).patterns
    assert list(whole) == sorted(whole, key=lambda pattern: (key(pattern), pattern.pattern_id))
    pages, token = [], ""
    while True:
        page = await _list(store, order=order, page_size=2, page_token=token)
        pages += page.patterns
        assert page.total_count == 6
        if not (token := page.next_page_token):
            break
    assert pages == list(whole)


async def test_a_token_of_another_question_is_refused(store: Store) -> None:
    token = (await _list(store, page_size=1)).next_page_token
    other_unit = {"page_token": token, "unit": pb.PATTERN_UNIT_TEMPLATE}
    for fields in (other_unit, {"page_token": token, "order": pb.PATTERN_ORDER_RARITY}, {"page_token": "nonsense"}, {"page_token": "é"}):
        with pytest.raises(ServiceError) as error:
            await _list(store, **fields)
        assert error.value.metadata["field"] == "page_token"


@pytest.mark.parametrize(
    ("field", "value"), [("page_size", 10_001), ("order", 9), ("unit", 9), ("sparkline_buckets", 1), ("sparkline_buckets", 241)]
)
def test_bad_values_are_named(field: str, value: int) -> None:
    with pytest.raises(ServiceError) as error:
        pattern_list.plan(within_limits(pb.ListPatternsRequest(**{field: value})))
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.value.metadata["field"] == field


async def test_an_empty_store_lists_nothing(open_store: OpenStore) -> None:
    async with open_store() as store:
        response = await _list(store)
    assert not response.patterns
    assert response.total_count == 0


@pytest.mark.parametrize("parts", [2, 3, 10, 240])
@pytest.mark.parametrize("selection", [{}, {"start_time_unix_nano": START + 13 * SECOND, "end_time_unix_nano": START + 77 * SECOND}])
async def test_sparklines_count_each_record_in_its_part(store: Store, parts: int, selection: dict[str, int]) -> None:
    response = await _list(store, sparkline_buckets=parts, filter=LogFilter(**selection))
    start, end = response.sparkline_start_unix_nano, response.sparkline_end_unix_nano
    numbers = range(13, 77) if selection else range(100)
    width = (end - start) // parts
    assert width * parts == end - start
    for pattern in response.patterns:
        expected = Counter((START + number * SECOND - start) // width for number in numbers if pattern.text.startswith(WORDS[number % 6]))
        assert list(pattern.sparkline) == [expected[part] for part in range(parts)]
        assert sum(pattern.sparkline) == pattern.count


@pytest.mark.parametrize("far", [1, 9_223_372_036_854_775_806])
async def test_one_record_far_from_all_others_stretches_no_sparkline(store: Store, frame: MakeFrame, record: MakeRecord, far: int) -> None:
    usual = {pattern.text: pattern for pattern in (await _list(store, sparkline_buckets=10)).patterns}
    far_one = record(0, message="alpha is here", service="one", time_unix_nano=far)
    await store.deliver(LOG, [frame(100, [far_one]), frame(101, [record(0, message="far", time_unix_nano=far)])], 102)
    for order in (pb.PATTERN_ORDER_COUNT, pb.PATTERN_ORDER_GROWTH):
        found = {pattern.text: pattern for pattern in (await _list(store, sparkline_buckets=10, order=order)).patterns}
        assert (found["alpha is here"].count, found["far"].count) == (18, 1)
        assert list(found.pop("far").sparkline) == [0] * 10
        assert {text: list(pattern.sparkline) for text, pattern in found.items()} == {
            text: list(pattern.sparkline) for text, pattern in usual.items()
        }
        assert found["beta is here"].rate_per_second == usual["beta is here"].rate_per_second
        detail = pattern_detail.plan(pb.GetPatternRequest(pattern_id=found["alpha is here"].pattern_id, buckets=10))
        with store.snapshot() as snapshot:
            assert sum((await store.run(snapshot, detail.answer)).pattern.sparkline) == 17


async def test_the_ends_of_the_filter_hold_a_record_far_from_all_others(store: Store, frame: MakeFrame, record: MakeRecord) -> None:
    await store.deliver(LOG, [frame(100, [record(0, message="alpha is here", service="one", time_unix_nano=1)])], 101)
    found = await _list(store, sparkline_buckets=10, filter=LogFilter(start_time_unix_nano=1, end_time_unix_nano=2**63 - 2))
    assert [pattern.sparkline[0] for pattern in found.patterns] == [1, 0, 0, 0, 0, 0]
    assert sum(sum(pattern.sparkline) for pattern in found.patterns) == 101


async def test_rate_is_over_the_time_of_all_patterns(store: Store) -> None:
    response = await _list(store)
    assert [round(pattern.rate_per_second * 99, 6) for pattern in response.patterns] == [pattern.count for pattern in response.patterns]


@pytest.fixture
async def changing(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> AsyncIterator[Store]:
    """A pattern that grows, one that fades, one that stays; and sessions of two services that are one template."""
    kinds = {"grows a bit": [60, 70, 80, 90, 99], "fades a bit": [0, 10, 20, 60], "stays a while": [1, 98]}
    sessions = {f"session opened for user {name} today": [number] for number, name in enumerate(("ann", "bob", "cyd", "dan"), 2)}
    records = [
        record(number, message=text, service="mail" if text.endswith("dan today") else "login", severity=9)
        for text, numbers in (kinds | sessions).items()
        for number in numbers
    ]
    async with open_store() as store:
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, records[:8])], len(records))
        await store.seal()
        await store.deliver(LOG, [frame(8, records[8:])], len(records))
        await store.templates.settled()
        yield store


@pytest.mark.parametrize("unit", [pb.PATTERN_UNIT_PATTERN, pb.PATTERN_UNIT_TEMPLATE])
async def test_growth_compares_the_halves(changing: Store, unit: pb.PatternUnit.ValueType) -> None:
    found = (await _list(changing, order=pb.PATTERN_ORDER_GROWTH, unit=unit)).patterns
    growth = {pattern.text: round(pattern.growth, 6) for pattern in found}
    assert growth["grows a bit"] == 1
    assert growth["fades a bit"] == -0.5
    assert growth["stays a while"] == 0
    assert next(iter(growth)) == "grows a bit"
    with_sparkline = (await _list(changing, sparkline_buckets=2, unit=unit)).patterns
    assert {pattern.text: round(pattern.growth, 6) for pattern in with_sparkline} == growth


async def test_templates_are_listed_with_what_they_join(changing: Store) -> None:
    response = await _list(changing, unit=pb.PATTERN_UNIT_TEMPLATE, sparkline_buckets=2)
    found = {pattern.text: pattern for pattern in response.patterns}
    assert response.total_count == len(found) == 4
    sessions = found["session opened for user <*> today"]
    assert (sessions.count, sessions.pattern_count, sessions.service) == (4, 4, "login")
    assert list(sessions.services) == ["login", "mail"]
    assert sessions.example == "session opened for user ann today"
    assert list(sessions.sparkline) == [4, 0]
    assert dict(sessions.count_by_severity) == {9: 4}
    patterns = (await _list(changing)).patterns
    members = [pattern for pattern in patterns if pattern.template_id == sessions.pattern_id]
    assert len(members) == 4
    assert not any(pattern.pattern_count or pattern.services for pattern in patterns)


async def test_a_template_under_a_filter_counts_and_names_what_is_selected(changing: Store) -> None:
    response = await _list(changing, unit=pb.PATTERN_UNIT_TEMPLATE, filter=LogFilter(services=["mail"]))
    (only,) = response.patterns
    assert (only.count, only.pattern_count, only.service, list(only.services)) == (1, 1, "mail", ["mail"])


async def test_a_page_neither_repeats_nor_hides_when_patterns_come_meanwhile(store: Store, frame: MakeFrame, record: MakeRecord) -> None:
    first = await _list(store, page_size=3, order=pb.PATTERN_ORDER_NEWEST)
    await store.deliver(LOG, [frame(100, [record(200, message="another is here", service="one")])], 101)
    second = await _list(store, page_size=10, order=pb.PATTERN_ORDER_NEWEST, page_token=first.next_page_token)
    assert sorted(pattern.text for pattern in [*first.patterns, *second.patterns]) == sorted(f"{word} is here" for word in WORDS)
