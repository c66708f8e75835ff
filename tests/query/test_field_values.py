"""ListFieldValues against a plain Python twin; what a budget reads is exact, as far back as the answer says."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore, SnapshotOf
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, LogRecord
from treering_query.answers import field_values
from treering_query.reading import slices
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import pattern_id

RECORDS = st.lists(
    st.builds(
        LogRecord,
        time_unix_nano=st.integers(1, 5),
        severity=st.sampled_from([0, 9, 17]),
        service=st.sampled_from(["", "shop", "ünï"]),
        environment=st.sampled_from(["", "prod"]),
        message=st.sampled_from(["alpha", "beta", "Beta"]),
        attributes=st.dictionaries(st.sampled_from(["ms", "host"]), st.sampled_from(["", "1", "10", "x", "é"]), max_size=2),
        trace_id=st.sampled_from([b"", b"t" * 16, b"u" * 16]),
    ),
    max_size=40,
)
FIELDS = {
    "service": (pb.FieldRef(field=pb.LOG_FIELD_SERVICE), lambda record: record.service or None),
    "environment": (pb.FieldRef(field=pb.LOG_FIELD_ENVIRONMENT), lambda record: record.environment or None),
    "severity": (pb.FieldRef(field=pb.LOG_FIELD_SEVERITY), lambda record: str(record.severity) if record.severity else None),
    "message": (pb.FieldRef(field=pb.LOG_FIELD_MESSAGE), lambda record: record.message),
    "trace": (pb.FieldRef(field=pb.LOG_FIELD_TRACE_ID), lambda record: record.trace_id.hex() or None),
    "pattern": (pb.FieldRef(field=pb.LOG_FIELD_PATTERN), lambda record: str(pattern_id(record.service, record.message))),
    "attribute": (pb.FieldRef(attribute="ms"), lambda record: record.attributes.get("ms")),
    "absent": (pb.FieldRef(attribute="nobody has it"), lambda record: None),
}
FILTERS = {
    "all": (LogFilter(), lambda record: True),
    "severity": (LogFilter(min_severity=17), lambda record: record.severity >= 17),
    "text": (LogFilter(message_contains="BETA"), lambda record: record.message.lower() == "beta"),
}


def twin(name: Any, records: list[LogRecord], limit: int) -> pb.FieldValues:
    ref, value_of = FIELDS[name]
    counts = Counter(map(value_of, records))
    missing = counts.pop(None, 0)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0].encode()))[:limit]
    values = [pb.FieldValue(value=value, count=n) for value, n in ranked]
    return pb.FieldValues(field=ref, values=values, distinct_count=len(counts), record_count=counts.total(), missing_count=missing)


def without_texts(found: pb.FieldValues) -> pb.FieldValues:
    for value in found.values:
        value.ClearField("text")
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=RECORDS,
    cut=st.integers(0, 40),
    names=st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=4),
    chosen=st.sampled_from(list(FILTERS)),
    limit=st.integers(1, 4),
)
def test_answers_are_those_of_the_twin(
    snapshot_of: SnapshotOf, records: list[LogRecord], cut: int, names: list[Any], chosen: Any, limit: int
) -> None:
    log_filter, holds = FILTERS[chosen]
    request = pb.ListFieldValuesRequest(filter=log_filter, fields=[FIELDS[name][0] for name in names], values_per_field=limit)
    with snapshot_of(records[:cut], records[cut:]) as snapshot:
        answer = field_values.plan(request).answer(snapshot)
    selected = [record for record in records if holds(record)]  # type: ignore[no-untyped-call]
    assert [without_texts(found) for found in answer.fields] == [twin(name, selected, limit) for name in names]


async def ask(
    store: Store, clock: Callable[[], float] | None = None, **fields: list[pb.FieldRef] | int | list[Any] | LogFilter
) -> tuple[Any, Any]:
    request = within_limits(pb.ListFieldValuesRequest(**fields))
    plan = field_values.plan(request, clock=clock) if clock else field_values.plan(request)
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer), snapshot


@pytest.fixture
async def layers(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Store, list[LogRecord]]]:
    """Six segments of 100 records and 50 records in memory, newest last, some of the same times; and the records."""
    monkeypatch.setattr(slices, "SLICE_ROWS", 100)
    records = [record(number, time_unix_nano=10_000 + number // 130 * 130, attributes={"v": str(number % 7)}) for number in range(650)]
    async with open_store() as store:
        await store.open_log(7, 0)
        for begin in range(0, 650, 100):
            await store.deliver(7, [frame(begin, records[begin : begin + 100])], 650)
            if begin < 600:
                await store.seal()
        yield store, records


@pytest.mark.parametrize("budget_ms", [0, 1_000, 4_500, 60_000])
async def test_with_a_budget_the_newest_are_counted_exactly(layers: tuple[Store, list[LogRecord]], budget_ms: int) -> None:
    store, records = layers
    # Each look at the clock is a second later, so each run over a part takes one.
    ticks = count()
    fields = [pb.FieldRef(attribute="v"), pb.FieldRef(field=pb.LOG_FIELD_SERVICE)]
    answer, snapshot = await ask(store, lambda: float(next(ticks)), fields=fields, budget_ms=budget_ms, values_per_field=1_000)
    attribute, service = answer.fields
    back_to = attribute.scanned_back_to_unix_nano
    newest = [each for each in records if each.time_unix_nano >= back_to]
    assert {value.value: value.count for value in attribute.values} == Counter(each.attributes["v"] for each in newest)
    assert attribute.record_count == len(newest)
    assert (back_to == 0) == (budget_ms == 60_000)
    if budget_ms:
        assert len(newest) > 0
    # At least one segment is read, never more than the budget allows.
    assert len(snapshot.read_segments) >= 1
    # What the statistics know is never cut off.
    assert (service.scanned_back_to_unix_nano, service.record_count) == (0, 650)


async def test_more_budget_reads_more(layers: tuple[Store, list[LogRecord]]) -> None:
    store, _ = layers
    reads = []
    for budget_ms in (0, 4_500, 60_000):
        ticks = count()
        _, snapshot = await ask(store, lambda ticks=ticks: float(next(ticks)), fields=[pb.FieldRef(attribute="v")], budget_ms=budget_ms)  # type: ignore[misc]
        reads.append(len(snapshot.read_segments))
    assert reads[0] == 1 < reads[1] < reads[2] == 6


async def test_patterns_and_templates_come_with_their_texts(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 50)
        await store.seal()
        await store.templates.settled()
        await fill(store, 50, 60)
        fields = [pb.FieldRef(field=pb.LOG_FIELD_PATTERN), pb.FieldRef(field=pb.LOG_FIELD_TEMPLATE)]
        for chosen in (LogFilter(), LogFilter(message_contains="logged")):
            answer, _ = await ask(store, filter=chosen, fields=fields)
            patterns, templates = answer.fields
            assert {(value.text, value.count) for value in patterns.values} == {("user <*> logged in", 12)}
            assert sum(value.count for value in templates.values) == 60
            assert all(value.text for value in templates.values)


async def test_facets_of_statistics_read_no_record(layers: tuple[Store, list[LogRecord]]) -> None:
    store, _ = layers
    fields = [pb.FieldRef(field=field) for field in (pb.LOG_FIELD_SERVICE, pb.LOG_FIELD_SEVERITY, pb.LOG_FIELD_ENVIRONMENT)]
    answer, snapshot = await ask(store, fields=fields)
    assert [found.record_count for found in answer.fields] == [650] * 3
    assert (snapshot.read_segments, snapshot.has_read_hot) == ({}, False)


async def test_values_that_do_not_fit_are_counted_and_left_out(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_values, "MAX_ANSWER_BYTES", 4_000)
    async with open_store() as store:
        records = [record(number, attributes={"long": f"{number}" + "x" * 900, "short": str(number)}) for number in range(9)]
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, records)], 9)
        answer, _ = await ask(store, fields=[pb.FieldRef(attribute="long"), pb.FieldRef(attribute="short")])
    long, short = answer.fields
    assert (len(long.values), long.distinct_count, long.truncated) == (2, 9, True)
    assert (len(short.values), short.distinct_count, short.truncated) == (9, 9, False)
    assert answer.ByteSize() < 4_500


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"fields": []}, "fields"),
        ({"fields": [pb.FieldRef(attribute="a")] * 21}, "fields"),
        ({"fields": [pb.FieldRef(attribute="a"), pb.FieldRef()]}, "fields[1]"),
        ({"fields": [pb.FieldRef(attribute="")]}, "fields[0].attribute"),
        ({"fields": [pb.FieldRef(attribute="a")], "values_per_field": 0}, "values_per_field"),
        ({"fields": [pb.FieldRef(attribute="a")], "values_per_field": 1_001}, "values_per_field"),
        ({"fields": [pb.FieldRef(attribute="a")], "budget_ms": 60_001}, "budget_ms"),
    ],
)
async def test_what_cannot_be_served_is_refused_by_its_name(
    open_store: OpenStore, fields: dict[str, list[Any]] | dict[str, list[pb.FieldRef]] | dict[str, object], field: str
) -> None:
    async with open_store() as store:
        with pytest.raises(ServiceError) as caught:
            await ask(store, **fields)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert caught.value.metadata["field"] == field
