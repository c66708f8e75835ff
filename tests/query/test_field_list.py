"""ListFields against a plain Python twin."""

import re
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile_requests import within_limits
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore, SnapshotOf
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, LogRecord
from treering_query.answers import field_list
from treering_query.store.store import Store
from treering_runtime import fitting
from treering_runtime.errors import ServiceError

BUILT_IN = {
    pb.LOG_FIELD_SERVICE: (pb.FIELD_KIND_TEXT, lambda record: bool(record.service)),
    pb.LOG_FIELD_ENVIRONMENT: (pb.FIELD_KIND_TEXT, lambda record: bool(record.environment)),
    pb.LOG_FIELD_SEVERITY: (pb.FIELD_KIND_INTEGER, lambda record: bool(record.severity)),
    pb.LOG_FIELD_PATTERN: (pb.FIELD_KIND_INTEGER, lambda record: True),
    pb.LOG_FIELD_TEMPLATE: (pb.FIELD_KIND_INTEGER, lambda record: True),
    pb.LOG_FIELD_MESSAGE: (pb.FIELD_KIND_TEXT, lambda record: True),
    pb.LOG_FIELD_TRACE_ID: (pb.FIELD_KIND_TEXT, lambda record: bool(record.trace_id)),
}
VALUES = [
    *("", "x", "7", "-7", "+7", "007", "1.5", "1.", ".5", "-.5e+3", "1e3", ".", "e3", "1_0", " 1", "1\n", "\u0663", "nan", "0x1"),
    *("true", "FALSE", "truee"),
]
RECORDS = st.lists(
    st.builds(
        LogRecord,
        time_unix_nano=st.just(1),
        severity=st.sampled_from([0, 9]),
        service=st.sampled_from(["", "shop"]),
        environment=st.sampled_from(["", "prod"]),
        message=st.just("m"),
        attributes=st.dictionaries(st.sampled_from(["ms", "host", "ü", "a b", "'", ""]), st.sampled_from(VALUES), max_size=4),
        trace_id=st.sampled_from([b"", b"t" * 16]),
    ),
    max_size=30,
)


def kind_of(value: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]+", value):
        return pb.FIELD_KIND_INTEGER
    if re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[0-9]+[eE][+-]?[0-9]+", value):
        return pb.FIELD_KIND_DECIMAL
    return pb.FIELD_KIND_BOOLEAN if value.lower() in {"true", "false"} else pb.FIELD_KIND_TEXT


def twin(records: list[LogRecord]) -> list[pb.FieldSummary]:
    built_in = []
    for number, (kind, present) in BUILT_IN.items():
        count = sum(map(present, records))
        kinds = [pb.FieldKindCount(kind=kind, count=count)] if count else []
        built_in.append(pb.FieldSummary(field=pb.FieldRef(field=number), record_count=count, kinds=kinds))
    found = defaultdict(Counter)
    for record in records:
        for key, value in record.attributes.items():
            found[key][kind_of(value)] += 1
    ordered = sorted(found.items(), key=lambda item: (-item[1].total(), item[0].encode()))
    return built_in + [
        pb.FieldSummary(
            field=pb.FieldRef(attribute=key),
            record_count=kinds.total(),
            kinds=[pb.FieldKindCount(kind=kind, count=n) for kind, n in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))],
        )
        for key, kinds in ordered
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, cut=st.integers(0, 30), service=st.sampled_from(["", "shop"]), page_size=st.integers(1, 12))
def test_pages_join_to_the_fields_of_the_twin(
    snapshot_of: SnapshotOf, records: list[LogRecord], cut: int, service: Any, page_size: int
) -> None:
    chosen = LogFilter(services=[service] if service else [])
    selected = [record for record in records if not service or record.service == service]
    found, token = [], ""
    with snapshot_of(records[:cut], records[cut:]) as snapshot:
        while True:
            page = field_list.plan(pb.ListFieldsRequest(filter=chosen, page_size=page_size, page_token=token)).answer(snapshot)
            assert len(page.fields) <= page_size
            assert (page.record_count, page.total_count) == (len(selected), len(twin(selected)))
            found += page.fields
            if not (token := page.next_page_token):
                break
    assert found == twin(selected)


async def ask(store: Store, **fields: int | str) -> Any:
    plan = field_list.plan(within_limits(pb.ListFieldsRequest(**fields)))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


async def test_fields_that_grow_between_two_pages_neither_repeat_nor_hide_one(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord
) -> None:
    async with open_store() as store:
        records = [record(number, attributes={f"k{each}": "v" for each in range(number + 1)}) for number in range(10)]
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, records)], 10)
        await store.seal()
        whole = await ask(store)
        first = await ask(store, page_size=9)
        # The rarest becomes the most frequent.
        await store.deliver(7, [frame(10, [record(number, attributes={"k9": "v", "new": "v"}) for number in range(100)])], 110)
        second = await ask(store, page_size=100, page_token=first.next_page_token)
        assert [*first.fields, *second.fields] == list(whole.fields)
        assert second.seen == first.seen == whole.seen
        assert (await ask(store)).fields[7].field.attribute == "k9"


async def test_a_page_ends_where_the_answer_is_full(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store:
        records = [record(number, attributes={f"{number:03}" + "k" * 200: "v"}) for number in range(100)]
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, records)], 100)
        whole = await ask(store)
        monkeypatch.setattr(fitting, "MAX_ANSWER_BYTES", 3_000)
        found, token = [], ""
        while True:
            page = await ask(store, page_token=token)
            assert page.ByteSize() < 4_000
            found += page.fields
            if not (token := page.next_page_token):
                break
    assert found == list(whole.fields)
    assert len(found) == 107


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 10_001}, "page_size"),
        ({"filter": LogFilter(services=["svc1"])}, "page_token"),
        ({"page_token": "AAAA"}, "page_token"),
    ],
)
async def test_what_cannot_be_served_is_refused_by_its_name(
    open_store: OpenStore, fill: Fill, changes: dict[str, int] | dict[str, LogFilter] | dict[str, str], field: str
) -> None:
    async with open_store() as store:
        await fill(store, 0, 20)
        token = (await ask(store, page_size=3)).next_page_token
        with pytest.raises(ServiceError) as caught:
            await ask(store, **{"page_size": 3, "page_token": token} | changes)
    assert caught.value.metadata["field"] == field
