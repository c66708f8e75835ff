"""The sink: takes the log's frames, registers what they say for the first time, and reports how far that is."""

import asyncio
from collections.abc import Sequence

import structlog

from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.intake import Intake, read_frames
from treering_embed.kept import Background, Kept
from treering_embed.limits import COMMIT_LINGER_S, MAX_UNCOMMITTED_PATTERNS, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry import Pattern, Quarantined, RegistryFault, Summary
from treering_runtime.columns import FrameDecoder
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.progress import ProgressBoard

_LOG = structlog.get_logger()


class Uncommitted:
    """What was taken since the last commit."""

    def __init__(self) -> None:
        self.next_offsets: dict[int, int] = {}
        self.patterns: list[Pattern] = []
        self.last_seen: dict[int, int] = {}
        self.quarantined: list[Quarantined] = []

    def add(self, log_id: int, taken: Intake, admitted: Sequence[Pattern]) -> None:
        """Adds one delivery."""
        self.next_offsets[log_id] = taken.end_offset
        self.patterns += admitted
        self.last_seen.update(dict.fromkeys(taken.known, taken.end_offset))
        self.last_seen.update(dict.fromkeys((pattern.pattern_id for pattern in admitted), taken.end_offset))
        self.quarantined += taken.quarantined


class EmbedSink:
    """Implements `treering_runtime.sink.Sink`.

    A delivery is decoded on a thread and *taken*: its patterns are known, `next_offset` is past it. A committer gathers what was taken
    and writes it in one transaction: now it is *releasable*. It is *visible* once its patterns have their vectors; `settled` says so.
    """

    def __init__(self, kept: Kept, summary: Summary) -> None:
        self.board = ProgressBoard()
        self.committed_patterns = asyncio.Event()
        """Set whenever patterns wait for their vectors."""
        self._kept, self._book, self._summary = kept, kept.book, summary
        self._decoder = FrameDecoder()
        self._decoding = Background("decode")
        self._taking = asyncio.Lock()
        self._uncommitted = Uncommitted()
        self._dirty = asyncio.Event()
        self._room = asyncio.Condition()
        self._opened: set[int] = set()
        if kept.book.pending_count:
            self.committed_patterns.set()

    async def restore(self) -> None:
        """Puts the logs that are known from before on the board."""
        for log_id, next_offset in self._summary.next_offsets.items():
            await self._report(log_id, next_offset, next_offset, self._summary.quarantined.get(log_id, 0))

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """A delivery of this log begins, where this sink stands, or where the log begins if that is later."""
        progress = self.board.get(log_id)
        if progress.next_offset >= log_start_offset:
            return
        if progress.next_offset:
            _LOG.warning("records were deleted from the log before they arrived here", missing=log_start_offset - progress.next_offset)
        await self._report(log_id, log_start_offset, progress.releasable_end, progress.quarantined)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames; waits only while the registry cannot be written."""
        del log_end_offset
        async with self._taking:
            await self._wait_room()
            progress = self.board.get(log_id)
            taken = await self._decoding.run(read_frames, self._decoder, self._book.is_known, log_id, frames, progress.next_offset)
            self._uncommitted.add(log_id, taken, self._book.admit(taken.unseen))
            self._kept.metrics.records.inc(taken.record_count)
            set_aside = progress.quarantined + sum(item.record_count for item in taken.quarantined)
            for item in taken.quarantined:
                _LOG.error("a frame cannot be read; set aside", log_id=f"{log_id:016x}", offset=item.first_offset, reason=item.reason)
            await self._report(log_id, taken.end_offset, progress.releasable_end, set_aside)
            self._dirty.set()

    async def _wait_room(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: len(self._uncommitted.patterns) < MAX_UNCOMMITTED_PATTERNS)

    async def commit_forever(self) -> None:
        """Writes what was taken, again and again; a disk that refuses is tried again until it does not."""
        pause = RETRY_MIN_S
        while True:
            await self._dirty.wait()
            await asyncio.sleep(COMMIT_LINGER_S)
            try:
                await self.commit()
                pause = RETRY_MIN_S
            except RegistryFault as error:
                _LOG.error("the registry cannot be written; trying again", problem=str(error), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def commit(self) -> None:
        """Writes what was taken so far; when it cannot, everything stays as it was.

        Raises:
            RegistryFault: The registry cannot be written.
        """
        self._dirty.clear()
        batch, self._uncommitted = self._uncommitted, Uncommitted()
        try:
            await self._kept.registry_thread.run(self._write, batch)
        except BaseException:
            self._uncommitted = _joined(batch, self._uncommitted)
            self._dirty.set()
            raise
        for log_id, end in batch.next_offsets.items():
            await self.board.update(log_id, releasable_end=end)
        async with self._room:
            self._room.notify_all()
        if batch.patterns:
            self.committed_patterns.set()

    def _write(self, batch: Uncommitted) -> None:
        self._kept.registry.commit(
            batch.next_offsets,
            batch.patterns,
            batch.last_seen,
            batch.quarantined,
            day=self._book.today(),
            mask_version=MASK_VERSION,
        )

    async def settled(self) -> None:
        """The vectors of some patterns are in the index: what is visible is reported anew."""
        for log_id in self.board.log_ids():
            progress = self.board.get(log_id)
            await self._report(log_id, progress.next_offset, progress.releasable_end, progress.quarantined)

    async def _report(self, log_id: int, next_offset: int, releasable_end: int, quarantined: int) -> None:
        await self.board.update(
            log_id,
            next_offset=next_offset,
            visible_end=self._book.visible_end(log_id, next_offset),
            releasable_end=releasable_end,
            quarantined=quarantined,
        )
        self._kept.metrics.observe(self._book)

    def close(self) -> None:
        """Ends the decoding thread."""
        self._decoding.close()


def _joined(older: Uncommitted, newer: Uncommitted) -> Uncommitted:
    older.next_offsets.update(newer.next_offsets)
    older.patterns += newer.patterns
    older.last_seen.update(newer.last_seen)
    older.quarantined += newer.quarantined
    return older
