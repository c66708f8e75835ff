"""Sinks that lie, and what a test needs to watch what ingest believes of them."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc

from treering.inner.version import PROTOCOL_VERSION
from treering.v1 import sink_pb2_grpc
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliverLogsResponse, SinkProgress
from treering_ingest.disk import DiskGuard
from treering_ingest.process import IngestProcess
from treering_ingest.retention import Retention


async def trimmed(process: IngestProcess) -> int:
    """Deletes from the log of an ingest all that the sinks' claims let it delete; returns where the log begins."""
    states = [delivery.state for delivery in process.deliveries]
    retention = Retention(process.committer, states, DiskGuard(lambda: 2**40, 0), min_age_s=0.0, min_bytes=0)
    before = -1
    while before != process.log.start_offset:
        before = process.log.start_offset
        await retention.trim()
    return before


class Claiming(sink_pb2_grpc.SinkServiceServicer):
    """A sink that claims one progress at the start of each delivery, the same each time it is sent something, and keeps nothing.

    Args:
        claims: Fields of the progress; one mapping for each claim, and the last one again and again.
    """

    def __init__(self, *claims: str | dict[str, int] | dict[Any, Any]) -> None:
        self.claims = claims
        self.requests = []
        self.calls = 0

    async def DeliverLogs(
        self, request_iterator: AsyncIterator[DeliverLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[DeliverLogsResponse]:
        first = await anext(request_iterator)
        self.calls += 1
        left = list(self.claims)
        while True:
            claim = left.pop(0) if len(left) > 1 else left[0]
            yield DeliverLogsResponse(protocol_version=PROTOCOL_VERSION, progress=SinkProgress(log_id=first.start.log_id, **claim))
            if len(left) == 1 and len(self.claims) > 1 and claim is not left[0]:
                continue
            if (request := await anext(request_iterator, None)) is None:
                return
            self.requests.append(request)


class Lying(sink_pb2_grpc.SinkServiceServicer):
    """A sink that claims whatever may harm: real and made-up places, with the links that it was sent, of other places, made up, or none."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.links = {}
        """What it was really sent: the link of each place."""
        self._log_end = 0
        self.claimed = 0

    async def DeliverLogs(
        self, request_iterator: AsyncIterator[DeliverLogsRequest], context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[DeliverLogsResponse]:
        first = await anext(request_iterator)
        self._log_end = first.log_end_offset
        for _ in range(self._random.randrange(1, 6)):
            yield DeliverLogsResponse(protocol_version=PROTOCOL_VERSION, progress=self._claim(first.start.log_id))
            self.claimed += 1
            if self._random.random() < 0.6:
                if (request := await anext(request_iterator, None)) is None:
                    return
                self._log_end = request.log_end_offset
                last = request.frames[-1]
                self.links[last.first_offset + last.record_count] = request.links.after

    def _place(self) -> Any:
        places = [0, 0, *self.links, self._log_end, self._log_end - 10, self._log_end + 7, 2**63]
        return max(0, self._random.choice(places) + self._random.choice([0, 0, 0, 0, 1, -1]))

    def _claim(self, log_id: int) -> SinkProgress:
        place = self._place()
        claim = SinkProgress(log_id=log_id, next_offset=place)
        claim.visible_end_offset, claim.releasable_end_offset = self._random.choice([(place, place), (self._place(), self._place())])
        link = self._random.choice([None, self.links.get(place), *self.links.values(), 0, self._random.getrandbits(64)])
        if link is not None:
            claim.link = link
        return claim
