"""The sink's side of delivery: one class makes a consumer of the log out of anything that implements `Sink`."""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import grpc
import structlog
from prometheus_client import CollectorRegistry

from treering.inner.version import PROTOCOL_VERSION
from treering.v1.error_pb2 import ErrorReason
from treering.v1.sink_pb2 import (
    DeliveredFrame,
    DeliverLogsRequest,
    DeliverLogsResponse,
    ListQuarantineRequest,
    ListQuarantineResponse,
    QuarantinedRecords,
    RetryQuarantinedRequest,
    RetryQuarantinedResponse,
    SinkProgress,
)
from treering.v1.sink_pb2_grpc import SinkServiceServicer
from treering_runtime.chain import sequence_gap
from treering_runtime.errors import ServiceError, invalid_field, overloaded
from treering_runtime.exclusive import Exclusive
from treering_runtime.fitting import messages
from treering_runtime.holes import Hole, Holes, skipped_count
from treering_runtime.inner_version import check_version
from treering_runtime.limits import MAX_LOGS, PROGRESS_INTERVAL_S
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import Quarantined, QuarantineSelection
from treering_runtime.telemetry import Freshness

_LOG = structlog.get_logger()


class Sink(Protocol):
    """A consumer of the log."""

    board: ProgressBoard
    """Its progress; `deliver` and later work (sealing, indexing) update it."""

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """A delivery of this log begins. Where `board` holds less than `log_start_offset`, a hole begins that an operator made."""

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames that begin at `board.get(log_id).next_offset` and have no gap; raises that offset.

        May wait as long as it has no room: that is the backpressure. Idempotent across crashes: what was not releasable comes again.
        """

    async def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside durably, about `QUARANTINE_PAGE_BYTES`, above `after` in order of log and offset; empty at the end."""

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads again what was set aside: in one durable step, what is readable now is stored, the rest stays. Returns records stored."""


class SinkServicer(SinkServiceServicer):
    """Serves `SinkService` for one sink. One delivery a log: a new one ends the older.

    Args:
        sink: Takes what is delivered.
        registry: Where the freshness of what it took is shown; the oldest frame of each delivery counts.
        directory: The sink's data directory, where an operator's holes are; None for a sink that has no holes.
    """

    def __init__(self, sink: Sink, registry: CollectorRegistry, directory: Path | None = None) -> None:
        self._sink = sink
        self._holes = sink.board.holes = Holes(directory)
        meaning = "this sink has a batch: SQL shows its records; a search by meaning finds those whose pattern is known"
        self._freshness = Freshness("treering_sink_freshness_seconds", meaning, registry)
        self._deliveries: dict[int, asyncio.Task[None]] = {}
        self._beginning = asyncio.Lock()
        self._retries = Exclusive("retry of quarantined records")

    async def DeliverLogs(
        self,
        request_iterator: AsyncIterator[DeliverLogsRequest],
        context: "grpc.aio.ServicerContext[DeliverLogsRequest, DeliverLogsResponse]",
    ) -> AsyncIterator[DeliverLogsResponse]:
        """Takes frames as they come, reports progress as it changes."""
        del context
        # A stream that ends without a message gives the default, which lacks `start` and is refused as any other.
        first = await anext(request_iterator, DeliverLogsRequest())
        if not first.HasField("start"):
            raise invalid_field("start", "the first message of a delivery must hold it")
        # Before anything of it is believed: fields may mean something else in another version.
        check_version(first.start.protocol_version)
        log_id = first.start.log_id
        async with self._beginning:  # of several that begin at once each ends the one before it, or two would take the same
            taking = await self._begin(log_id, first.start.log_start_offset, request_iterator)
        try:
            async for progress in self._progress(log_id, taking):
                yield progress
        finally:
            # Waits until the taking has ended: what follows must not meet it in the middle of `deliver`.
            await _cancelled(taking)
            # A newer delivery of this log may have its place already; then neither it nor the progress of the log is this one's.
            if self._deliveries.get(log_id) is taking:
                del self._deliveries[log_id]
                self._sink.board.leave(log_id)

    async def _begin(self, log_id: int, log_start_offset: int, requests: AsyncIterator[DeliverLogsRequest]) -> "asyncio.Task[None]":
        # first: a start that is refused does not end the delivery that runs
        self._check_start(log_id, log_start_offset)
        # Waited for, so that two tasks never take frames of one log: both would read the same `next_offset`.
        await self._end_older(log_id)
        # After the older one has ended: until then its last frames may still move `next_offset`.
        if not self._sink.board.holds(log_id):
            self._sink.board.begin(log_id, log_start_offset)
        await self._sink.open_log(log_id, log_start_offset)
        # A task of its own: frames are taken while the answers of this stream wait for their reader.
        taking = self._deliveries[log_id] = asyncio.create_task(self._take(log_id, requests))
        return taking

    def _check_start(self, log_id: int, log_start_offset: int) -> None:
        """A log of which nothing is held may begin anywhere; another one goes on where the sink stands, or behind an operator's hole."""
        if not log_id:
            raise invalid_field("start.log_id", "is 0, which names no log; give the log's id")
        board = self._sink.board
        if not board.holds(log_id):
            # Held ones only: a log that was begun and left without a record costs nothing.
            if len(board.held_logs()) >= MAX_LOGS:
                raise _too_many_logs()
            return
        held = board.get(log_id).next_offset
        # The log still has what comes next here: fresh frames begin at `held`, and nothing is missing.
        if log_start_offset <= held:
            return
        # Durable when this returns: after a crash the sink still knows that the gap was an operator's decision.
        if not self._holes.go_behind(Hole(log_id, held, log_start_offset)):
            raise _gap(log_id, held, log_start_offset)
        _LOG.warning("goes on behind a hole", log_id=str(log_id), first_offset=held, end_offset=log_start_offset)

    async def _end_older(self, log_id: int) -> None:
        if older := self._deliveries.get(log_id):
            _LOG.info("a newer delivery takes over", log_id=str(log_id))
            await _cancelled(older)

    async def _take(self, log_id: int, requests: AsyncIterator[DeliverLogsRequest]) -> None:
        async for request in requests:
            if not request.frames:
                # ignored, it would hide what ingest meant to send until the next record comes
                raise invalid_field("frames", "is empty; deliver from next_offset")
            next_offset = self._sink.board.get(log_id).next_offset
            if frames := fresh_frames(request.frames, next_offset):
                # Checked and noted before anything is taken: a range of another history changes nothing here.
                self._sink.board.chain.join(log_id, next_offset, request)
                # The backpressure: no further message is asked of gRPC while this waits, and its window fills up.
                await self._sink.deliver(log_id, frames, request.log_end_offset)
                self._freshness.reached(frames[0].arrival_time_unix_nano)

    async def _progress(self, log_id: int, taking: asyncio.Task[None]) -> AsyncIterator[DeliverLogsResponse]:
        board = self._sink.board
        # Read before the answer is made: a change while the answer is written is seen by the next wait.
        version = board.version
        # At once, before any frame: the log asks where this sink stands, and delivers from there.
        yield _response(log_id, board, self._holes.gone_behind, PROTOCOL_VERSION)
        while not taking.done():
            change = asyncio.create_task(board.wait_change(version, PROGRESS_INTERVAL_S))
            try:
                # Both: a taking that fails must end the stream now, not after the next change.
                await asyncio.wait({change, taking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # The timeout and every turn of this loop would leave a waiting task behind otherwise.
                await _cancelled(change)
            version = board.version
            yield _response(log_id, board, self._holes.gone_behind)
        # Cancelled means that a newer delivery took over: the older stream ends without an error.
        if not taking.cancelled() and (error := taking.exception()):
            raise error

    async def ListQuarantine(
        self, request: ListQuarantineRequest, context: "grpc.aio.ServicerContext[ListQuarantineRequest, ListQuarantineResponse]"
    ) -> AsyncIterator[ListQuarantineResponse]:
        """What is set aside, a page a message."""
        del context
        selection, after = _selection(request), None
        while page := await self._sink.quarantined(selection, after):
            for entries in messages(_entry(item, with_payload=request.with_payload) for item in page):
                yield ListQuarantineResponse(entries=entries)
            after = page[-1].key

    async def RetryQuarantined(
        self, request: RetryQuarantinedRequest, context: "grpc.aio.ServicerContext[RetryQuarantinedRequest, RetryQuarantinedResponse]"
    ) -> AsyncIterator[RetryQuarantinedResponse]:
        """Reads again what is set aside, a page at a time; a page that was begun is finished even when the caller goes away."""
        del context
        selection, after, tried, stored = _selection(request), None, 0, 0
        while page := await self._retries.run(functools.partial(self._retry_page, selection, after)):
            items, stored_of_page = page
            tried, stored = tried + sum(item.record_count for item in items), stored + stored_of_page
            yield RetryQuarantinedResponse(tried_count=tried, stored_count=stored, quarantined_count=self._quarantined_count())
            last = items[-1]
            after = (last.log_id, last.first_offset + last.record_count - 1)  # what is left of a frame is not tried twice
        # At least one answer, also where nothing is set aside.
        if not tried:
            yield RetryQuarantinedResponse(quarantined_count=self._quarantined_count())

    async def _retry_page(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> tuple[list[Quarantined], int] | None:
        """One at a time: two that read the same would store it twice."""
        items = await self._sink.quarantined(selection, after)
        return (items, await self._sink.read_again(items)) if items else None

    def _quarantined_count(self) -> int:
        board = self._sink.board
        return sum(board.get(log_id).quarantined for log_id in board.log_ids())


def _selection(request: ListQuarantineRequest | RetryQuarantinedRequest) -> QuarantineSelection:
    if 0 < request.end_offset_exclusive <= request.first_offset:
        raise invalid_field("end_offset_exclusive", f"must be above first_offset, {request.first_offset}, or 0 for no end")
    return QuarantineSelection(request.log_id, min(request.first_offset, _MAX_OFFSET), min(request.end_offset_exclusive, _MAX_OFFSET))


_MAX_OFFSET = 2**63 - 1
"""Larger ones than databases hold; no log gets there."""


def _entry(item: Quarantined, *, with_payload: bool) -> QuarantinedRecords:
    return QuarantinedRecords(
        log_id=item.log_id,
        first_offset=item.first_offset,
        record_count=item.record_count,
        arrival_time_unix_nano=item.arrival_time_unix_nano,
        reason=item.reason,
        payload_bytes=len(item.payload),
        payload=item.payload if with_payload else b"",
    )


def fresh_frames(frames: Sequence[DeliveredFrame], next_offset: int) -> list[DeliveredFrame]:
    """The frames that bring something new, checked to begin at or below `next_offset` and to have no gap.

    Raises:
        ServiceError: SINK_AHEAD's counterpart SEQUENCE_GAP, when records would be missing.
    """
    fresh, expected = [], next_offset
    for frame in frames:
        if frame.first_offset > expected:
            raise sequence_gap(frame.first_offset, expected)
        # Whole frames, also where a part was taken before: the sink skips records below its `next_offset`.
        if frame.first_offset + frame.record_count > expected:
            fresh.append(frame)
            expected = frame.first_offset + frame.record_count
    return fresh


def _gap(log_id: int, held: int, log_start: int) -> ServiceError:
    message = (
        f"log {log_id} begins at offset {log_start}, but this sink holds it below {held} only: {log_start - held} records "
        "would be missing. Nothing is skipped by itself. Restore the log's files; or, to go on without those records, run "
        f"`treering store skip DIR {log_id} {held} {log_start}` with this sink's data directory"
    )
    return ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_GAP, message, metadata={"expected_sequence": str(held)})


def _too_many_logs() -> ServiceError:
    message = f"this sink has followed {MAX_LOGS} logs already and takes no further one; let ingest go on with one of them"
    return overloaded("max_logs", message, retry_after_s=60.0)


async def _cancelled(task: "asyncio.Task[None] | asyncio.Task[int]") -> None:
    task.cancel()
    # `wait` raises none of the task's errors; they are looked at where they matter.
    await asyncio.wait({task})


def _response(log_id: int, board: ProgressBoard, holes: Sequence[Hole], version: int = 0) -> DeliverLogsResponse:
    progress = board.get(log_id)
    return DeliverLogsResponse(
        protocol_version=version,
        progress=SinkProgress(
            log_id=log_id,
            next_offset=progress.next_offset,
            visible_end_offset=progress.visible_end,
            releasable_end_offset=progress.releasable_end,
            quarantined_count=progress.quarantined,
            skipped_count=skipped_count(holes, log_id, progress.next_offset),
            # The proof of this place: ingest deletes from the log only what a sink claims with the log's own link.
            link=board.chain.at(log_id, progress.next_offset),
        ),
    )
