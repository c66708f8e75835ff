"""Delivery against real sinks: the servicer that embed and query use, over real sockets."""

import asyncio
import itertools
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.ingest.conftest import OpenLog, RequestOf, Running
from tests.settling import settled
from treering.inner import InnerAddress
from treering.inner.version import PROTOCOL_VERSION
from treering.v1 import sink_pb2_grpc
from treering.v1.admin_pb2 import DigestLogRequest
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import GetIngestStatusRequest, UploadLogsRequest, UploadLogsResponse
from treering.v1.log_pb2 import RangeDigest
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliverLogsResponse, SinkProgress
from treering_ingest import delivered as delivered_module
from treering_ingest import delivery as delivery_module
from treering_ingest.digest import LogDigester
from treering_ingest.durable_log import Range
from treering_ingest.process import IngestProcess
from treering_ingest.wal import LogCursor
from treering_runtime.doors import Socket
from treering_runtime.errors import StartError
from treering_runtime.limits import MAX_WAITING_DIGESTS
from treering_runtime.progress import ProgressBoard
from treering_runtime.server import Server
from treering_runtime.sink import SinkServicer

if TYPE_CHECKING:
    from treering.v1.ingest_pb2_grpc import IngestServiceAsyncStub


class Keeps:
    """A sink that keeps messages. What it holds outlives a restart up to `durable`."""

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.messages = []
        self.log_end = 0
        self.starts = []
        self.room = asyncio.Event()
        self.room.set()
        self.requests = 0

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        self.starts.append(log_start_offset)
        self.board.update(log_id, next_offset=max(len(self.messages), log_start_offset))

    async def deliver(self, log_id: Any, frames: Any, log_end_offset: Any) -> None:
        await self.room.wait()
        self.requests += 1
        for frame in frames:
            records = LogBatch.FromString(frame.payload).records
            assert len(records) == frame.record_count
            self.messages += [record.message for record in records[max(0, len(self.messages) - frame.first_offset) :]]
        end = len(self.messages)
        self.log_end = log_end_offset
        self.board.update(log_id, next_offset=end, visible_end=end, releasable_end=end)

    async def holds(self, log_id: int, offset: int) -> None:
        await self.board.wait_visible([type("Position", (), {"log_id": log_id, "offset": offset})()], 20)


_PLACES: list[Iterator[Path]] = []


@pytest.fixture(autouse=True)
def places(tmp_path: Path) -> Iterator[None]:
    """Where `serving` puts sockets: each in a directory of its own."""
    _PLACES.append(tmp_path / f"sink-{number}" / "s" for number in itertools.count())
    yield
    _PLACES.pop()


@asynccontextmanager
async def serving(sink: Keeps | None, address: str = "", servicer: "Any" = None) -> AsyncIterator[str]:
    place = InnerAddress.parse(address).path if address else next(_PLACES[-1])
    server = Server(Socket(place, "sink"), ["treering.v1.SinkService"], CollectorRegistry())
    sink_pb2_grpc.add_SinkServiceServicer_to_server(servicer or SinkServicer(sink, CollectorRegistry()), server.grpc)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop(0)


async def until(condition: Any, process: IngestProcess) -> None:
    """Waits for a condition that changes with deliveries."""
    async with asyncio.timeout(20):
        while not condition():
            await process.sinks_changed.wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "RECONNECT_FIRST_S", 0.005)
    monkeypatch.setattr(delivery_module, "RECONNECT_MAX_S", 0.02)


def numbered(request_of: Callable[..., UploadLogsRequest], first: int, count: int, sequence: int) -> Any:
    return request_of(*[f"record {number}" for number in range(first, first + count)], producer_id="me", sequence=sequence)


async def upload(
    stub: "IngestServiceAsyncStub",
    request_of: Callable[..., UploadLogsRequest],
    first: int,
    batches: int,
    per_batch: int,
    first_sequence: int = 1,
) -> UploadLogsResponse:
    requests = [numbered(request_of, first + i * per_batch, per_batch, first_sequence + i) for i in range(batches)]
    return await stub.UploadLogs(iter(requests))


