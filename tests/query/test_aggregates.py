from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import AttributeFilter, LogFilter, Position
from treering_query.answers import aggregates
from treering_query.reading import filters
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError

HOUR = 3_600_000_000_000
BEGIN = 1_700_000_000_000_000_000  # the time of the first record
LAST = 2**63 - 2  # the latest time that a record can have
SERVICE = pb.FieldRef(field=pb.LOG_FIELD_SERVICE)
PATTERN = pb.FieldRef(field=pb.LOG_FIELD_PATTERN)


async def answer(store: Store, now: int = 0, **request: list[Any] | int | LogFilter) -> pb.AggregateLogsResponse:
    with store.snapshot() as snapshot:
        return await store.run(snapshot, aggregates.plan(pb.AggregateLogsRequest(**request), now=now).answer)


@pytest.fixture
async def store(open_store: OpenStore, fill: Fill) -> AsyncIterator[Store]:
    async with open_store() as opened:
        await fill(opened, 0, 300)
        await opened.seal()
        await fill(opened, 300, 400)
        yield opened


async def test_pattern_groups_carry_their_text(store: Store) -> None:
    response = await answer(store, group_by=[PATTERN])
    assert [row.groups[0].text for row in response.rows] == ["user <*> logged in"] * 5
    assert [row.values[0].value for row in response.rows] == [80] * 5


async def test_nothing_stored_is_one_group_of_zero_and_no_group_otherwise(open_store: OpenStore) -> None:
    async with open_store() as empty:
        assert [row.values[0].value for row in (await answer(empty)).rows] == [0]
        assert not (await answer(empty, group_by=[SERVICE])).rows
        assert not (await answer(empty, bucket_nanos=HOUR)).rows


async def test_statistics_and_records_agree(store: Store) -> None:
    everything = LogFilter(start_time_unix_nano=1)
    from_statistics = await answer(store, group_by=[SERVICE], order=pb.AGGREGATE_ORDER_GROUP)
    from_records = await answer(store, group_by=[SERVICE], order=pb.AGGREGATE_ORDER_GROUP, filter=everything)
    assert from_statistics == from_records


