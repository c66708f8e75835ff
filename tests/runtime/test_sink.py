import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.links import link_at, links_of
from treering.inner.version import PROTOCOL_VERSION
from treering.v1 import sink_pb2, sink_pb2_grpc
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest, DeliveryStart
from treering_runtime import sink as sink_module
from treering_runtime.chain import Chain
from treering_runtime.errors import ServiceError
from treering_runtime.holes import Hole, add_hole, read_holes
from treering_runtime.limits import MAX_LOGS
from treering_runtime.progress import ProgressBoard
from treering_runtime.server import Server
from treering_runtime.sink import SinkServicer, fresh_frames

if TYPE_CHECKING:
    from treering.v1.sink_pb2_grpc import SinkServiceAsyncStub

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

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        self.opened.append((log_id, log_start_offset))

    async def deliver(self, log_id: int, frames: Any, log_end_offset: Any) -> None:
        self.waiting.set()
        await self.room.wait()
        if self.error:
            raise self.error
        self.taken += [(frame.first_offset, frame.record_count) for frame in frames]
        self.board.update(log_id, next_offset=frames[-1].first_offset + frames[-1].record_count)


@asynccontextmanager
async def delivering(sink: Collects, registry: Any | None = None, directory: Path | None = None) -> "AsyncIterator[SinkServiceAsyncStub]":
    server = Server("127.0.0.1:0", ["treering.v1.SinkService"], CollectorRegistry())
    sink_pb2_grpc.add_SinkServiceServicer_to_server(SinkServicer(sink, registry or CollectorRegistry(), directory), server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield sink_pb2_grpc.SinkServiceStub(channel)
    await server.stop(0)


def start(log_id: int = LOG, log_start: int = 0, version: int = PROTOCOL_VERSION) -> DeliverLogsRequest:
    return DeliverLogsRequest(start=DeliveryStart(log_id=log_id, log_start_offset=log_start, protocol_version=version))


def frames(*spans: tuple[int, int]) -> DeliverLogsRequest:
    listed = [DeliveredFrame(first_offset=first, record_count=count) for first, count in spans]
    if not listed:
        return DeliverLogsRequest()
    return DeliverLogsRequest(frames=listed, log_end_offset=100, links=links_of(listed))


async def opened(
    stub: "SinkServiceAsyncStub", log_id: int = LOG
) -> "tuple[grpc.aio.StreamStreamCall[DeliverLogsRequest, sink_pb2.DeliverLogsResponse], Any]":
    call = stub.DeliverLogs()
    await call.write(start(log_id))
    return call, (await call.read()).progress


async def until(call: "grpc.aio.StreamStreamCall[DeliverLogsRequest, sink_pb2.DeliverLogsResponse]", **wanted: int) -> Any:
    """Reads progress until it is as wanted."""
    while True:
        progress = (await call.read()).progress
        if all(getattr(progress, name) == value for name, value in wanted.items()):
            return progress


async def test_a_delivery_begins_with_the_sink_s_progress() -> None:
    sink = Collects()
    sink.board.update(LOG, next_offset=9, visible_end=8, releasable_end=5, quarantined=2)
    async with delivering(sink) as stub:
        call, progress = await opened(stub)
        call.cancel()
    assert progress == sink_pb2.SinkProgress(log_id=LOG, next_offset=9, visible_end_offset=8, releasable_end_offset=5, quarantined_count=2)
    assert sink.opened == [(LOG, 0)]


async def test_frames_are_taken_in_order_and_reported() -> None:
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3), (3, 2)))
        await call.write(frames((5, 1)))
        await until(call, next_offset=6)
        call.cancel()
    assert sink.taken == [(0, 3), (3, 2), (5, 1)]


async def test_a_resumed_delivery_repeats_nothing() -> None:
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3)))
        await until(call, next_offset=3)
        call.cancel()
        call, progress = await opened(stub)
        assert progress.next_offset == 3
        await call.write(frames((0, 3)))
        await call.write(frames((3, 4)))
        await until(call, next_offset=7)
        call.cancel()
    assert sink.taken == [(0, 3), (3, 4)]


