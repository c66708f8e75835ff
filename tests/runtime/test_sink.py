import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import pytest
from prometheus_client import CollectorRegistry

from treering.v1 import sink_pb2, sink_pb2_grpc
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest, DeliveryStart
from treering_runtime import sink as sink_module
from treering_runtime.errors import ServiceError
from treering_runtime.progress import ProgressBoard
from treering_runtime.server import Server
from treering_runtime.sink import SinkServicer, fresh_frames

LOG = 0xA1


class Collects:
    """A sink that keeps what it gets; it takes a frame only while it has room."""

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.opened = []
        self.taken = []
        self.room = asyncio.Event()
        self.room.set()
        self.waiting = asyncio.Event()
        self.error = None

    async def open_log(self, log_id, log_start_offset):
        self.opened.append((log_id, log_start_offset))

    async def deliver(self, log_id, frames, log_end_offset):
        self.waiting.set()
        await self.room.wait()
        if self.error:
            raise self.error
        self.taken += [(frame.first_offset, frame.record_count) for frame in frames]
        self.board.update(log_id, next_offset=frames[-1].first_offset + frames[-1].record_count)


@asynccontextmanager
async def delivering(sink, registry=None):
    server = Server("127.0.0.1:0", ["treering.v1.SinkService"], CollectorRegistry())
    sink_pb2_grpc.add_SinkServiceServicer_to_server(SinkServicer(sink, registry or CollectorRegistry()), server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield sink_pb2_grpc.SinkServiceStub(channel)
    await server.stop(0)


def start(log_id=LOG, log_start=0):
    return DeliverLogsRequest(start=DeliveryStart(log_id=log_id, log_start_offset=log_start))


def frames(*spans):
    listed = [DeliveredFrame(first_offset=first, record_count=count) for first, count in spans]
    return DeliverLogsRequest(frames=listed, log_end_offset=100)


async def opened(stub, log_id=LOG):
    call = stub.DeliverLogs()
    await call.write(start(log_id))
    return call, (await call.read()).progress


async def until(call, **wanted):
    """Reads progress until it is as wanted."""
    while True:
        progress = (await call.read()).progress
        if all(getattr(progress, name) == value for name, value in wanted.items()):
            return progress


async def test_a_delivery_begins_with_the_sink_s_progress():
    sink = Collects()
    sink.board.update(LOG, next_offset=9, visible_end=8, releasable_end=5, quarantined=2)
    async with delivering(sink) as stub:
        call, progress = await opened(stub)
        call.cancel()
    assert progress == sink_pb2.SinkProgress(log_id=LOG, next_offset=9, visible_end_offset=8, releasable_end_offset=5, quarantined_count=2)
    assert sink.opened == [(LOG, 0)]


async def test_frames_are_taken_in_order_and_reported():
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3), (3, 2)))
        await call.write(frames((5, 1)))
        await until(call, next_offset=6)
        call.cancel()
    assert sink.taken == [(0, 3), (3, 2), (5, 1)]


async def test_a_resumed_delivery_repeats_nothing():
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3)))
        await until(call, next_offset=3)
        call.cancel()
        call, progress = await opened(stub)
        assert progress.next_offset == 3
        await call.write(frames((0, 3), (3, 4)))
        await until(call, next_offset=7)
        call.cancel()
    assert sink.taken == [(0, 3), (3, 4)]


async def test_a_gap_is_refused_with_the_expected_offset():
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3), (4, 1)))
        with pytest.raises(grpc.aio.AioRpcError, match="frames begin at offset 4, expected 3") as caught:
            await until(call, next_offset=-1)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert sink.taken == []


async def test_a_delivery_without_start_is_refused():
    async with delivering(Collects()) as stub:
        call = stub.DeliverLogs()
        await call.write(frames((0, 1)))
        with pytest.raises(grpc.aio.AioRpcError, match="start") as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_empty_delivery_is_refused():
    async with delivering(Collects()) as stub:
        call = stub.DeliverLogs()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="start"):
            await call.read()


