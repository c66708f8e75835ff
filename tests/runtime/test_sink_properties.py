"""Whatever a log says of itself: a sink's records follow one another, and are of one history."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.hostile import ALL
from tests.links import links_of
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest, DeliveryStart
from treering_runtime.errors import ServiceError
from treering_runtime.progress import ProgressBoard
from treering_runtime.sink import SinkServicer

LOG = 0xA1
PLACES = st.sampled_from([0, 1, 2, 3, 5, 8])

RANGES = st.tuples(st.integers(0, 1), st.lists(st.tuples(PLACES, st.integers(0, 3)), min_size=1, max_size=3))
"""A history, and frames of it: their first offsets and counts, which may fit or not."""

DELIVERIES = st.lists(st.tuples(PLACES, st.lists(RANGES, max_size=4)), min_size=1, max_size=5)
"""What each delivery says: where the log begins, and ranges."""


class Remembers:
    """A sink that remembers each record with its history; the payload of a frame is the history."""

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.records = []

    async def open_log(self, log_id: int, log_start_offset: Any) -> None:
        assert self.board.get(log_id).next_offset >= log_start_offset  # there are no holes here

    async def deliver(self, log_id: int, frames: Any, log_end_offset: Any) -> None:
        for frame in frames:
            held = self.board.get(log_id).next_offset
            end = frame.first_offset + frame.record_count
            self.records += [(offset, frame.payload) for offset in range(max(held, frame.first_offset), end)]
            self.board.update(log_id, next_offset=max(held, end))


async def delivered(servicer: SinkServicer, begin: int, ranges: list[tuple[int, list[tuple[int, int]]]]) -> None:
    """One delivery by a peer that hangs up at its end."""

    async def requests() -> AsyncIterator[DeliverLogsRequest]:
        yield DeliverLogsRequest(start=DeliveryStart(log_id=LOG, log_start_offset=begin, protocol_version=PROTOCOL_VERSION))
        for history, spans in ranges:
            frames = [DeliveredFrame(first_offset=first, record_count=count, payload=bytes([history])) for first, count in spans]
            yield DeliverLogsRequest(frames=frames, links=links_of(frames, history))

    with contextlib.suppress(ServiceError):
        async for _ in servicer.DeliverLogs(requests(), None):
            pass


@given(DELIVERIES)
@settings(max_examples=1_000 if ALL else 300, deadline=None)
def test_what_a_sink_takes_follows_one_another_and_is_of_one_history(
    deliveries: list[tuple[int, list[tuple[int, list[tuple[int, int]]]]]],
) -> None:
    sink = Remembers()

    async def all_of_them() -> None:
        servicer = SinkServicer(sink, CollectorRegistry())
        for begin, ranges in deliveries:
            await delivered(servicer, begin, ranges)

    asyncio.run(all_of_them())
    offsets = [offset for offset, _ in sink.records]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets))) if offsets else not sink.board.holds(LOG)
    assert len({history for _, history in sink.records}) < 2
