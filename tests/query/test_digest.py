"""What the store digests in columns equals what ingest digests record by record."""

import asyncio
import threading
from random import Random

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.odd_messages import batch, entry, field, odd_record
from tests.patience import PATIENCE_S
from tests.runtime.plain_columns import plain_digest, plain_rows
from treering.v1 import admin_pb2
from treering.v1.admin_pb2_grpc import QueryAdminServiceStub
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_ingest.digest import record_digest
from treering_ingest.raw_records import raw_batch
from treering_query.answers import digest
from treering_query.retention.upkeep import Policy
from treering_runtime.errors import ServiceError
from treering_runtime.limits import MAX_WAITING_DIGESTS

from .conftest import ARRIVAL, STOPPED, _frame, _opened

LOG_ID = 0xFEEDFACE12345678
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
USUAL = st.builds(
    LogRecord,
    time_unix_nano=st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1),
    severity=st.integers(-3, 30),
    service=TEXTS,
    environment=TEXTS,
    message=TEXTS.filter(bool),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=4),
    trace_id=st.binary(max_size=17),
    span_id=st.binary(max_size=9),
)
RECORDS = USUAL.map(LogRecord.SerializeToString) | st.integers(0, 2**32).map(lambda seed: odd_record(Random(seed)))


def request(first, end, step=1):
    return admin_pb2.DigestStoreRequest(log_id=LOG_ID, first_offset=first, end_offset_exclusive=end, step=step)


async def answer(store, wanted):
    with store.snapshot() as snapshot:
        return await store.run(snapshot, digest.plan(wanted).answer)


def expected(payload, first, end):
    sent = raw_batch(payload)
    resource = {entry.key: entry.value for entry in sent.resource}
    records = list(enumerate(sent.records))
    return sum(record_digest(offset, ARRIVAL, record, resource) for offset, record in records[first:end]) % 2**64


async def test_store_and_log_agree_where_a_map_has_forgotten_what_came(tmp_path):
    hello = field(5, "hello")
    stranger = field(9, "of a newer sender")
    records = [
        hello + entry("a", "1") + entry("a", "2"),
        hello + entry("a", "1", stranger),
        hello + field(7, "odd") + entry("treering.trace_id", ""),
    ]
    payload = batch(*records)
    async with _opened(tmp_path, 1_000, STOPPED) as store:
        await store.open_log(LOG_ID, 0)
        await store.deliver(LOG_ID, [DeliveredFrame(record_count=3, arrival_time_unix_nano=ARRIVAL, payload=payload)], 3)
        found = await answer(store, request(0, 3))
    assert [run.digest for run in found.ranges] == [expected(payload, offset, offset + 1) for offset in range(3)]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    records=st.lists(RECORDS, min_size=1, max_size=12),
    step=st.integers(1, 5),
    sealed=st.booleans(),
    resource=st.dictionaries(TEXTS | st.sampled_from(["treering.trace_id", "treering.duplicate."]), TEXTS, max_size=4),
)
async def test_store_and_log_agree_on_any_record(tmp_path_factory, records, step, sealed, resource):
    async with _opened(tmp_path_factory.mktemp("store"), 1_000, STOPPED) as store:
        await store.open_log(LOG_ID, 0)
        payload = batch(*records, resource=resource)
        frame = DeliveredFrame(first_offset=0, record_count=len(records), arrival_time_unix_nano=ARRIVAL, payload=payload)
        await store.deliver(LOG_ID, [frame], len(records))
        if sealed:
            await store.seal()
        found = await answer(store, request(0, len(records), step))
    assert not found.problems
    assert [run.record_count for run in found.ranges] == [run.end_offset_exclusive - run.first_offset for run in found.ranges]
    ends = [(run.first_offset, run.end_offset_exclusive) for run in found.ranges]
    assert [run.digest for run in found.ranges] == [expected(frame.payload, *each) for each in ends]
    assert sum(run.digest for run in found.ranges) % 2**64 == sum(map(plain_digest, plain_rows(LOG_ID, [frame]))) % 2**64


async def test_a_damaged_segment_is_named_and_hides_no_other(tmp_path, record):
    async with _opened(tmp_path, 1_000, STOPPED) as store:
        await store.open_log(LOG_ID, 0)
        for start in (0, 10, 20):
            await store.deliver(LOG_ID, [_frame(start, [record(start + i) for i in range(10)])], 30)
            await store.seal()
        victim = store.view.segments[1].path
        victim.write_bytes(b"PAR1 nothing of it is left PAR1")
        found = await answer(store, request(0, 30, 10))
    assert [run.record_count for run in found.ranges] == [10, 0, 10]
    assert [victim.name in problem for problem in found.problems] == [True]


async def test_what_retention_removed_is_said_also_after_a_start(tmp_path, record):
    later = ARRIVAL + 10**12
    async with _opened(tmp_path, 1_000, STOPPED) as store:
        await store.open_log(LOG_ID, 0)
        for start in (0, 10, 20):
            await store.deliver(LOG_ID, [_frame(start, [record(start + i, service=f"s{i % 5}") for i in range(10)])], 30)
            await store.seal()
        assert not (await answer(store, request(0, 30))).expired
        await store.keep_up(Policy(service_age_s={"s1": 1}), later, forget_nothing)
        await store.keep_up(Policy(service_age_s={f"s{i}": 1 for i in range(5)}), later, forget_nothing)
        await store.deliver(LOG_ID, [_frame(30, [record(30)])], 31)
    for _ in range(2):
        async with _opened(tmp_path, 1_000, STOPPED) as store:
            found = await answer(store, request(5, 20))
            assert [run.record_count for run in found.ranges] == [0] * 15
            said = [(part.first_offset, part.end_offset_exclusive, part.record_count) for part in found.expired]
            assert said == [(0, 30, 30)]


async def forget_nothing(pattern_ids, below):
    pass


@pytest.mark.parametrize("wanted", [request(5, 4), request(0, 262_145, 100), request(0, 10, 0), request(0, 4_097, 1)])
def test_requests_out_of_bounds_are_refused(wanted):
    with pytest.raises(ServiceError):
        digest.plan(wanted)


async def test_digests_that_wait_are_bounded_and_hold_up_no_question(serving, fill, monkeypatch):
    may_go_on, digested = threading.Event(), digest.DigestPlan.answer

    def answer(plan, snapshot):
        assert may_go_on.wait(PATIENCE_S)
        return digested(plan, snapshot)

    monkeypatch.setattr(digest.DigestPlan, "answer", answer)
    asked = admin_pb2.DigestStoreRequest(log_id=7, end_offset_exclusive=10, step=10)
    async with serving() as (store, client):
        await fill(store, 0, 10)
        stub = QueryAdminServiceStub(client._own[3])
        flood = {asyncio.ensure_future(stub.DigestStore(asked)) for _ in range(60)}
        try:
            while len(flood) > MAX_WAITING_DIGESTS + 1:
                async with asyncio.timeout(PATIENCE_S):
                    refused, flood = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
                assert {each.exception().code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
                assert {each.exception().details() for each in refused} == {"17 digests run or wait already; try again in a moment"}
            assert store._engine._admission.present == 1
            assert (await client.aggregate_logs()).rows[0].values[0].value == 10
        finally:
            may_go_on.set()
        answers = await asyncio.gather(*flood)
        assert {answer.ranges[0].record_count for answer in answers} == {10}