async def test_a_newer_delivery_of_the_same_log_ends_the_older():
    sink = Collects()
    async with delivering(sink) as stub:
        older, _ = await opened(stub)
        other_log, _ = await opened(stub, log_id=0xB2)
        newer, _ = await opened(stub)
        while await older.read() is not grpc.aio.EOF:
            pass
        await newer.write(frames((0, 2)))
        await until(newer, next_offset=2)
        await other_log.write(frames((0, 1)))
        await until(other_log, next_offset=1)
        newer.cancel()
        other_log.cancel()
    assert sink.taken == [(0, 2), (0, 1)]


async def test_a_newer_delivery_does_not_wait_for_a_sink_without_room():
    sink = Collects()
    sink.room.clear()
    async with delivering(sink) as stub:
        older, _ = await opened(stub)
        await older.write(frames((0, 1)))
        await sink.waiting.wait()
        newer, progress = await opened(stub)
        assert progress.next_offset == 0
        sink.room.set()
        await newer.write(frames((0, 1)))
        await until(newer, next_offset=1)
        newer.cancel()
    assert sink.taken == [(0, 1)]


async def test_a_silent_sink_still_gives_signs_of_life(monkeypatch):
    monkeypatch.setattr(sink_module, "PROGRESS_INTERVAL_S", 0.001)
    sink = Collects()
    sink.room.clear()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 1)))
        await sink.waiting.wait()
        async with asyncio.timeout(60):
            assert [(await call.read()).progress.next_offset for _ in range(5)] == [0] * 5
        call.cancel()


async def test_later_progress_is_reported_without_a_new_frame():
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3)))
        await until(call, next_offset=3)
        sink.board.update(LOG, visible_end=3)
        await until(call, visible_end_offset=3)
        sink.board.update(LOG, releasable_end=3)
        await until(call, releasable_end_offset=3)
        call.cancel()


async def test_a_fault_of_the_sink_ends_the_delivery_with_its_error():
    sink = Collects()
    sink.error = ValueError("the disk burns")
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 1)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until(call, next_offset=1)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "burns" not in caught.value.details()


@pytest.mark.parametrize(
    ("spans", "next_offset", "fresh"),
    [
        ([], 5, []),
        ([(0, 3), (3, 2)], 0, [(0, 3), (3, 2)]),
        ([(0, 3), (3, 2)], 3, [(3, 2)]),
        ([(0, 3), (3, 2)], 4, [(3, 2)]),
        ([(0, 3), (3, 2)], 5, []),
        ([(0, 3), (3, 0), (3, 2)], 0, [(0, 3), (3, 2)]),
        ([(0, 3), (0, 3), (3, 1)], 0, [(0, 3), (3, 1)]),
    ],
)
def test_fresh_frames(spans, next_offset, fresh):
    found = fresh_frames(frames(*spans).frames, next_offset)
    assert [(frame.first_offset, frame.record_count) for frame in found] == fresh


@pytest.mark.parametrize(("spans", "next_offset"), [([(1, 1)], 0), ([(0, 1), (2, 1)], 0), ([(0, 2), (3, 1)], 1)])
def test_fresh_frames_refuse_a_gap(spans, next_offset):
    with pytest.raises(ServiceError, match="deliver from next_offset"):
        fresh_frames(frames(*spans).frames, next_offset)


async def test_freshness_counts_from_the_oldest_frame_of_a_delivery_to_when_the_sink_has_it():
    registry, sink = CollectorRegistry(), Collects()
    delivered = frames((0, 3), (3, 2))
    for frame, age_s in zip(delivered.frames, (40, 0.2), strict=True):
        frame.arrival_time_unix_nano = time.time_ns() - int(age_s * 1e9)
    async with delivering(sink, registry) as stub:
        call, _ = await opened(stub)
        await call.write(delivered)
        await until(call, next_offset=5)
    name = "treering_sink_freshness_seconds"
    assert [registry.get_sample_value(f"{name}_bucket", {"le": le}) for le in ("30.0", "60.0", "+Inf")] == [0, 1, 1]


async def test_a_frame_from_a_clock_that_is_ahead_is_fresh():
    registry = CollectorRegistry()
    delivered = frames((0, 1))
    delivered.frames[0].arrival_time_unix_nano = time.time_ns() + 10**12
    async with delivering(Collects(), registry) as stub:
        call, _ = await opened(stub)
        await call.write(delivered)
        await until(call, next_offset=1)
    assert registry.get_sample_value("treering_sink_freshness_seconds_sum") == 0