async def test_a_gap_is_refused_with_the_expected_offset() -> None:
    sink = Collects()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((0, 3), (4, 1)))
        with pytest.raises(grpc.aio.AioRpcError, match="frames begin at offset 4, expected 3") as caught:
            await until(call, next_offset=-1)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert sink.taken == []


async def test_a_delivery_without_start_is_refused() -> None:
    async with delivering(Collects()) as stub:
        call = stub.DeliverLogs()
        await call.write(frames((0, 1)))
        with pytest.raises(grpc.aio.AioRpcError, match="start") as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1])
async def test_a_delivery_of_another_version_is_refused_before_anything_of_it_is_believed(version: int) -> None:
    sink = Collects()
    async with delivering(sink) as stub:
        call = stub.DeliverLogs()
        await call.write(start(version=version))
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        said = f"version {version}" if version else "no version"
        assert f"the caller speaks {said} of the inner plane, this side version {PROTOCOL_VERSION}; run one release" in error.details()
        _, progress = await opened(stub)
        assert progress.next_offset == 0


async def test_the_first_answer_says_the_version() -> None:
    async with delivering(Collects()) as stub:
        call = stub.DeliverLogs()
        await call.write(start())
        assert (await call.read()).protocol_version == PROTOCOL_VERSION
        call.cancel()


async def test_a_message_that_brings_nothing_is_refused_and_the_delivery_begins_anew() -> None:
    """It may stand for a range that ingest had no memory to send: ignored, nobody would miss it before the next record comes."""
    sink = Stands()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames())
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "frames: is empty; deliver from next_offset"
        call, progress = await opened(stub)
        assert progress.next_offset == 10
        call.cancel()


async def test_an_empty_delivery_is_refused() -> None:
    async with delivering(Collects()) as stub:
        call = stub.DeliverLogs()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="start"):
            await call.read()


async def test_a_newer_delivery_of_the_same_log_ends_the_older() -> None:
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


async def test_a_newer_delivery_does_not_wait_for_a_sink_without_room() -> None:
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


async def test_a_silent_sink_still_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_later_progress_is_reported_without_a_new_frame() -> None:
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


async def test_a_fault_of_the_sink_ends_the_delivery_with_its_error() -> None:
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
def test_fresh_frames(spans: list[tuple[int, int]], next_offset: int, fresh: list[tuple[int, int]]) -> None:
    found = fresh_frames(frames(*spans).frames, next_offset)
    assert [(frame.first_offset, frame.record_count) for frame in found] == fresh


@pytest.mark.parametrize(("spans", "next_offset"), [([(1, 1)], 0), ([(0, 1), (2, 1)], 0), ([(0, 2), (3, 1)], 1)])
def test_fresh_frames_refuse_a_gap(spans: list[tuple[int, int]], next_offset: int) -> None:
    with pytest.raises(ServiceError, match="deliver from next_offset"):
        fresh_frames(frames(*spans).frames, next_offset)


async def test_freshness_counts_from_the_oldest_frame_of_a_delivery_to_when_the_sink_has_it() -> None:
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


async def test_a_frame_from_a_clock_that_is_ahead_is_fresh() -> None:
    registry = CollectorRegistry()
    delivered = frames((0, 1))
    delivered.frames[0].arrival_time_unix_nano = time.time_ns() + 10**12
    async with delivering(Collects(), registry) as stub:
        call, _ = await opened(stub)
        await call.write(delivered)
        await until(call, next_offset=1)
    assert registry.get_sample_value("treering_sink_freshness_seconds_sum") == 0


class Stands(Collects):
    """A sink that holds records 0 to 9 of the log, with their link."""

    def __init__(self, history: int = 0) -> None:
        super().__init__()
        self.board.update(LOG, next_offset=10, releasable_end=10)
        self.board.chain.restore(LOG, 10, link_at(10, history))

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        held = self.board.get(log_id).next_offset
        self.board.update(log_id, next_offset=max(held, log_start_offset))


