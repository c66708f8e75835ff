"""Aggregates against a plain Python twin."""

import math
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.query.conftest import Fill, OpenStore, SnapshotOf
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import AttributeFilter, LogFilter, LogRecord
from treering_query.answers import aggregates

HOUR = 3_600_000_000_000
BEGIN = int(datetime(2026, 10, 24, tzinfo=UTC).timestamp()) * 10**9  # the night after it, clocks in Europe go back

RECORDS = st.lists(
    st.builds(
        LogRecord,
        time_unix_nano=st.integers(BEGIN, BEGIN + 72 * HOUR),
        severity=st.sampled_from([0, 5, 9, 13, 17, 24]),
        service=st.sampled_from(["", "shop", "auth", "ünï"]),
        environment=st.sampled_from(["prod", "dev"]),
        message=st.sampled_from(["Login ok", "login FAILED for 7", "payment 12 timed out"]),
        attributes=st.dictionaries(
            st.sampled_from(["ms", "host"]), st.sampled_from(["1", "2.5", "-3", "1e3", "", "nan", "inf", "x", " 7 "]), max_size=2
        ),
    ),
    max_size=40,
)
FILTERS = st.builds(
    LogFilter,
    start_time_unix_nano=st.sampled_from([0, BEGIN + HOUR]),
    end_time_unix_nano=st.sampled_from([0, BEGIN + 40 * HOUR]),
    min_severity=st.sampled_from([0, 9]),
    max_severity=st.sampled_from([0, 17]),
    services=st.lists(st.sampled_from(["shop", "auth", ""]), max_size=2),
    environments=st.lists(st.sampled_from(["prod"]), max_size=1),
    message_contains=st.sampled_from(["", "LOGIN", "12"]),
    attributes=st.lists(
        st.builds(AttributeFilter, key=st.just("host"), values=st.lists(st.sampled_from(["x", "1"]), max_size=2), exclude=st.booleans()),
        max_size=1,
    ),
)
FIELDS = [
    pb.FieldRef(field=pb.LOG_FIELD_SERVICE),
    pb.FieldRef(field=pb.LOG_FIELD_SEVERITY),
    pb.FieldRef(field=pb.LOG_FIELD_ENVIRONMENT),
    pb.FieldRef(field=pb.LOG_FIELD_MESSAGE),
    pb.FieldRef(attribute="host"),
]
METRICS = [
    pb.Metric(function=pb.AGGREGATE_FUNCTION_COUNT),
    pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT, of=pb.FieldRef(attribute="host")),
    pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT, of=pb.FieldRef(field=pb.LOG_FIELD_SERVICE)),
    *(pb.Metric(function=function, of=pb.FieldRef(attribute="ms"), quantile=0.3) for function in range(3, 8)),
    pb.Metric(function=pb.AGGREGATE_FUNCTION_RATE),
]


def selects(chosen: LogFilter, record: LogRecord) -> bool:
    severity_wanted = chosen.min_severity or chosen.max_severity
    return all(
        [
            record.time_unix_nano >= chosen.start_time_unix_nano,
            not chosen.end_time_unix_nano or record.time_unix_nano < chosen.end_time_unix_nano,
            not severity_wanted or record.severity >= max(chosen.min_severity, 1),
            not chosen.max_severity or record.severity <= chosen.max_severity,
            not chosen.services or record.service in chosen.services,
            not chosen.environments or record.environment in chosen.environments,
            chosen.message_contains.lower() in record.message.lower(),
            *(holds(condition, record) for condition in chosen.attributes),
        ]
    )


def holds(condition: AttributeFilter, record: LogRecord) -> bool:
    present = condition.key in record.attributes
    found = present and (not condition.values or record.attributes[condition.key] in condition.values)
    return found != condition.exclude


def value_of(ref: pb.FieldRef, record: LogRecord) -> str | None:
    if ref.WhichOneof("field_kind") == "attribute":
        return record.attributes.get(ref.attribute)
    return {
        pb.LOG_FIELD_SERVICE: record.service,
        pb.LOG_FIELD_SEVERITY: str(record.severity),
        pb.LOG_FIELD_ENVIRONMENT: record.environment,
        pb.LOG_FIELD_MESSAGE: record.message,
    }[ref.field]


def number(text: str | None) -> float | None:
    try:
        found = float(text)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def compute(metric: pb.Metric, records: list[LogRecord], seconds: float) -> float | None:
    if metric.function == pb.AGGREGATE_FUNCTION_COUNT:
        return len(records)
    if metric.function == pb.AGGREGATE_FUNCTION_RATE:
        return len(records) / seconds if seconds else None
    if metric.function == pb.AGGREGATE_FUNCTION_DISTINCT:
        return len({value_of(metric.of, record) for record in records} - {None})
    numbers = sorted(found for record in records if (found := number(record.attributes.get("ms"))) is not None)
    if not numbers:
        return None
    place = metric.quantile * (len(numbers) - 1)
    low, high = numbers[math.floor(place)], numbers[math.ceil(place)]
    return {
        pb.AGGREGATE_FUNCTION_MIN: min(numbers),
        pb.AGGREGATE_FUNCTION_MAX: max(numbers),
        pb.AGGREGATE_FUNCTION_AVG: sum(numbers) / len(numbers),
        pb.AGGREGATE_FUNCTION_SUM: sum(numbers),
        pb.AGGREGATE_FUNCTION_QUANTILE: low + (high - low) * (place - math.floor(place)),
    }[metric.function]