async def test_every_sink_gets_every_record_once_and_in_order(running: Running, request_of: RequestOf, impatient: None) -> None:
    one, other = Keeps(), Keeps()
    async with (
        serving(one) as first,
        serving(other) as second,
        running(sinks=f"one={first},other={second}", segment_bytes=4_000) as (process, stub),
    ):
        for round_ in range(5):
            await upload(stub, request_of, round_ * 60, 6, 10, 1 + round_ * 6)
        for sink in (one, other):
            await sink.holds(process.log.log_id, 300)
            assert sink.messages == [f"record {number}" for number in range(300)]
        assert len(process.log.segments) > 1
        await until(lambda: all(it.state.progress.releasable_end_offset == 300 for it in process.deliveries), process)
        status = await stub.GetIngestStatus(GetIngestStatusRequest())
        assert [(it.connected, it.last_error, it.lag_records, it.next_offset) for it in status.sinks] == [(True, "", 0, 300)] * 2


async def test_small_frames_travel_together(running: Running, request_of: RequestOf, impatient: None) -> None:
    sink = Keeps()
    async with running() as (process, stub):
        await upload(stub, request_of, 0, 500, 2)
    async with serving(sink) as address, running(sinks=f"sink={address}") as (process, _):
        await sink.holds(process.log.log_id, 1_000)
        assert sink.requests == 1


async def test_a_sink_that_comes_late_gets_everything(running: Running, request_of: RequestOf, impatient: None) -> None:
    sink = Keeps()
    async with serving(sink) as address:
        pass
    async with running(sinks=f"sink={address}") as (process, stub):
        await upload(stub, request_of, 0, 5, 10)
        await until(lambda: process.deliveries[0].state.last_error.startswith("UNAVAILABLE"), process)
        async with serving(sink, address):
            await sink.holds(process.log.log_id, 50)
            assert sink.messages == [f"record {number}" for number in range(50)]


async def test_a_sink_that_restarts_and_forgot_its_memory_is_fed_again(running: Running, request_of: RequestOf, impatient: None) -> None:
    sink = Keeps()
    async with serving(sink) as address, running(sinks=f"sink={address}") as (process, stub):
        await upload(stub, request_of, 0, 5, 10)
        await sink.holds(process.log.log_id, 50)
        await upload(stub, request_of, 50, 1, 10, 6)
        await sink.holds(process.log.log_id, 60)
        log_id = process.log.log_id
        again = KeepsLink(log_id, sink.messages[:20], await link_in(process, 20))
    async with serving(again, address), running(sinks=f"sink={address}") as (process, _):
        assert process.log.log_id == log_id
        await again.holds(log_id, 60)
        assert again.messages == [f"record {number}" for number in range(60)]


