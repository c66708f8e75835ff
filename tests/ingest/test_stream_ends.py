"""How calls end that were not foreseen: never with OK, unless everything they took is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from tests.ingest.conftest import RequestOf, Running
from treering.v1.ingest_pb2 import StreamLogsResponse, UploadLogsRequest
from treering_ingest import upload as upload_module
from treering_ingest.admission import CheckedBatch, check_batch

SURPRISES = [KeyError("not foreseen"), RuntimeError("not foreseen")]


@pytest.fixture
def fails_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], None]:
    """Makes the check of the batch with this sequence fail."""

    def arrange(sequence: int, error: Exception) -> None:
        def check(received: bytes) -> CheckedBatch:
            batch = check_batch(received)
            if batch.sequence == sequence:
                raise error
            return batch

        monkeypatch.setattr(upload_module, "check_batch", check)

    return arrange


def batches_of(request_of: Callable[..., UploadLogsRequest], count: int, producer_id: str = "me") -> list[Any]:
    return [request_of("a", "b", producer_id=producer_id, sequence=sequence) for sequence in range(1, count + 1)]


def error_id(error: grpc.aio.AioRpcError) -> Any:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(error).details)
    assert info.reason == "INTERNAL"
    return info.metadata["error_id"]


async def taken(stream: "grpc.aio.StreamStreamCall[Any, Any] | AsyncIterator[StreamLogsResponse]", answers: list[Any]) -> None:
    """Notes the answers of a stream until it ends."""
    async for answer in stream:
        answers += [answer]


def handled(registry: CollectorRegistry, method: str, code: str) -> float | None:
    return registry.get_sample_value("treering_rpc_handled_total", {"method": f"treering.v1.IngestService/{method}", "code": code})


@pytest.mark.parametrize("surprise", SURPRISES)
async def test_a_surprise_in_the_reading_of_a_stream_ends_it_with_an_error_after_what_was_taken(
    running: Running, request_of: RequestOf, fails_at: Any, surprise: Exception
) -> None:
    fails_at(3, surprise)
    async with running() as (process, _), grpc.aio.insecure_channel(process.server.address) as channel:
        call = channel.stream_stream("/treering.v1.IngestService/StreamLogs")()
        answers = []
        with structlog.testing.capture_logs() as logged:
            for batch in batches_of(request_of, 4):
                await call.write(batch.SerializeToString())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await taken(call, answers)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert answers
        assert process.log.synced.offset == 4
        [entry] = [entry for entry in logged if entry["event"] == "call failed"]
        assert (entry["error_id"], entry["exc_info"]) == (error_id(caught.value), surprise)
        assert handled(process.registry, "StreamLogs", "INTERNAL") == 1
        assert handled(process.registry, "StreamLogs", "OK") is None


@pytest.mark.parametrize("surprise", SURPRISES)
async def test_a_surprise_in_an_upload_ends_it_with_an_error(
    running: Running, request_of: RequestOf, fails_at: Any, surprise: Exception
) -> None:
    fails_at(3, surprise)
    async with running() as (process, stub):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.UploadLogs(iter(batches_of(request_of, 4)))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert error_id(caught.value)
        assert handled(process.registry, "UploadLogs", "INTERNAL") == 1


async def test_a_lack_of_memory_ends_an_upload_and_a_stream_with_an_overload_after_what_was_taken(
    running: Running, request_of: RequestOf, fails_at: Any
) -> None:
    fails_at(3, MemoryError())
    async with running() as (process, stub), grpc.aio.insecure_channel(process.server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as uploaded:
            await stub.UploadLogs(iter(batches_of(request_of, 4)))
        fails_at(3, MemoryError())
        call, answers = channel.stream_stream("/treering.v1.IngestService/StreamLogs")(), []
        for batch in batches_of(request_of, 4):
            await call.write(batch.SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as streamed:
            await taken(call, answers)
        assert {error.value.code() for error in (uploaded, streamed)} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert answers
        assert process.log.durable_offset == 4  # the second time they were repeats


@pytest.mark.parametrize("broken", [ConnectionResetError("gone"), asyncio.CancelledError()])
async def test_a_call_that_breaks_in_the_middle_does_not_end_well(
    running: Running, request_of: RequestOf, broken: ConnectionResetError | asyncio.exceptions.CancelledError
) -> None:
    async def sent() -> AsyncIterator[Any]:
        for batch in batches_of(request_of, 2):
            yield batch.SerializeToString()
        raise broken

    async with running() as (process, _):
        answers = []
        with pytest.raises(type(broken)):
            await taken(process._handlers.stream_logs(sent(), None), answers)
        assert sum(answer.accepted_count for answer in answers) == 4
        with pytest.raises(type(broken)):
            await process._handlers.upload_logs(sent(), None)
        assert process.intake.stream_count == 0