def bucket_start(nanos: int, length: int, zone: ZoneInfo) -> int:
    """By the contract's words, slowly: the local midnight before, then steps of the length; 24 hours are the local day, however long."""
    moment = datetime.fromtimestamp(nanos // 10**9, UTC)
    local = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start = int(local.astimezone(UTC).timestamp()) * 10**9
    if length == 24 * HOUR:
        return start
    while start + length <= nanos:
        start += length
    return start


def instants(chosen: LogFilter, records: list[LogRecord], now: int) -> list[int]:
    """The first and the last instant that buckets cover, by the contract's words; empty where there is nothing to cover."""
    times = [record.time_unix_nano for record in records]
    if chosen.start_time_unix_nano:
        end = chosen.end_time_unix_nano - 1 if chosen.end_time_unix_nano else max([now, *times])
        covered = [chosen.start_time_unix_nano, end]
        return covered if covered[0] <= covered[1] else []
    return [min(times), chosen.end_time_unix_nano - 1 if chosen.end_time_unix_nano else max(times)] if times else []


def twin(request: pb.AggregateLogsRequest, records: list[LogRecord], now: int) -> dict[Any, Any]:
    chosen = [record for record in records if selects(request.filter, record)]
    zone = ZoneInfo(request.time_zone or "UTC")
    groups = defaultdict(list)
    for record in chosen:
        groups[tuple(value_of(ref, record) for ref in request.group_by)].append(record)
    if not request.group_by:
        groups[()] = chosen
    if not request.bucket_nanos:
        times = [record.time_unix_nano for record in chosen] or [0]
        seconds = (max(times) - min(times)) / 1e9
        return {(0, group): [compute(metric, found, seconds) for metric in request.metrics] for group, found in groups.items()}
    starts = [bucket_start(nanos, request.bucket_nanos, zone) for nanos in instants(request.filter, chosen, now)]
    if not starts:
        return {}
    edges = sorted({bucket_start(nanos, request.bucket_nanos, zone) for nanos in range(min(starts), max(starts) + 1, HOUR // 2)})
    answer = {}
    for start in edges:
        following = start + 1
        while bucket_start(following, request.bucket_nanos, zone) == start:
            following += HOUR // 2 - (following - start) % (HOUR // 2)
        seconds = (following - start) / 1e9
        for group, found in groups.items():
            inside = [r for r in found if bucket_start(r.time_unix_nano, request.bucket_nanos, zone) == start]
            answer[start, group] = [compute(metric, inside, seconds) for metric in request.metrics]
    return answer


def as_dict(response: pb.AggregateLogsResponse) -> dict[Any, Any]:
    answer = {}
    for row in response.rows:
        group = tuple(found.value if found.HasField("value") else None for found in row.groups)
        key = (row.bucket_start_unix_nano, group)
        assert key not in answer
        answer[key] = [found.value if found.HasField("value") else None for found in row.values]
    return answer


def same(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    return left.keys() == right.keys() and all(
        (a is None and b is None) or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9))
        for key in left
        for a, b in zip(left[key], right[key], strict=True)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=RECORDS,
    cut=st.integers(0, 40),
    chosen=FILTERS,
    group_by=st.lists(st.sampled_from(FIELDS), max_size=2, unique_by=str),
    metrics=st.lists(st.sampled_from(METRICS), min_size=1, max_size=4),
    bucket=st.sampled_from([0, HOUR, 7 * HOUR, 24 * HOUR]),
    zone=st.sampled_from(["", "Europe/Warsaw", "America/St_Johns"]),
    now=st.sampled_from([0, BEGIN + 20 * HOUR, BEGIN + 80 * HOUR]),
)
def test_answers_are_those_of_the_twin(
    snapshot_of: SnapshotOf,
    records: list[LogRecord],
    cut: int,
    chosen: LogFilter,
    group_by: list[Any],
    metrics: list[Any],
    bucket: Any,
    zone: Any,
    now: Any,
) -> None:
    request = pb.AggregateLogsRequest(filter=chosen, group_by=group_by, metrics=metrics, bucket_nanos=bucket, time_zone=zone)
    with snapshot_of(records[:cut], records[cut:]) as snapshot:
        response = aggregates.plan(request, now=now).answer(snapshot)
    assert same(as_dict(response), twin(request, records, now))
    assert not response.truncated


@pytest.mark.parametrize("order", [0, 1, 2, 3])
async def test_order_and_limit(order: int, open_store: OpenStore, fill: Fill) -> None:
    request = pb.AggregateLogsRequest(group_by=[pb.FieldRef(attribute="ms")], order=order, limit=3)
    async with open_store() as store:
        await fill(store, 0, 10)
        with store.snapshot() as snapshot:
            response = await store.run(snapshot, aggregates.plan(request).answer)
    assert response.truncated
    assert [row.groups[0].value for row in response.rows] == ["0", "1", "2"]
