"""A log that hangs up, or people who do, at each await of a delivery, a list and a retry."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import CollectorRegistry

from tests.cancelling import at_each_await, drained
from tests.links import links_of
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.sink_pb2 import (
    DeliveredFrame,
    DeliverLogsRequest,
    DeliveryStart,
    ListQuarantineRequest,
    RetryQuarantinedRequest,
)
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Quarantined
from treering_runtime.sink import SinkServicer

LOG = 0xA1
FRAMES = 100


class Steps:
    """A sink whose every call takes several steps; what it took changes in one of them."""

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.taken = []
        self.aside = [Quarantined(LOG, offset, 1, 0, "bad", b"") for offset in range(100)]
        self.reading = self.most_reading = 0
        self.read = []

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        await asyncio.sleep(0)
        self.board.update(log_id, next_offset=len(self.taken))

    async def deliver(self, log_id: int, frames: Any, log_end_offset: Any) -> None:
        await asyncio.sleep(0)
        self.taken += [frame.first_offset for frame in frames]
        self.board.update(log_id, next_offset=len(self.taken))
        await asyncio.sleep(0)

    async def quarantined(self, selection: Any, after: Any) -> list[Quarantined]:
        await asyncio.sleep(0)
        return [item for item in self.aside if after is None or item.key > after][:2]

    async def read_again(self, items: Any) -> int:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await asyncio.sleep(0)
        self.read += [item.first_offset for item in items]
        self.aside = [item for item in self.aside if item not in items]
        await asyncio.sleep(0)
        self.reading -= 1
        return len(items)


def servicer(sink: Steps) -> SinkServicer:
    return SinkServicer(sink, CollectorRegistry())


async def frames_of(sink: Steps) -> AsyncIterator[DeliverLogsRequest]:
    """What the log sends: the start, then everything from where the sink stands."""
    yield DeliverLogsRequest(start=DeliveryStart(log_id=LOG, protocol_version=PROTOCOL_VERSION))
    for offset in range(FRAMES):
        await asyncio.sleep(0)
        frames = [DeliveredFrame(first_offset=offset, record_count=1)]
        yield DeliverLogsRequest(frames=frames, log_end_offset=FRAMES, links=links_of(frames))


async def test_a_delivery_that_is_cut_at_each_await_brings_every_frame_once() -> None:
    sink = Steps()
    serving = servicer(sink)

    async def look(_: int) -> None:
        assert sink.taken == list(range(len(sink.taken)))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == set(), "the delivery is over, and so is what it had started"

    cancelled = await at_each_await(lambda: drained(serving.DeliverLogs(frames_of(sink), None)), look)
    assert cancelled > 10
    assert sink.taken == list(range(FRAMES))


async def test_a_retry_that_is_cut_at_each_await_is_finished_and_nothing_is_read_twice() -> None:
    sink = Steps()
    serving = servicer(sink)

    async def look(_: int) -> None:
        await serving._retries.finish()
        assert len(sink.read) == len(set(sink.read))
        assert len(sink.aside) + len(sink.read) == 100

    assert await at_each_await(lambda: drained(serving.RetryQuarantined(RetryQuarantinedRequest(), None)), look) >= 5
    assert (sink.aside, sink.most_reading) == ([], 1)


async def test_many_retries_that_are_cut_run_one_at_a_time_and_leave_no_task() -> None:
    sink = Steps()
    serving = servicer(sink)
    calls = [asyncio.create_task(drained(serving.RetryQuarantined(RetryQuarantinedRequest(), None))) for _ in range(50)]
    await asyncio.wait(calls, timeout=0)
    for call in calls[:-1]:
        call.cancel()
    await asyncio.wait(calls)
    assert (sink.most_reading, sink.aside) == (1, [])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_list_that_is_cut_at_each_await_leaves_no_task() -> None:
    sink = Steps()
    serving = servicer(sink)

    async def look(_: int) -> None:
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert await at_each_await(lambda: drained(serving.ListQuarantine(ListQuarantineRequest(), None)), look) > 10
    assert len(sink.aside) == 100