async def test_a_slow_sink_slows_neither_the_door_nor_the_other_sink(
    running: Running, request_of: RequestOf, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = Keeps(), Keeps()
    slow.room.clear()
    async with serving(slow) as first, serving(fast) as second, running(sinks=f"slow={first},fast={second}") as (process, stub):
        text = "x" * 10_000
        for sequence in range(1, 61):
            await stub.UploadLogs(iter([request_of(*[text] * 50, producer_id="me", sequence=sequence)]))
        await fast.holds(process.log.log_id, 3_000)
        assert slow.messages == []
        assert process.deliveries[0].state.connected
        slow.room.set()
        await slow.holds(process.log.log_id, 3_000)
        assert len(slow.messages) == 3_000


async def test_what_is_in_flight_is_bounded(
    running: Running, request_of: RequestOf, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = delivery_module._Window(100, 0)
    window.sent(10, 60)
    await window.wait_for_room()
    window.sent(20, 60)
    waiting = asyncio.create_task(window.wait_for_room())
    window.held(9)
    await settled()
    assert not waiting.done()
    window.held(10)
    await waiting


class Scripted(sink_pb2_grpc.SinkServiceServicer):
    """A sink that says given offsets and then keeps silent; with one offset it says that one twice."""

    def __init__(self, *offsets: int, log_id: int | None = None, claim: str = "next_offset", version: int = PROTOCOL_VERSION) -> None:
        self.offsets = offsets
        self.version = version
        self.claim = claim
        self.log_id = log_id
        self.calls = 0

    async def DeliverLogs(
        self, request_iterator: AsyncIterator[DeliverLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[DeliverLogsResponse]:
        first = await anext(request_iterator)
        self.calls += 1
        for offset in self.offsets * 2 if len(self.offsets) == 1 else self.offsets:
            yield DeliverLogsResponse(
                protocol_version=self.version, progress=SinkProgress(log_id=self.log_id or first.start.log_id, **{self.claim: offset})
            )
        await asyncio.Event().wait()


@pytest.mark.parametrize("offsets", [(7,), (0, 7)], ids=["at the start", "in the middle"])
@pytest.mark.parametrize("claim", ["next_offset", "releasable_end_offset"])
async def test_a_sink_that_claims_what_it_never_got_is_cut_off_and_at_the_start_no_offset_is_given_out(
    running: Running, request_of: RequestOf, impatient: None, logged: Callable[[], str], offsets: tuple[int] | tuple[int, int], claim: str
) -> None:
    sink = Scripted(*offsets, claim=claim)
    async with serving(None, servicer=sink) as address, running(sinks=f"sink={address}") as (process, stub):
        state = process.deliveries[0].state
        await until(lambda: state.ahead and "claims" in state.last_error, process)
        if len(offsets) == 1:  # the log may have lost these: another record at their offsets would be deleted as safe in the sink
            with pytest.raises(grpc.aio.AioRpcError, match="SINK_AHEAD") as refused:
                await stub.UploadLogs(iter([request_of("a")]))
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        else:
            assert (await stub.UploadLogs(iter([request_of("a")]))).accepted_count == 1
        # what it claims to have safe deletes nothing
        assert (state.progress.next_offset, state.progress.releasable_end_offset) == (0, 0)
        if len(offsets) == 1:
            status = await stub.GetIngestStatus(GetIngestStatusRequest())
            assert (status.refusing_because == state.ahead.message, status.sinks[0].is_ahead) == (True, True)
            assert "up to offset 7, but it was delivered up to" in status.sinks[0].last_error
            assert "move" not in status.sinks[0].last_error
            assert process.registry.get_sample_value("treering_ingest_sink_ahead", {"sink": "sink"}) == 1
        sink.offsets = (0,)
        await until(lambda: state.connected and not state.ahead, process)
        assert (await stub.UploadLogs(iter([request_of("b")]))).accepted_count == 1
    assert "claims log" in logged()


class KeepsLink(Keeps):
    """A sink that has part of the log, with its link."""

    def __init__(self, log_id: int, messages: list[Any], link: int) -> None:
        super().__init__()
        self.messages = messages
        self.board.update(log_id, next_offset=len(messages))
        self.board.chain.restore(log_id, len(messages), link)


async def link_in(process: IngestProcess, offset: int) -> int:
    reader = LogCursor(process.log, offset)
    try:
        return reader.read_range(1).link_before
    finally:
        reader.close()


@pytest.mark.parametrize("segment_bytes", [5_000, 64 * 2**20], ids=["many segments", "one segment"])
async def test_the_link_is_the_same_wherever_a_delivery_begins(
    running: Running, request_of: RequestOf, impatient: None, segment_bytes: int
) -> None:
    async with running(segment_bytes=segment_bytes) as (process, stub):
        for batch in range(40):
            await upload(stub, request_of, batch * 10, 1, 10, first_sequence=2 * batch + 1)
            await stub.UploadLogs(iter([request_of("", producer_id="me", sequence=2 * batch + 2)]))  # a frame without records
        whole = LogCursor(process.log, 0).read(2**30)
        assert len(whole) == 40
        for before, frame in itertools.pairwise(whole):
            assert await link_in(process, frame.first_offset) == before.link


async def test_a_sink_with_another_history_takes_nothing_and_one_with_this_history_goes_on(
    running: Running, request_of: RequestOf, impatient: None
) -> None:
    async with running() as (process, stub):
        await upload(stub, request_of, 0, 3, 10)
        log_id, link = process.log.log_id, await link_in(process, 20)
    held = [f"record {number}" for number in range(20)]
    honest, other = KeepsLink(log_id, list(held), link), KeepsLink(log_id, list(held), link ^ 1)
    async with serving(honest) as first, serving(other) as second, running(sinks=f"honest={first},other={second}") as (process, stub):
        await honest.holds(log_id, 30)
        await until(lambda: "another history" in process.deliveries[1].state.last_error, process)
        assert other.messages == held
        assert (await stub.UploadLogs(iter([numbered(request_of, 30, 1, 4)]))).accepted_count == 1


async def test_a_log_that_lost_what_was_delivered_is_refused_at_the_start(
    running: Running, request_of: RequestOf, impatient: None, tmp_path: Path
) -> None:
    sink = Keeps()
    async with serving(sink) as address, running(sinks=f"sink={address}") as (process, stub):
        await upload(stub, request_of, 0, 2, 10)
        await until(lambda: process.deliveries[0].state.progress.next_offset == 20, process)
    for file in (tmp_path / "wal").glob("*.wal"):
        content = file.read_bytes()
        file.write_bytes(content[: content.rindex(b"TRFR")])
    with pytest.raises(StartError, match="ends at offset 10, but was delivered up to 20"):
        async with running():
            pass


async def test_what_is_sent_is_noted_before_so_that_no_sink_is_ever_further_than_the_note(
    running: Running, request_of: RequestOf, impatient: None, tmp_path: Path
) -> None:
    noted = []

    class Looks(Keeps):
        async def deliver(self, log_id: Any, frames: Any, log_end_offset: Any) -> None:
            note = json.loads((tmp_path / "DELIVERED").read_text())
            noted.append((frames[-1].first_offset + frames[-1].record_count, note["offset"]))
            await super().deliver(log_id, frames, log_end_offset)

    async with serving(Looks()) as address, running(sinks=f"sink={address}") as (process, stub):
        for number in range(5):
            end = (await upload(stub, request_of, number * 10, 1, 10, first_sequence=number + 1)).end_offset_exclusive
            await until(lambda end=end: process.deliveries[0].state.progress.next_offset == end, process)
    assert noted
    assert [(end, note) for end, note in noted if note < end] == []


async def test_a_new_log_is_not_held_to_the_note_of_an_old_one(running: Running, tmp_path: Path) -> None:
    (tmp_path / "DELIVERED").write_text('{"log_id": "00000000000000aa", "offset": 99}')
    async with running() as (process, _):
        assert process.log.end_offset == 0


async def test_a_note_that_is_closed_while_it_is_synced_is_not_closed_under_the_sync(
    opened: OpenLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release, ended, synced, fdatasync = threading.Event(), threading.Event(), threading.Event(), [], os.fdatasync

    def slow(descriptor: int | Any) -> None:
        entered.set()
        assert release.wait(20)
        try:
            fdatasync(descriptor)
            synced.append(descriptor)
        finally:
            ended.set()

    monkeypatch.setattr(delivered_module, "fdatasync", slow)
    with opened() as log:
        note = delivered_module.DeliveredNote(tmp_path / "DELIVERED", log)
        syncing = asyncio.create_task(note.run())
        note.sending(1)
        assert await asyncio.to_thread(entered.wait, 20)
        syncing.cancel()
        await asyncio.wait({syncing})
        note.close()
        monkeypatch.setattr(delivered_module, "fdatasync", fdatasync)
        release.set()
        assert await asyncio.to_thread(ended.wait, 20)
    assert len(synced) == 1


async def test_digests_that_wait_for_their_turn_hold_up_no_delivery(
    running: Running, request_of: RequestOf, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, fill, sink = threading.Event(), LogDigester._fill, Keeps()
    loop, entered = asyncio.get_running_loop(), asyncio.Event()

    def slow(digester: LogDigester, runs: list[RangeDigest], step: int) -> str:
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(20)
        return fill(digester, runs, step)

    loop.set_default_executor(ThreadPoolExecutor(1))  # on a machine with few threads
    monkeypatch.setattr(LogDigester, "_fill", slow)
    async with serving(sink) as address, running(sinks=f"sink={address}") as (process, stub):
        await upload(stub, request_of, 0, 1, 10)
        asked = DigestLogRequest(end_offset_exclusive=10, step=10)
        calls = [asyncio.create_task(process._handlers.digest_log(asked, None)) for _ in range(MAX_WAITING_DIGESTS + 1)]
        await entered.wait()
        try:
            await upload(stub, request_of, 10, 5, 10, 2)
            await sink.holds(process.log.log_id, 60)
            async with asyncio.timeout(10):  # what runs on the threads that all share
                await asyncio.to_thread(release.is_set)
        finally:
            release.set()
        for call in calls[8:]:
            call.cancel()
        answers = await asyncio.gather(*calls[:8])
        assert {answer.ranges[0].record_count for answer in answers} == {10}


async def test_a_hung_sink_is_found_by_its_silence_and_called_again(
    running: Running, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Scripted(0)
    async with serving(None, servicer=sink) as address, running(sinks=f"sink={address}") as (process, _):
        process.deliveries[0]._silence_s = 0.05
        await until(lambda: sink.calls >= 3, process)
        await until(lambda: "the sink hangs" in process.deliveries[0].state.last_error, process)


async def test_a_sink_that_speaks_of_another_log_is_refused(running: Running, impatient: None) -> None:
    async with serving(None, servicer=Scripted(0, log_id=1)) as address, running(sinks=f"sink={address}") as (process, _):
        await until(lambda: "speaks of log 1" in process.deliveries[0].state.last_error, process)


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1])
async def test_a_sink_of_another_version_gets_nothing_and_the_log_keeps_everything(running: Running, impatient: None, version: int) -> None:
    sink = Scripted(0, version=version)
    async with serving(None, servicer=sink) as address, running(sinks=f"sink={address}") as (process, _):
        state = process.deliveries[0].state
        await until(lambda: state.refusing, process)
        said = f"version {version}" if version else "no version"
        assert state.last_error.startswith(
            f"the sink speaks {said} of the inner plane, this side version {PROTOCOL_VERSION}; run one release"
        )
        assert (state.connected, state.releasable_end) == (False, 0)
        sink.version = PROTOCOL_VERSION
        await until(lambda: state.connected and not state.refusing, process)


async def test_segments_go_once_every_sink_has_them_safe(running: Running, request_of: RequestOf, impatient: None) -> None:
    one, other = Keeps(), Keeps()
    other.room.clear()
    changes = {"segment_bytes": 2_000, "retain_min_seconds": 0, "retain_min_bytes": 0}
    async with serving(one) as first, serving(other) as second, running(sinks=f"one={first},other={second}", **changes) as (process, stub):
        for sequence in range(1, 31):
            await upload(stub, request_of, 10 * sequence, 1, 10, sequence)
        await one.holds(process.log.log_id, 300)
        await process._retention.trim()
        assert process.log.start_offset == 0
        other.room.set()
        await other.holds(process.log.log_id, 300)
        await until(lambda: all(it.state.progress.releasable_end_offset == 300 for it in process.deliveries), process)
        await process._retention.trim()
        assert 0 < process.log.start_offset < 300
        assert len(process.log.segments) == 1
        fresh = Keeps()
        start = process.log.start_offset
    async with serving(fresh, first), running(sinks=f"one={first}") as (process, _):
        await until(lambda: fresh.starts, process)
        assert fresh.starts[0] == start


async def test_a_range_that_there_is_no_memory_to_send_comes_with_the_next_delivery(
    running: Running, request_of: RequestOf, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not with the next record: the log is idle."""
    original, lacks = delivery_module._request, iter([True])

    def request(part: Range, log_end_offset: int) -> object:
        return object() if next(lacks, False) else original(part, log_end_offset)  # what cannot be serialised

    monkeypatch.setattr(delivery_module, "_request", request)
    sink, came = Keeps(), []

    class Noting(SinkServicer):
        async def DeliverLogs(
            self,
            request_iterator: AsyncIterator[DeliverLogsRequest],
            context: "grpc.aio.ServicerContext[DeliverLogsRequest, DeliverLogsResponse]",
        ) -> AsyncIterator[DeliverLogsResponse]:
            async def noted() -> AsyncIterator[DeliverLogsRequest]:
                async for request in request_iterator:
                    came.append(request)
                    yield request

            async for progress in super().DeliverLogs(noted(), context):
                yield progress

    noting = Noting(sink, CollectorRegistry())
    async with serving(sink, servicer=noting) as address, running(sinks=f"one={address}") as (_process, stub):
        answer = await upload(stub, request_of, 0, 1, 10)
        await sink.holds(answer.log_id, 10)
    assert all(request.HasField("start") or request.frames for request in came)
    assert next(lacks, "met") == "met"
    assert sink.messages == [f"record {number}" for number in range(10)]


@pytest.mark.parametrize("error", [asyncio.InvalidStateError("RPC already finished."), ZeroDivisionError("nobody foresaw this")])
async def test_a_call_that_is_over_in_the_middle_of_a_write_is_followed_by_a_new_one(
    running: Running,
    request_of: RequestOf,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    error: asyncio.exceptions.InvalidStateError | ZeroDivisionError,
) -> None:
    class DyingCall:
        """As gRPC's call when the peer is killed between two writes: the write fails first, the read has not noticed yet."""

        def __init__(self, call: Any) -> None:
            self._call, self._writes = call, 0
            self.read, self.cancel = call.read, call.cancel

        async def write(self, request: Any) -> None:
            self._writes += 1
            if self._writes == 2:
                raise error
            await self._call.write(request)

    class Stub:
        calls = 0

        def __init__(self, channel: Any) -> None:
            self._stub = delivery_stub(channel)

        def DeliverLogs(self) -> Any:
            Stub.calls += 1
            call = self._stub.DeliverLogs()
            return DyingCall(call) if Stub.calls == 1 else call

    delivery_stub = delivery_module.SinkServiceStub
    monkeypatch.setattr(delivery_module, "SinkServiceStub", Stub)
    sink = Keeps()
    async with serving(sink) as address, running(sinks=f"one={address}") as (_process, stub):
        answer = await upload(stub, request_of, 0, 3, 10)
        await sink.holds(answer.log_id, 30)
    assert sink.messages == [f"record {number}" for number in range(30)]
    assert Stub.calls >= 2