async def test_limit_chooses_groups_over_all_buckets(store: Store) -> None:
    response = await answer(store, group_by=[SERVICE], bucket_nanos=HOUR // 60, limit=2)
    assert response.truncated
    assert {row.groups[0].value for row in response.rows} == {"svc0", "svc1"}
    assert len(response.rows) == 2 * len({row.bucket_start_unix_nano for row in response.rows})


async def test_values_that_look_like_sql_are_values(store: Store) -> None:
    hostile = "x'] or true --"
    chosen = LogFilter(services=[hostile], message_contains=hostile, attributes=[AttributeFilter(key=hostile, values=[hostile])])
    response = await answer(store, filter=chosen, group_by=[pb.FieldRef(attribute=hostile)])
    assert not response.rows


async def test_filter_by_position_pattern_and_trace(store: Store) -> None:
    with store.snapshot() as snapshot:
        pattern = snapshot.query("select pattern_id from patterns where service = 'svc3'").column(0)[0].as_py()
    positions = [Position(log_id=7, offset=offset) for offset in (0, 5, 399, 400)]
    assert (await answer(store, filter=LogFilter(positions=positions))).rows[0].values[0].value == 3
    assert (await answer(store, filter=LogFilter(pattern_ids=[pattern]))).rows[0].values[0].value == 80
    assert (await answer(store, filter=LogFilter(pattern_ids=range(1, 200)))).rows[0].values[0].value == 0
    assert (await answer(store, filter=LogFilter(trace_id=bytes(16)))).rows[0].values[0].value == 0


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("group_by", {"group_by": [SERVICE] * 9}),
        ("group_by[0]", {"group_by": [pb.FieldRef()]}),
        ("group_by[0].field", {"group_by": [pb.FieldRef(field=99)]}),
        ("group_by[0].attribute", {"group_by": [pb.FieldRef(attribute="")]}),
        ("group_by[0].attribute", {"group_by": [pb.FieldRef(attribute="k" * 257)]}),
        ("metrics", {"metrics": [pb.Metric()] * 17}),
        ("metrics[0].of", {"metrics": [pb.Metric(function=pb.AGGREGATE_FUNCTION_SUM, of=SERVICE)]}),
        ("metrics[0].of", {"metrics": [pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT)]}),
        ("metrics[0].function", {"metrics": [pb.Metric(function=99)]}),
        (
            "metrics[0].quantile",
            {"metrics": [pb.Metric(function=pb.AGGREGATE_FUNCTION_QUANTILE, of=pb.FieldRef(attribute="a"), quantile=float("nan"))]},
        ),
        ("bucket_nanos", {"bucket_nanos": 999_999}),
        ("bucket_nanos", {"bucket_nanos": 25 * HOUR}),
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("time_zone", {"time_zone": "../../etc/passwd"}),
        ("limit", {"limit": 10_000_000}),
        ("order", {"order": 99}),
        ("filter.services", {"filter": LogFilter(services=["s"] * 1001)}),
        ("filter.trace_id", {"filter": LogFilter(trace_id=b"abc")}),
        ("filter.end_time_unix_nano", {"filter": LogFilter(start_time_unix_nano=5, end_time_unix_nano=5)}),
        ("filter.start_time_unix_nano", {"filter": LogFilter(start_time_unix_nano=2**63)}),
        ("filter.end_time_unix_nano", {"filter": LogFilter(end_time_unix_nano=2**63 - 1)}),
        ("filter.min_severity", {"filter": LogFilter(min_severity=99)}),
        ("filter.max_severity", {"filter": LogFilter(min_severity=9, max_severity=5)}),
        ("filter.attributes[0].key", {"filter": LogFilter(attributes=[AttributeFilter()])}),
        ("filter.services[0]", {"filter": LogFilter(services=["a\0b"])}),
    ],
)
def test_a_field_that_cannot_be_served_is_named(field: str, request_: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        aggregates.plan(within_limits(pb.AggregateLogsRequest(**request_)))
    assert caught.value.metadata["field"] == field


async def test_too_many_buckets_are_refused(store: Store) -> None:
    with pytest.raises(ServiceError, match="over 10000"):
        await answer(store, bucket_nanos=1_000_000)


@pytest.mark.parametrize("since", [0, BEGIN - BEGIN % HOUR])
async def test_a_record_of_another_century_does_not_stretch_the_histogram(
    store: Store, frame: MakeFrame, record: MakeRecord, since: int
) -> None:
    far = [record(400, time_unix_nano=LAST), record(401, time_unix_nano=1), record(402, time_unix_nano=BEGIN + 20_000 * HOUR)]
    await store.deliver(7, [frame(400, far)], 403)
    response = await answer(store, now=BEGIN, filter=LogFilter(start_time_unix_nano=since), bucket_nanos=HOUR // 60)
    assert sum(row.values[0].value for row in response.rows) == 400
    assert len(response.rows) <= 30
    outside = 2 if since else 3
    assert response.degraded_because.startswith(f"{outside} records lie far from all others in time and are in no bucket")
    one = LogFilter(start_time_unix_nano=LAST - HOUR)
    asked = await answer(store, now=BEGIN, filter=one, bucket_nanos=HOUR)
    assert (sum(row.values[0].value for row in asked.rows), asked.degraded_because) == (1, "")


@pytest.mark.parametrize("length", [HOUR // 60, 24 * HOUR, 400 * 24 * HOUR, 10**15 * 24 * HOUR // 10**12])
@pytest.mark.parametrize("filter_", [{}, {"start_time_unix_nano": LAST}, {"end_time_unix_nano": LAST}, {"end_time_unix_nano": 1}])
async def test_times_at_the_ends_are_answered_or_refused_in_words(
    store: Store, frame: MakeFrame, record: MakeRecord, length: int, filter_: dict[str, int]
) -> None:
    await store.deliver(7, [frame(400, [record(400, time_unix_nano=LAST), record(401, time_unix_nano=1)])], 402)
    try:
        await answer(store, now=LAST, filter=LogFilter(**filter_), bucket_nanos=length)
    except ServiceError as error:
        assert error.metadata["field"] == "bucket_nanos"  # noqa: PT017 - an answer is right too


async def test_service_that_fell_silent_shows_as_zeros_up_to_now(store: Store) -> None:
    since = BEGIN - BEGIN % HOUR
    seen = LogFilter(services=["svc0"], start_time_unix_nano=since)
    response = await answer(store, now=since + 3 * HOUR, filter=seen, group_by=[SERVICE], bucket_nanos=HOUR)
    assert [row.values[0].value for row in response.rows] == [80, 0, 0, 0]
    never = LogFilter(services=["nobody"], start_time_unix_nano=since)
    response = await answer(store, now=since + 3 * HOUR, filter=never, bucket_nanos=HOUR)
    assert [row.values[0].value for row in response.rows] == [0, 0, 0, 0]
    assert not (await answer(store, filter=LogFilter(start_time_unix_nano=BEGIN + 9 * HOUR), bucket_nanos=HOUR, now=BEGIN)).rows


async def test_too_long_a_time_for_the_buckets_is_named_with_what_to_do(store: Store) -> None:
    with pytest.raises(ServiceError, match=r"makes 10001 buckets from 2023-11-14T22:13:20Z to 2025-01-04T14:00:00Z, .* an earlier end"):
        await answer(store, now=BEGIN - BEGIN % HOUR + 10_000 * HOUR, filter=LogFilter(start_time_unix_nano=BEGIN), bucket_nanos=HOUR)


@pytest.mark.parametrize("request_", [{"filter": LogFilter(about="x")}])
def test_what_is_not_served_yet_says_so(request_: dict[str, LogFilter]) -> None:
    with pytest.raises(ServiceError, match="not served"):
        aggregates.plan(pb.AggregateLogsRequest(**request_))


def test_services_alone_are_told_apart() -> None:
    assert filters.where(LogFilter()).services_only
    assert filters.where(LogFilter(services=["a"])).services_only
    assert not filters.where(LogFilter(services=["a"], min_severity=9)).services_only
