"""Delivery of the log to one sink: in order, from where the sink stands, for ever."""

import asyncio
import random
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING

import grpc
import structlog

from treering.inner.version import PROTOCOL_VERSION, mismatch
from treering.inner.whole_requests import whole_requests
from treering.v1.sink_pb2 import ChainLinks, DeliveredFrame, DeliverLogsRequest, DeliverLogsResponse, DeliveryStart, SinkProgress
from treering.v1.sink_pb2_grpc import SinkServiceStub
from treering_ingest.claims import Claims, SinkAheadError, SinkFault, SinkVersionError
from treering_ingest.committer import Committer
from treering_ingest.delivered import DeliveredNote
from treering_ingest.durable_log import LogDamagedError, Range
from treering_ingest.limits import (
    DELIVERY_PAUSE_S,
    DELIVERY_REQUEST_BYTES,
    DELIVERY_WINDOW_BYTES,
    RECONNECT_FIRST_S,
    RECONNECT_MAX_S,
    SINK_SILENCE_S,
)
from treering_ingest.log_reader import LogReader
from treering_ingest.sink_state import SinkState
from treering_runtime.channels import Peer
from treering_runtime.wakeup import Wakeup

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[DeliverLogsRequest, DeliverLogsResponse]

_LOG = structlog.get_logger()

_CHANNEL_OPTIONS = (("grpc.keepalive_time_ms", 30_000),)


class _Window:
    """Bytes that were sent and that the sink does not hold yet."""

    def __init__(self, limit_bytes: int, end_offset: int) -> None:
        self.end_offset = end_offset
        """Everything below was sent, now or before."""
        self._limit_bytes = limit_bytes
        # Ranges in the order of the log. The sink answers for a prefix of them, so the oldest are freed first.
        self._sent: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._room = Wakeup()

    def sent(self, end_offset: int, size_bytes: int) -> None:
        self.end_offset = end_offset
        self._sent.append((end_offset, size_bytes))
        self._bytes += size_bytes

    def held(self, next_offset: int) -> None:
        while self._sent and self._sent[0][0] <= next_offset:
            self._bytes -= self._sent.popleft()[1]
        self._room.fire()

    async def wait_for_room(self) -> None:
        # Looked at before a range is read, so that one range may go beyond the limit.
        while self._bytes >= self._limit_bytes:
            await self._room.wait()


