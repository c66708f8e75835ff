"""ListPatterns on a real store, compared with counting by hand."""

from collections import Counter

import pytest

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter
from treering_query import pattern_list
from treering_runtime.errors import ServiceError

LOG = 7


@pytest.fixture
async def store(open_store, frame, record):
    async with open_store() as store:
        words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
        records = [record(number, message=f"{words[number % 6]} is here", service="one") for number in range(100)]
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, records[:70])], 100)
        await store.seal()
        await store.deliver(LOG, [frame(70, records[70:])], 100)
        yield store


async def _list(store, **fields):
    plan = pattern_list.plan(pb.ListPatternsRequest(**fields))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def _counts(response):
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
async def test_counts_are_exact_from_statistics_and_from_records(store, selection, wanted):
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
    ],
)
async def test_pages_join_to_the_whole_in_order(store, order, key):
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


async def test_a_token_of_another_question_is_refused(store):
    token = (await _list(store, page_size=1)).next_page_token
    for fields in ({"page_token": token, "order": pb.PATTERN_ORDER_RARITY}, {"page_token": "nonsense"}, {"page_token": "é"}):
        with pytest.raises(ServiceError) as error:
            await _list(store, **fields)
        assert error.value.metadata["field"] == "page_token"


@pytest.mark.parametrize(("field", "value"), [("page_size", 10_001), ("order", 9)])
def test_bad_values_are_named(field, value):
    with pytest.raises(ServiceError) as error:
        pattern_list.plan(pb.ListPatternsRequest(**{field: value}))
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.value.metadata["field"] == field


async def test_an_empty_store_lists_nothing(open_store):
    async with open_store() as store:
        response = await _list(store)
    assert not response.patterns
    assert response.total_count == 0
