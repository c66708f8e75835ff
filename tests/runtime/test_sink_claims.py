"""What a sink believes of a log: where it begins, its links, its order; and an operator's holes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.cancelling import drained
from tests.links import link_at
from tests.runtime.test_sink import LOG, Collects, Stands, delivering, frames, opened, refusal, start, until
from tests.settling import settled
from treering.v1.sink_pb2 import DeliverLogsRequest
from treering_runtime.errors import StartError
from treering_runtime.holes import Hole, Holes, add_hole, skipped_count
from treering_runtime.limits import MAX_LOGS
from treering_runtime.sink import SinkServicer


class Begins(Collects):
    """A sink that goes on behind a hole, and begins where a log begins."""

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        self.board.update(log_id, next_offset=max(self.board.get(log_id).next_offset, log_start_offset))


async def test_a_sink_that_holds_nothing_of_a_log_begins_where_it_is_told_whatever_it_was_told_before() -> None:
    async with delivering(Begins()) as stub:
        for told in (40, 60, 0, 2**62, 20):
            call = stub.DeliverLogs()
            await call.write(start(log_start=told))
            assert (await call.read()).progress.next_offset == told
        await call.write(frames((20, 2)))
        await until(call, next_offset=22)
        call = stub.DeliverLogs()
        await call.write(start(log_start=60))
        assert "38 records would be missing" in (await refusal(call)).details()


async def test_logs_of_which_nothing_arrived_do_not_count() -> None:
    sink = Begins()
    async with delivering(sink) as stub:
        for log_id in range(1, 2 * MAX_LOGS):
            call = stub.DeliverLogs()
            await call.write(start(log_id, log_start=7))
            await call.read()
            call.cancel()
        call, _ = await opened(stub)
        await call.write(frames((0, 2)))
        await until(call, next_offset=2)
        async with asyncio.timeout(20):
            while sink.board.log_ids() != [LOG]:
                await sink.board.wait_change(sink.board.version, 20)
        call.cancel()


class OpensSlowly(Stands):
    """A sink whose `open_log` waits."""

    def __init__(self) -> None:
        super().__init__()
        self.opening = asyncio.Event()
        self.may_open = asyncio.Event()

    async def open_log(self, log_id: Any, log_start_offset: Any) -> None:
        self.opening.set()
        await self.may_open.wait()


async def test_of_deliveries_that_begin_at_once_one_is_left() -> None:
    sink = OpensSlowly()
    servicer = SinkServicer(sink, CollectorRegistry())
    calls = [asyncio.create_task(drained(servicer.DeliverLogs(asking(start()), None))) for _ in range(3)]
    await sink.opening.wait()
    await settled()
    sink.may_open.set()
    async with asyncio.timeout(10):
        while sum(call.done() for call in calls) < 2:
            await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
    await settled()
    assert [call.done() for call in calls].count(False) == 1
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def asking(*requests: DeliverLogsRequest) -> AsyncIterator[DeliverLogsRequest]:
    """A peer that sends some requests and stays."""
    for request in requests:
        yield request
    await asyncio.Event().wait()


async def test_progress_carries_the_link_of_its_place() -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call, progress = await opened(stub)
        assert progress.link == link_at(10)
        await call.write(frames((10, 2)))
        assert (await until(call, next_offset=12)).link == link_at(12)
        call, progress = await opened(stub, log_id=0xB2)
        assert not progress.HasField("link")


@pytest.mark.parametrize("stray", [(5, 0), (10, 0), (11, 0), (10, 1)])
async def test_frames_out_of_order_do_not_make_the_link_unknown(stray: tuple[int, int]) -> None:
    sink = Stands()
    async with delivering(sink) as stub:
        call, _ = await opened(stub)
        await call.write(frames((10, 2), stray))
        assert "not in the order of the log" in (await refusal(call)).details()
    assert (sink.taken, sink.board.chain.at(LOG, 10)) == ([], link_at(10))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "7",
        '{"version": 2}',
        '{"version": 3, "holes": []}',
        '{"version": 2, "holes": [{"log_id": "a1", "first_offset": 1, "end_offset": 2}]}',
        '[{"log_id": "a1"}]',
        '["a1"]',
        '[{"log_id": "a1", "first_offset": 9, "end_offset": 9}]',
        "[" * 9999,
    ],
)
async def test_a_damaged_list_of_holes_is_named_with_its_remedy_and_read_once(
    tmp_path: Path, logged: Callable[[], str], content: str
) -> None:
    sink = Stands()
    async with delivering(sink, directory=tmp_path) as stub:
        (tmp_path / "holes.json").write_text(content)
        for _ in range(3):
            call = stub.DeliverLogs()
            await call.write(start(log_start=40))
            error = await refusal(call)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert f"{tmp_path}/holes.json cannot be used" in error.details()
            assert "restore it; or delete it and repeat `treering store skip`" in error.details()
        assert logged().count("the file of holes is damaged") == 1
        with pytest.raises(StartError, match=r"holes\.json cannot be used"):
            Holes(tmp_path)
        (tmp_path / "holes.json").unlink()
        add_hole(tmp_path, Hole(LOG, 10, 40))
        call = stub.DeliverLogs()
        await call.write(start(log_start=40))
        assert (await call.read()).progress.skipped_count == 30
        call.cancel()


async def test_a_hole_counts_once_the_sink_has_gone_on_behind_it_and_no_offset_twice(tmp_path: Path) -> None:
    sink = Stands()
    add_hole(tmp_path, Hole(LOG, 10, 40))
    async with delivering(sink, directory=tmp_path) as stub:
        assert (await opened(stub))[1].skipped_count == 0  # the gap is gone: nothing is missing
        assert sink.board.holes.gone_behind == []
        add_hole(tmp_path, Hole(LOG, 10, 60))  # it has grown since the first order
        for _ in range(2):
            call = stub.DeliverLogs()
            await call.write(start(log_start=60))
            assert (await call.read()).progress.skipped_count == 50
        call.cancel()
    again = Holes(tmp_path)
    assert again.gone_behind == [Hole(LOG, 10, 60)]
    assert skipped_count([Hole(LOG, 10, 40), Hole(LOG, 10, 60), Hole(LOG, 70, 80), Hole(LOG + 1, 0, 9)], LOG, 75) == 55


def test_holes_of_an_earlier_version_count(tmp_path: Path) -> None:
    (tmp_path / "holes.json").write_text('[{"log_id": "00000000000000a1", "first_offset": 10, "end_offset": 40}]')
    assert Holes(tmp_path).gone_behind == [Hole(LOG, 10, 40)]


@pytest.mark.parametrize(("field", "asked"), [("start.log_id", start(log_id=0)), ("start.log_start_offset", start(log_start=2**62 + 1))])
async def test_a_start_that_no_log_has_is_refused(field: str, asked: DeliverLogsRequest) -> None:
    sink = Begins()
    async with delivering(sink) as stub:
        call = stub.DeliverLogs()
        await call.write(asked)
        error = await refusal(call)
    assert (error.code(), sink.board.log_ids()) == (grpc.StatusCode.INVALID_ARGUMENT, [])
    assert error.details().startswith(f"{field}: ")
