"""Refused calls leave nothing behind: no memory, and no word of one producer for another."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.cancelling import drained
from tests.ingest.conftest import RequestOf, Running
from treering.v1.ingest_pb2 import StreamLogsRequest, UploadLogsRequest
from treering_ingest import process as process_module

if TYPE_CHECKING:
    from treering.v1.ingest_pb2_grpc import IngestServiceAsyncStub

REFUSED = 200
LARGE = "x" * 1_000_000


@pytest.fixture
async def refusing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> "AsyncIterator[tuple[process_module.IngestProcess, IngestServiceAsyncStub]]":
    """An ingest whose disk is nearly full."""
    monkeypatch.setattr(process_module, "free_bytes", lambda _: 7)
    async with running(disk_reserve_bytes=1_000) as (process, stub):
        yield process, stub


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Only what nothing refers to is freed: nothing may count on the garbage collector to come by in time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def refused(stub: "IngestServiceAsyncStub", request: UploadLogsRequest, how: str = "UploadLogs") -> dict[Any, Any]:
    streamed = StreamLogsRequest.FromString(request.SerializeToString())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (stub.UploadLogs(iter([request])) if how == "UploadLogs" else drained(stub.StreamLogs(iter([streamed]))))
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(caught.value).details)
    assert info.reason == "DISK_LOW"
    return dict(info.metadata)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("how", ["UploadLogs", "StreamLogs"])
async def test_refused_uploads_do_not_grow_the_service(
    refusing: "tuple[process_module.IngestProcess, IngestServiceAsyncStub]", request_of: RequestOf, how: str
) -> None:
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


async def test_each_who_is_refused_gets_an_error_of_its_own(
    refusing: "tuple[process_module.IngestProcess, IngestServiceAsyncStub]",
) -> None:
    process, _ = refusing
    one, other = process.intake.refusal(), process.intake.refusal()
    assert one is not other
    assert one.metadata is not other.metadata
    assert (one.message, one.metadata) == (other.message, other.metadata)


async def test_what_one_producer_is_told_does_not_reach_another(
    refusing: "tuple[process_module.IngestProcess, IngestServiceAsyncStub]", request_of: RequestOf
) -> None:
    _, stub = refusing
    told = await refused(stub, request_of("a", producer_id="me", sequence=1))
    assert told.pop("last_durable_sequence") == "0"
    assert await refused(stub, request_of("a")) == told == {"free_bytes": "7", "reserve_bytes": "1000"}
