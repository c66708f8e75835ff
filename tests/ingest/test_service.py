import asyncio
import errno
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Never

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import generate_latest

from tests.ingest.conftest import RequestOf, Running
from tests.ingest.memory_log import MemoryLog
from treering.v1.admin_pb2 import DigestLogRequest
from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import (
    DURABILITY_ALWAYS,
    DURABILITY_MEMORY,
    GetIngestStatusRequest,
    RejectionReason,
    StreamLogsRequest,
    UploadLogsRequest,
)
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering_ingest.admission import check_batch
from treering_ingest.limits import BATCH_OVERHEAD_BYTES
from treering_ingest.process import IngestProcess
from treering_ingest.wal.inspect import cat
from treering_runtime.errors import ServiceError
from treering_runtime.limits import MAX_WAITING_DIGESTS


def details(error: grpc.aio.AioRpcError) -> tuple[Any, dict[Any, Any], Any | None]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    has_retry = any(detail.Unpack(retry) for detail in status.details)
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason, dict(info.metadata), retry if has_retry else None


async def refused(
    call: "grpc.aio.StreamUnaryCall[Any, Any] | Coroutine[Any, Any, object]",
) -> tuple[Any, ...]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), *details(caught.value)


async def test_an_upload_is_on_disk_when_it_is_answered(running: Running, request_of: RequestOf, tmp_path: Path) -> None:
    async with running() as (process, stub):
        batches = [request_of("a", "b", producer_id="me", sequence=1), request_of("c", producer_id="me", sequence=2)]
        answer = await stub.UploadLogs(iter(batches))
        assert (answer.accepted_count, answer.duplicate_count, answer.end_offset_exclusive) == (3, 0, 3)
        assert answer.log_id == process.log.log_id
        assert [frame.payload for frame in cat(tmp_path / "wal")] == [request.batch.SerializeToString() for request in batches]


@pytest.mark.parametrize("shown", [-(10**18), 0, 2**63 - 1, 2**63 + 10**18, None])
async def test_an_upload_is_taken_whatever_the_clock_shows(
    running: Running, request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: int | None
) -> None:
    def clock() -> int:
        if shown is None:
            raise OverflowError("timestamp too large to convert to C _PyTime_t")
        return shown

    async with running() as (_, stub):
        monkeypatch.setattr("time.time_ns", clock)
        assert (await stub.UploadLogs(iter([request_of("a")]))).end_offset_exclusive == 1
        monkeypatch.undo()
        [frame] = cat(tmp_path / "wal")
        assert frame.arrival_time_unix_nano == (1 if shown in {-(10**18), 0} else 2**63 - 2)


async def test_an_empty_upload_is_answered_with_nothing(running: Running) -> None:
    async with running() as (_, stub):
        answer = await stub.UploadLogs(iter([]))
        assert (answer.accepted_count, answer.end_offset_exclusive) == (0, 0)


async def test_a_repeat_is_counted_and_not_stored_also_after_a_restart(running: Running, request_of: RequestOf, tmp_path: Path) -> None:
    batches = [request_of("a", "", "b", producer_id="me", sequence=1), request_of("c", producer_id="me", sequence=2)]
    for expected in ((3, 0), (0, 3), (0, 3)):
        async with running() as (_, stub):
            answer = await stub.UploadLogs(iter(batches))
            assert (answer.accepted_count, answer.duplicate_count, answer.end_offset_exclusive) == (*expected, 3)
            assert [(item.index, item.reason) for item in answer.rejected_records] == [(1, RejectionReason.REJECTION_REASON_MESSAGE_EMPTY)]
    assert len(list(cat(tmp_path / "wal"))) == 2


