"""Refused calls leave nothing behind: no memory, and no word of one producer for another."""

import gc
import tracemalloc

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.cancelling import drained
from treering.v1.ingest_pb2 import StreamLogsRequest
from treering_ingest import process as process_module

REFUSED = 200
LARGE = "x" * 1_000_000


@pytest.fixture
async def refusing(running, monkeypatch):
    """An ingest whose disk is nearly full."""
    monkeypatch.setattr(process_module, "free_bytes", lambda _: 7)
    async with running(disk_reserve_bytes=1_000) as (process, stub):
        yield process, stub


@pytest.fixture
def no_collection():
    """Only what nothing refers to is freed: nothing may count on the garbage collector to come by in time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def refused(stub, request, how="UploadLogs"):
    streamed = StreamLogsRequest.FromString(request.SerializeToString())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (stub.UploadLogs(iter([request])) if how == "UploadLogs" else drained(stub.StreamLogs(iter([streamed]))))
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(caught.value).details)
    assert info.reason == "DISK_LOW"
    return dict(info.metadata)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("how", ["UploadLogs", "StreamLogs"])
async def test_refused_uploads_do_not_grow_the_service(refusing, request_of, how):
    _, stub = refusing
    request = request_of(LARGE, producer_id="me", sequence=1)
    for _ in range(3):
        await refused(stub, request, how)
    tracemalloc.start()
    try:
        for _ in range(REFUSED):
            await refused(stub, request, how)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 5 * len(LARGE)


async def test_each_who_is_refused_gets_an_error_of_its_own(refusing):
    process, _ = refusing
    one, other = process.intake.refusal(), process.intake.refusal()
    assert one is not other
    assert one.metadata is not other.metadata
    assert (one.message, one.metadata) == (other.message, other.metadata)


async def test_what_one_producer_is_told_does_not_reach_another(refusing, request_of):
    _, stub = refusing
    told = await refused(stub, request_of("a", producer_id="me", sequence=1))
    assert told.pop("last_durable_sequence") == "0"
    assert await refused(stub, request_of("a")) == told == {"free_bytes": "7", "reserve_bytes": "1000"}
