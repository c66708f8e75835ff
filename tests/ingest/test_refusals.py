"""Refused calls leave nothing behind: no memory, and no word of one producer for another."""

import asyncio
import gc
import tracemalloc

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.cancelling import drained
from treering.v1.ingest_pb2 import StreamLogsRequest
from treering.v1.sink_pb2 import DeliverLogsResponse, SinkProgress
from treering.v1.sink_pb2_grpc import SinkServiceServicer, add_SinkServiceServicer_to_server
from treering_runtime.server import Server
from treering_runtime.telemetry import new_registry

REFUSED = 200
LARGE = "x" * 1_000_000


class Ahead(SinkServiceServicer):
    """A sink that holds more than the log."""

    async def DeliverLogs(self, request_iterator, context):
        first = await anext(request_iterator)
        yield DeliverLogsResponse(progress=SinkProgress(log_id=first.start.log_id, next_offset=7))
        await asyncio.Event().wait()


@pytest.fixture
async def ahead(running):
    """An ingest whose sink is ahead of the log."""
    server = Server("127.0.0.1:0", [], new_registry())
    add_SinkServiceServicer_to_server(Ahead(), server.grpc)
    await server.start()
    async with running(sinks=f"sink={server.address}") as (process, stub):
        async with asyncio.timeout(20):
            while not process.deliveries[0].state.ahead:
                await process.sinks_changed.wait()
        yield process, stub
    await server.stop(0)


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
    assert info.reason == "SINK_AHEAD"
    return dict(info.metadata)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("how", ["UploadLogs", "StreamLogs"])
async def test_refused_uploads_do_not_grow_the_service(ahead, request_of, how):
    _, stub = ahead
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


async def test_each_who_is_refused_gets_an_error_of_its_own(ahead):
    process, _ = ahead
    one, other = process.intake.refusal(), process.intake.refusal()
    assert one is not other
    assert one.metadata is not other.metadata
    assert (one.message, one.metadata) == (other.message, other.metadata)


async def test_what_one_producer_is_told_does_not_reach_another(ahead, request_of):
    _, stub = ahead
    told = await refused(stub, request_of("a", producer_id="me", sequence=1))
    assert told.pop("last_durable_sequence") == "0"
    assert await refused(stub, request_of("a")) == told == {"log_end_offset": "0", "next_offset": "7"}