async def test_anonymous_batches_are_stored_each_time(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        for end in (1, 2, 3):
            answer = await stub.UploadLogs(iter([request_of("again")]))
            assert (answer.accepted_count, answer.end_offset_exclusive) == (1, end)


async def test_the_index_of_a_rejected_record_counts_over_the_stream(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        answer = await stub.UploadLogs(iter([request_of("a", ""), request_of("", "b", "")]))
        assert [item.index for item in answer.rejected_records] == [1, 2, 4]
        assert [(item.reason, item.count) for item in answer.rejection_counts] == [(RejectionReason.REJECTION_REASON_MESSAGE_EMPTY, 3)]


async def test_rejections_are_listed_up_to_a_thousand_and_counted_beyond(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        answer = await stub.UploadLogs(iter([request_of(*[""] * 700), request_of(*[""] * 700)]))
        assert (len(answer.rejected_records), answer.rejection_counts[0].count) == (1_000, 1_400)


async def test_a_stream_that_breaks_has_stored_its_beginning_and_says_how_far(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        batches = [request_of("a", producer_id="me", sequence=1), request_of("c", producer_id="me", sequence=3)]
        code, reason, metadata, _ = await refused(stub.UploadLogs(iter(batches)))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEQUENCE_GAP")
        assert metadata == {"sequence": "3", "expected_sequence": "2", "last_durable_sequence": "1"}
        assert process.log.synced.offset == 1


@pytest.mark.parametrize(
    ("producer", "sequence", "code", "reason"),
    [
        ("", 1, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        ("me", 0, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        ("new", 2, grpc.StatusCode.FAILED_PRECONDITION, "PRODUCER_UNKNOWN"),
        ("me", 1, grpc.StatusCode.ALREADY_EXISTS, "SEQUENCE_REUSED"),
        ("p" * 129, 1, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ],
)
async def test_a_wrong_producer_or_sequence_is_refused(
    running: Running, request_of: RequestOf, producer: str, sequence: int, code: grpc.StatusCode, reason: str
) -> None:
    async with running() as (process, stub):
        await stub.UploadLogs(iter([request_of("first", producer_id="me", sequence=1)]))
        found = await refused(stub.UploadLogs(iter([request_of("other", producer_id=producer, sequence=sequence)])))
        assert found[:2] == (code, reason)
        assert process.log.end_offset == 1


async def test_bytes_that_are_no_batch_are_refused(running: Running) -> None:
    async with running() as (process, _), grpc.aio.insecure_channel(process.server.address) as channel:
        upload = channel.stream_unary("/treering.v1.IngestService/UploadLogs")
        code, reason, _, _ = await refused(upload(iter([b"\x0a\x02\xff\xfe"])))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_BATCH")
        code, reason, metadata, _ = await refused(upload(iter([bytes(5_000_000)])))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
        assert metadata["limit_bytes"] == "4194304"


async def test_gzip_on_the_channel_is_understood(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        answer = await stub.UploadLogs(iter([request_of("a" * 10_000)]), compression=grpc.Compression.Gzip)
        assert answer.accepted_count == 1


def as_stream(request: UploadLogsRequest) -> StreamLogsRequest:
    return StreamLogsRequest.FromString(request.SerializeToString())


async def test_a_shipper_gets_cumulative_acknowledgements(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        call = stub.StreamLogs()
        for sequence in range(1, 101):
            await call.write(as_stream(request_of("a", "b", producer_id="me", sequence=sequence)))
        await call.done_writing()
        answers = [answer async for answer in call]
        sequences = [answer.last_durable_sequence for answer in answers]
        assert sequences == sorted(sequences)
        assert (sequences[-1], answers[-1].end_offset_exclusive) == (100, 200)
        assert sum(answer.accepted_count for answer in answers) == 200


async def test_a_shipper_is_acknowledged_while_its_stream_stays_open(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        call = stub.StreamLogs()
        for sequence in (1, 2, 3):
            await call.write(as_stream(request_of("a", producer_id="me", sequence=sequence)))
            assert (await call.read()).last_durable_sequence == sequence
        await call.write(as_stream(request_of("a", producer_id="me", sequence=3)))
        assert (await call.read()).duplicate_count == 1
        call.cancel()


async def test_a_shipper_that_breaks_is_acknowledged_first(running: Running, request_of: RequestOf) -> None:
    async with running() as (_, stub):
        call = stub.StreamLogs()
        await call.write(as_stream(request_of("a", producer_id="me", sequence=1)))
        await call.write(as_stream(request_of("a", producer_id="me", sequence=5)))
        assert (await call.read()).last_durable_sequence == 1
        _, reason, metadata, _ = await refused(call.read())
        assert (reason, metadata["expected_sequence"], metadata["last_durable_sequence"]) == ("SEQUENCE_GAP", "2", "1")


async def test_a_low_disk_refuses_keeps_answering_and_resumes(running: Running, request_of: RequestOf) -> None:
    async with running(disk_reserve_bytes=1) as (process, stub):
        guard = process.intake._disk
        guard._measure = lambda: 0
        guard._measured = 0.0
        code, reason, metadata, retry = await refused(stub.UploadLogs(iter([request_of("a")])))
        assert (code, reason, metadata["free_bytes"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW", "0")
        assert retry.retry_delay.seconds >= 1
        assert "free some space" in (await stub.GetIngestStatus(GetIngestStatusRequest())).refusing_because
        guard._measure, guard._measured = (lambda: 100), 0.0
        assert (await stub.UploadLogs(iter([request_of("a")]))).accepted_count == 1


@pytest.mark.parametrize("lack", [errno.EMFILE, errno.ENFILE])
async def test_without_a_descriptor_senders_hear_of_descriptors_and_all_goes_on_later(
    running: Running, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch, lack: int
) -> None:
    async with running(segment_bytes=2_000) as (process, stub):
        await stub.UploadLogs(iter([request_of("x" * 3_000, producer_id="me", sequence=1)]))  # the next one begins a segment
        create, lacking = process.log.files.create, [True]

        def creating(name: str) -> Any:
            if lacking:
                raise OSError(lack, os.strerror(lack))
            return create(name)

        monkeypatch.setattr(process.log.files, "create", creating)
        request = request_of("a", producer_id="me", sequence=2)
        for _ in range(2):
            code, reason, metadata, retry = await refused(stub.UploadLogs(iter([request])))
            assert (code, reason, metadata["limit"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "open_files")
            assert (retry.retry_delay.seconds, metadata["last_durable_sequence"]) == (5, "1")
        assert "ulimit -n" in (await stub.GetIngestStatus(GetIngestStatusRequest())).refusing_because
        lacking.clear()
        while process.committer.lack:
            await process.committer.advanced.wait()
        assert (await stub.UploadLogs(iter([request]))).duplicate_count == 1
        assert process.log.synced.offset == 2
        assert (await stub.GetIngestStatus(GetIngestStatusRequest())).refusing_because == ""


async def test_one_caller_has_half_of_the_streams_and_others_begin_beside_it(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        process.intake._max_streams = 2
        call = stub.StreamLogs()
        await call.write(as_stream(request_of("a")))
        await call.read()
        code, reason, metadata, _ = await refused(stub.UploadLogs(iter([request_of("a")])))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert metadata["limit"] == "max_streams_of_one_caller"
        own_connection = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(process.server.address, options=own_connection) as channel:
            assert (await IngestServiceStub(channel).UploadLogs(iter([request_of("a")]))).accepted_count == 1
        call.cancel()


async def test_too_many_streams_are_told_to_come_back(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        process.intake._max_streams = 1
        call = stub.StreamLogs()
        await call.write(as_stream(request_of("a")))
        await call.read()
        code, reason, metadata, retry = await refused(stub.UploadLogs(iter([request_of("a")])))
        assert (code, reason, metadata["limit"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "max_streams")
        assert retry is not None
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        while process.intake.stream_count:
            await process.intake.changed.wait()
        assert (await stub.UploadLogs(iter([request_of("a")]))).accepted_count == 1


async def test_what_waits_for_the_disk_is_bounded(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        process.intake._max_waiting_bytes = process.intake._max_wait_s = 0
        code, reason, metadata, retry = await refused(stub.UploadLogs(iter([request_of("a", producer_id="me", sequence=1)])))
        assert (code, reason, metadata["limit"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "max_waiting_bytes")
        assert retry is not None
        assert metadata["last_durable_sequence"] == "0"


async def test_batches_of_nothing_that_wait_are_bounded_as_well(running: Running) -> None:
    """Their payloads have no bytes; what is around them has."""
    async with running() as (process, _):
        intake, committer = process.intake, process.committer
        intake._max_waiting_bytes, intake._max_wait_s = 10 * BATCH_OVERHEAD_BYTES, 0
        nothing = check_batch(b"")
        for _ in range(10):  # no await of it lets the committer run
            await intake.take(nothing)
        with pytest.raises(ServiceError, match="bytes wait for the disk"):
            await intake.take(nothing)
        assert committer.staged_count == 10


async def test_the_status_is_complete(running: Running, request_of: RequestOf) -> None:
    async with running(sinks="query=unix:/no/such/directory/s") as (_, stub):
        await stub.UploadLogs(iter([request_of("a", producer_id="me", sequence=1)]))
        status = await stub.GetIngestStatus(GetIngestStatusRequest())
        unset = {field.name for field in status.DESCRIPTOR.fields} - {field.name for field, _ in status.ListFields()}
        assert unset == {"start_offset", "disk_reserve_bytes", "refusing_because"}
        assert (status.end_offset_exclusive, status.segment_count, status.producer_count) == (1, 1, 1)
        assert status.durability == DURABILITY_ALWAYS
        assert [(sink.name, sink.address, sink.connected, sink.lag_records) for sink in status.sinks] == [("query", "unix", False, 1)]
        assert status.limits["max_batch_bytes"] == 4 * 1024 * 1024


async def test_the_status_says_what_the_log_promises_where_that_is_less_than_the_disk(
    running: Running, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IngestProcess, "_open_log", lambda self: MemoryLog())
    async with running(durability="always") as (_, stub):
        await stub.UploadLogs(iter([request_of("a")]))
        status = await stub.GetIngestStatus(GetIngestStatusRequest())
        assert (status.end_offset_exclusive, status.durability) == (1, DURABILITY_MEMORY)


@pytest.mark.parametrize("messages", [["", ""], ["a", ""]])
async def test_a_repeat_is_measured_as_nothing_new(running: Running, request_of: RequestOf, messages: list[Any]) -> None:
    async with running() as (process, stub):
        request = request_of(*messages, producer_id="me", sequence=1)
        await stub.UploadLogs(iter([request]))
        text = generate_latest(process.registry).decode()
        await stub.UploadLogs(iter([request, request]))
        after = generate_latest(process.registry).decode()
    names = ("records_accepted_total", "bytes_accepted_total", 'records_rejected_total{reason="message_empty"}')
    for name in (f"treering_ingest_{each} " for each in names):
        assert [line for line in text.splitlines() if line.startswith(name)] == [
            line for line in after.splitlines() if line.startswith(name)
        ]


async def test_the_metrics_name_what_happened(running: Running, request_of: RequestOf) -> None:
    async with running(sinks="query=unix:/no/such/directory/s") as (process, stub):
        for _ in range(2):
            await stub.UploadLogs(iter([request_of("a", "", producer_id="me", sequence=1)]))
        text = generate_latest(process.registry).decode()
        for line in (
            "treering_ingest_records_accepted_total 1.0",
            "treering_ingest_records_duplicate_total 1.0",
            'treering_ingest_records_rejected_total{reason="message_empty"} 1.0',
            "treering_ingest_log_end_offset 1.0",
            "treering_ingest_group_records_count 1.0",
            'treering_ingest_sink_connected{sink="query"} 0.0',
            'treering_ingest_sink_lag_records{sink="query"} 1.0',
            "treering_ingest_producers 1.0",
            "treering_ingest_accepting 1.0",
        ):
            assert line in text.splitlines()


async def test_reflection_lists_the_service_and_its_messages(running: Running) -> None:
    async with running() as (process, _), grpc.aio.insecure_channel(process.server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest
        asked = [ask(list_services=""), ask(file_containing_symbol="treering.v1.IngestService")]
        listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
        assert "treering.v1.IngestService" in [service.name for service in listed.list_services_response.service]
        assert any(b"UploadLogsRequest" in raw for raw in described.file_descriptor_response.file_descriptor_proto)


async def test_a_drain_finishes_uploads_and_ends_shippers_with_what_is_durable(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        shipper, upload = stub.StreamLogs(), stub.UploadLogs()
        await shipper.write(as_stream(request_of("a", producer_id="shipper", sequence=1)))
        assert (await shipper.read()).last_durable_sequence == 1
        await upload.write(request_of("a", producer_id="upload", sequence=1))
        while process.log.end_offset < 2:
            await process.committer.advanced.wait()
        stopping = asyncio.create_task(process.stop(10))
        code, reason, metadata, _ = await refused(shipper.read())
        assert (code, reason, metadata) == (grpc.StatusCode.UNAVAILABLE, "DRAINING", {"last_durable_sequence": "1"})
        await upload.write(request_of("b", producer_id="upload", sequence=2))
        await upload.done_writing()
        assert (await upload).accepted_count == 2
        await stopping


async def test_an_upload_that_does_not_end_is_told_how_far_it_came(running: Running, request_of: RequestOf) -> None:
    async with running() as (process, stub):
        upload = stub.UploadLogs()
        await upload.write(request_of("a", producer_id="upload", sequence=1))
        while process.log.end_offset < 1:
            await process.committer.advanced.wait()
        stopping = asyncio.create_task(process.stop(0.5))
        code, reason, metadata, _ = await refused(upload)
        assert (code, reason, metadata) == (grpc.StatusCode.UNAVAILABLE, "DRAINING", {"last_durable_sequence": "1"})
        await stopping


async def test_a_failed_disk_acknowledges_nothing_more(running: Running, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (process, stub):
        await stub.UploadLogs(iter([request_of("a", producer_id="me", sequence=1)]))

        def fail() -> Never:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(process.log._active.file, "sync", fail)
        for sequence in (2, 3):
            code, reason, metadata, _ = await refused(stub.UploadLogs(iter([request_of("b", producer_id="me", sequence=sequence)])))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "LOG_FAILED")
            assert metadata == {"last_durable_sequence": "1"}
        assert "Input/output error" in (await stub.GetIngestStatus(GetIngestStatusRequest())).refusing_because


def test_both_requests_have_the_same_fields() -> None:
    fields = [[(f.name, f.number, f.type) for f in message.DESCRIPTOR.fields] for message in (UploadLogsRequest, StreamLogsRequest)]
    assert fields[0] == fields[1]


async def test_digests_that_wait_are_bounded_and_hold_up_no_upload(
    running: Running, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as (process, stub):
        await stub.UploadLogs(iter([request_of("a")]))
        may_go_on = threading.Event()
        digest = process._handlers._digester._digest
        monkeypatch.setattr(process._handlers._digester, "_digest", lambda *range_of: may_go_on.wait() and digest(*range_of))
        asked = DigestLogRequest(first_offset=0, end_offset_exclusive=1, step=1)
        flood = {asyncio.create_task(process._handlers.digest_log(asked, None)) for _ in range(60)}
        while len(flood) > MAX_WAITING_DIGESTS + 1:
            refused_ones, flood = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            assert {each.exception().reason for each in refused_ones} == {ErrorReason.ERROR_REASON_OVERLOADED}
        assert (await stub.UploadLogs(iter([request_of("b")]))).accepted_count == 1
        may_go_on.set()
        assert len(await asyncio.gather(*flood)) == MAX_WAITING_DIGESTS + 1