async def refusal(call: "grpc.aio.StreamStreamCall[DeliverLogsRequest, sink_pb2.DeliverLogsResponse]") -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(5):
            await until(call, next_offset=-1)
    return caught.value


async def test_another_history_of_the_log_is_refused() -> None:
    sink = Stands(history=1)
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((10, 2)))
        error = await refusal(call)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "does not continue what is held below offset 10: another history" in error.details()
    assert (sink.taken, sink.board.get(LOG).next_offset) == ([], 10)


async def test_each_range_must_continue_the_one_before() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((10, 2)))
        await until(call, next_offset=12)
        forged = frames((12, 1))
        forged.links.before += 1
        await call.write(forged)
        assert "another history" in (await refusal(call)).details()
    assert sink.taken == [(10, 2)]


async def test_a_range_that_begins_before_the_sink_s_place_and_ends_behind_it_is_refused() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((8, 2), (10, 2)))
        assert "frames begin at offset 8, expected 10" in (await refusal(call)).details()
    assert sink.taken == []


async def test_frames_without_links_are_refused() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        bare = frames((10, 2))
        bare.ClearField("links")
        await call.write(bare)
        assert "links" in (await refusal(call)).details()
    assert sink.taken == []


async def test_without_a_link_the_first_range_is_taken_on_trust_and_the_next_is_not(logged: Callable[[], str]) -> None:
    sink = Stands()
    sink.board.chain = Chain()  # as a directory of an earlier version has it
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((10, 2)))
        await until(call, next_offset=12)
        forged = frames((12, 1))
        forged.links.before += 1
        await call.write(forged)
        assert "another history" in (await refusal(call)).details()
    assert "on trust" in logged()


async def test_a_sink_never_jumps_over_a_gap() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        error = await refusal(call)
    assert "30 records would be missing" in error.details()
    assert "treering store skip DIR 161 10 40" in error.details()
    assert (sink.opened, sink.board.get(LOG).next_offset) == ([], 10)


async def test_a_sink_that_is_new_begins_where_the_log_begins() -> None:
    sink = Collects()
    async with delivering(sink) as stub:
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        await call.read()
        call.cancel()
    assert sink.opened == [(LOG, 40)]


async def test_behind_an_operator_s_hole_a_sink_goes_on_and_counts_it(tmp_path: Path) -> None:
    sink = Stands()
    async with delivering(sink, directory=tmp_path) as stub:
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        assert "would be missing" in (await refusal(call)).details()
        add_hole(tmp_path, Hole(LOG, 10, 40))
        add_hole(tmp_path, Hole(LOG, 10, 40))
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        progress = (await call.read()).progress
        assert (progress.next_offset, progress.skipped_count) == (40, 30)
        await call.write(frames((40, 2)))
        await until(call, next_offset=42)
        call.cancel()
    assert read_holes(tmp_path) == [Hole(LOG, 10, 40)]


async def test_a_hole_is_for_its_own_gap_only(tmp_path: Path) -> None:
    sink = Stands()
    for hole in (Hole(LOG, 10, 39), Hole(LOG, 9, 40), Hole(LOG + 1, 10, 40)):
        add_hole(tmp_path, hole)
    async with delivering(sink, directory=tmp_path) as stub:
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        assert "would be missing" in (await refusal(call)).details()
    assert sink.board.get(LOG).next_offset == 10


async def test_the_number_of_logs_is_bounded() -> None:
    sink = Stands()
    for number in range(MAX_LOGS - 1):
        sink.board.update(1_000 + number, next_offset=1)
    async with delivering(sink) as stub:
        call = stub.DeliverLogs()
        await call.write(start(log_id=0xB2))
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "has followed 64 logs already" in error.details()
        call, progress = await opened(stub)
        assert progress.next_offset == 10
        call.cancel()


async def test_a_start_that_is_refused_does_not_end_the_delivery_that_runs() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        honest, _ = await opened(stub)
        other = stub.DeliverLogs()
        await other.write(start(log_start=40))
        assert "would be missing" in (await refusal(other)).details()
        await honest.write(frames((10, 2)))
        await until(honest, next_offset=12)
        honest.cancel()