class Delivery:
    """Feeds one sink.

    States, by `state`: *not connected* (`last_error` says why; tried again after a pause that doubles up to RECONNECT_MAX_S, with jitter);
    *connected* (the sink has said how far it is and gets what follows); *ahead* (`state.ahead`: cut off, because it claims what
    was never delivered to it; tried again, and over with the second progress of a delivery that fits).

    Args:
        name: The sink's name in the settings.
        peer: Where the sink answers.
        committer: Whose log is delivered; its `advanced` tells of new frames.
        changed: Fires whenever `state` changes.
        note: Is told the end of what is about to be sent, before it is.
        silence_s: Seconds without progress after which the sink counts as hung.
        window_bytes: Bytes in flight.
    """

    def __init__(
        self,
        name: str,
        peer: Peer,
        committer: Committer,
        changed: Wakeup,
        *,
        note: DeliveredNote,
        silence_s: float = SINK_SILENCE_S,
        window_bytes: int = DELIVERY_WINDOW_BYTES,
    ) -> None:
        self.state = SinkState(name, peer.address)
        self._peer = peer
        self._committer = committer
        self._log = committer.log
        self._changed = changed
        self._note_sent = note
        self._silence_s = silence_s
        self._window_bytes = window_bytes

    async def run(self) -> None:
        """Delivers until cancelled."""
        pause = RECONNECT_FIRST_S
        while True:
            self.state.connected = False
            try:
                await self._deliver()
            # Not an error that ends the service: the log keeps everything, other sinks go on, and an operator has to look at this one.
            except SinkAheadError as error:
                self.state.cut_off(error.ahead)
                self._note(error)
            except (grpc.aio.AioRpcError, SinkFault, LogDamagedError, OSError) as error:
                self._note(error)
            except Exception as error:  # noqa: BLE001 - a delivery that ends unseen is never tried again, and the log grows for ever
                _LOG.exception("delivery failed; it is tried again", sink=self.state.name, address=self.state.address)
                self._note(error)
            # After a delivery that ran the first, short pause; one that never began waits longer each time.
            pause = RECONNECT_FIRST_S if self.state.connected else min(pause * 2, RECONNECT_MAX_S)
            self.state.connected = False
            # Jitter: sinks that went away together are not called again in step.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    def _note(self, error: Exception) -> None:
        problem = _in_words(error)
        # Told once: a sink that is away for a day would fill the service's log with the same line.
        if problem != self.state.last_error:
            level = _LOG.error if isinstance(error, SinkAheadError | LogDamagedError) else _LOG.warning
            level("delivery interrupted", sink=self.state.name, address=self.state.address, problem=problem)
        self.state.last_error = problem
        self.state.refusing = _is_refusal(error)
        self._changed.fire()

    async def _deliver(self) -> None:
        # A channel for each delivery: after a restart of the sink its socket may be in another directory, and a channel keeps the old one.
        async with self._peer.connect(*_CHANNEL_OPTIONS) as channel:
            # whole: an empty message in place of a range that there is no memory for is a gap, and in an idle log nobody would notice it
            call: _Call = SinkServiceStub(whole_requests(channel)).DeliverLogs()
            start = DeliveryStart(log_id=self._log.log_id, log_start_offset=self._log.start_offset, protocol_version=PROTOCOL_VERSION)
            await _write(call, DeliverLogsRequest(start=start, log_end_offset=self._log.durable_offset))
            first = await self._read_progress(call, begins=True)
            claims = Claims(self.state.name, self._log, self._note_sent.unlinked_below)
            # Before the log is read: a claim of what the log does not have is no place to read from.
            claims.check_within(first)
            window, reader = _Window(self._window_bytes, first.next_offset), LogReader(self._log.follow(first.next_offset))
            try:
                # First the proof, then the state: retention deletes on what the state says.
                self._connected(claims.begin(first, await reader.link_before()))
                await _first_to_fail(self._send(call, reader, window, claims), self._receive(call, window, claims))
            finally:
                call.cancel()
                # Does not wait: a read that still runs goes on in the reader's thread, which closes the file after it.
                reader.close()

    def _connected(self, progress: SinkProgress) -> None:
        self.state.connected, self.state.last_error, self.state.progress = True, "", progress
        self.state.refusing = False
        _LOG.info("delivering", sink=self.state.name, address=self.state.address, next_offset=progress.next_offset)
        self._changed.fire()

    async def _read_progress(self, call: "_Call", *, begins: bool = False) -> SinkProgress:
        try:
            # Silence counts, not slowness: a sink that has no room for more still reports that it lives.
            async with asyncio.timeout(self._silence_s):
                response = await call.read()
        except TimeoutError:
            raise SinkFault(f"no sign of life for {self._silence_s:g} s: the sink hangs") from None
        # gRPC gives its EOF object, not a message, when the sink has ended the stream in order.
        if not isinstance(response, DeliverLogsResponse):
            raise SinkFault("the sink ended the delivery")
        # The first answer says its version; nothing of it is believed before that.
        if begins and response.protocol_version != PROTOCOL_VERSION:
            raise SinkVersionError(mismatch(response.protocol_version, "the sink"))
        if response.progress.log_id != self._log.log_id:
            raise SinkFault(f"the sink speaks of log {response.progress.log_id} instead of {self._log.log_id}")
        return response.progress

    async def _receive(self, call: "_Call", window: _Window, claims: Claims) -> None:
        while True:
            progress = await self._read_progress(call)
            # Judged before it is stored: `state.progress` is what retention believes.
            self.state.progress = claims.believed(progress)
            # not with the first progress: a sink that claims too much again and again would end the alarm for a moment each time
            self.state.ahead = None
            window.held(progress.next_offset)
            self._changed.fire()

    async def _send(self, call: "_Call", reader: LogReader, window: _Window, claims: Claims) -> None:
        while True:
            # No await between the look and `wait`, so no commit is missed. Only what is durable is sent.
            while self._log.durable_offset <= window.end_offset:
                await self._committer.advanced.wait()
            # Before the read: what is read and has no room would be held in memory for as long as the sink is slow.
            await window.wait_for_room()
            part = await reader.read_range(DELIVERY_REQUEST_BYTES)
            if part.frames:
                size = sum(len(frame.payload) for frame in part.frames)
                window.sent(part.frames[-1].end_offset, size)
                # before it is sent: what the sink reports of it may be here before the write returns
                claims.sending(window.end_offset, part.frames[-1].link)
                # Written before it is sent: when this process is killed, no sink is further than the note.
                self._note_sent.sending(window.end_offset)
                await _write(call, _request(part, self._log.durable_offset))
                # Only after one that was not full: a sink that is behind gets full ones without a pause.
                if size < DELIVERY_REQUEST_BYTES:
                    await asyncio.sleep(DELIVERY_PAUSE_S)


async def _write(call: "_Call", request: DeliverLogsRequest) -> None:
    """Writes, and calls a stream that is over a fault of the sink: gRPC names that as if we had used the call wrongly."""
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        raise SinkFault("the sink ended the delivery") from None


def _request(part: Range, log_end_offset: int) -> DeliverLogsRequest:
    delivered = [
        DeliveredFrame(
            first_offset=frame.first_offset,
            record_count=frame.record_count,
            arrival_time_unix_nano=frame.arrival_time_unix_nano,
            payload=frame.payload,
        )
        for frame in part.frames
    ]
    links = ChainLinks(before=part.link_before, after=part.frames[-1].link)
    return DeliverLogsRequest(frames=delivered, log_end_offset=log_end_offset, links=links)


async def _first_to_fail(*parts: Coroutine[None, None, None]) -> None:
    """Runs all parts until one ends, and raises its error; the others are over before this returns."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        # Waited for, too: the reader is closed next, and a part that still ran would use it.
        results = await asyncio.gather(*tasks, return_exceptions=True)
    # Those that failed by themselves. What a part says because it was cancelled is not the reason.
    errors = [result for task, result in zip(tasks, results, strict=True) if task in done and isinstance(result, Exception)]
    if errors:
        raise errors[0]


def _is_refusal(error: Exception) -> bool:
    """Whether trying again cannot help."""
    refused = isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.FAILED_PRECONDITION
    return refused or isinstance(error, SinkVersionError)


def _in_words(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error)
