"""A producer that sent lately is not forgotten for the sake of others, whoever sends under however many names."""

import functools
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.conftest import RequestOf, Running
from tests.ingest.test_service import refused
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering_ingest.active_producers import ActiveProducers
from treering_ingest.producers import ProducerTable, Stored
from treering_ingest.wal import LogConfig
from treering_runtime.errors import ServiceError

OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def taken_by(active: ActiveProducers, caller: str, count: int, prefix: str = "") -> int:
    """How many new producers a caller gets in."""
    for number in range(count):
        try:
            active.check_new(caller)
        except ServiceError:
            return number
        active.sent(f"{prefix}{caller}-{number}".encode(), caller)
    return count


def test_a_caller_leaves_as_many_places_as_it_takes() -> None:
    active = ActiveProducers(100, clock=lambda: 0.0)
    assert [taken_by(active, caller, 1_000) for caller in ("flood", "second", "third")] == [50, 25, 13]
    assert taken_by(active, "honest", 1) == 1


def test_the_refusal_names_whose_places_are_taken() -> None:
    active = ActiveProducers(2, clock=lambda: 0.0)
    taken_by(active, "flood", 2)
    with pytest.raises(ServiceError, match="1 producers of yours sent within 300 s, and 1 places are left") as caught:
        active.check_new("flood")
    assert caught.value.metadata["limit"] == "max_producers_of_one_caller"
    taken_by(active, "other", 1)
    with pytest.raises(ServiceError, match="2 producers sent within 300 s; retry later") as caught:
        active.check_new("third")
    assert caught.value.metadata["limit"] == "max_producers"


def test_silent_producers_make_room() -> None:
    now = [0.0]
    active = ActiveProducers(4, active_s=10, clock=lambda: now[0])
    assert taken_by(active, "flood", 9) == 2
    now[0] = 9.0
    active.sent(b"flood-0", "flood")
    now[0] = 10.0
    assert len(active) == 1
    assert taken_by(active, "flood", 9, "more of ") == 1


def test_a_producer_that_comes_over_another_connection_counts_there() -> None:
    active = ActiveProducers(4, clock=lambda: 0.0)
    active.sent(b"moved", "before")
    active.sent(b"moved", "after")
    assert len(active) == 1
    assert taken_by(active, "before", 9) == 2


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.integers(0, 4)), max_size=200))
def test_no_active_producer_is_ever_forgotten(steps: list[Any]) -> None:
    """Against the table itself and the plain time of each newest batch."""
    now, capacity, active_s = [0.0], 8, 10
    table, active, newest = ProducerTable(capacity), ActiveProducers(capacity, active_s, lambda: now[0]), {}
    for number, caller, later in steps:
        now[0] += later
        name = str(number).encode()
        try:
            if name not in table:
                active.check_new(caller)
        except ServiceError:
            continue
        table.store(name, Stored(1, 0, 1, 0))
        active.sent(name, caller)
        newest[name] = now[0]
        assert all(known in table for known, at in newest.items() if at > now[0] - active_s)


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_ingest.process.LogConfig", functools.partial(LogConfig, max_producers=4))


async def test_a_flood_of_producers_is_refused_and_an_active_one_goes_on_exactly_once(
    running: Running, request_of: RequestOf, small_table: None
) -> None:
    async with running() as (process, honest):
        await honest.UploadLogs(iter([request_of("a", producer_id="honest", sequence=1)]))
        async with grpc.aio.insecure_channel(process.server.address, options=OWN_CONNECTION) as channel:
            flood = IngestServiceStub(channel)
            answers = 0
            for number in range(20):
                try:
                    await flood.UploadLogs(iter([request_of("x", producer_id=f"flood {number}", sequence=1)]))
                    answers += 1
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - some are refused, some are not
            assert answers == 2
            code, reason, metadata, retry = await refused(flood.UploadLogs(iter([request_of("x", producer_id="more", sequence=1)])))
            assert (code, reason, metadata["limit"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "max_producers_of_one_caller")
            assert retry is not None
            assert (await flood.UploadLogs(iter([request_of("y", producer_id="flood 0", sequence=2)]))).accepted_count == 1
            assert (await flood.UploadLogs(iter([request_of("anonymous")]))).accepted_count == 1
        repeat = await honest.UploadLogs(iter([request_of("a", producer_id="honest", sequence=1)]))
        assert repeat.duplicate_count == 1
        assert (await honest.UploadLogs(iter([request_of("b", producer_id="honest", sequence=2)]))).accepted_count == 1
        async with grpc.aio.insecure_channel(process.server.address, options=OWN_CONNECTION) as channel:
            next_one = IngestServiceStub(channel)
            assert (await next_one.UploadLogs(iter([request_of("b", producer_id="next", sequence=1)]))).accepted_count == 1


async def test_after_a_restart_a_full_table_takes_new_producers(running: Running, request_of: RequestOf, small_table: None) -> None:
    async with running() as (_, stub):
        for number in range(2):
            await stub.UploadLogs(iter([request_of("x", producer_id=f"older {number}", sequence=1)]))
    async with running() as (_, stub):
        for number in range(2):
            await stub.UploadLogs(iter([request_of("x", producer_id=f"newer {number}", sequence=1)]))
    async with running() as (process, stub):
        assert process.intake.producer_count == 4
        assert (await stub.UploadLogs(iter([request_of("x", producer_id="newest", sequence=1)]))).accepted_count == 1
        assert (await stub.UploadLogs(iter([request_of("y", producer_id="newer 1", sequence=2)]))).accepted_count == 1
