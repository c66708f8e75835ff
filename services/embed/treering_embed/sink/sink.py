"""The sink: takes the log's frames, registers what they say for the first time, and reports how far that is."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import structlog

from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.limits import COMMIT_LINGER_S, MAX_UNCOMMITTED_PATTERNS, MAX_UNCOMMITTED_QUARANTINE_BYTES, RETRY_MAX_S, RETRY_MIN_S
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.registry import Refused, RegisteredPattern, RegistryFault, Summary
from treering_embed.sink.intake import PatternsSeen, read_frames
from treering_embed.sink.log_lag import LogLag
from treering_runtime.columns import TEXTS, FrameDecoder
from treering_runtime.crash_notes import CrashNotes
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.progress import ProgressBoard
from treering_runtime.quarantine import FrameReader, Quarantined, QuarantineSelection, records_by_log

_LOG = structlog.get_logger()
_COMMIT = "commit"


class Uncommitted:
    """What was taken since the last commit."""

    def __init__(self) -> None:
        self.next_offsets: dict[int, int] = {}
        self.links: dict[int, int] = {}
        """The log's chain at `next_offsets`, as far as it is known."""
        self.patterns: list[RegisteredPattern] = []
        self.refused = Refused()
        self.last_seen: dict[tuple[int, int], int] = {}
        """By log_id and pattern id."""
        self.quarantined: list[Quarantined] = []
        self.read_again: list[Quarantined] = []
        self.left: Counter[int] = Counter()
        """Records that leave the quarantine, by log_id."""

    def add(
        self, log_id: int, end_offset: int, parts: Sequence[PatternsSeen], admitted: Sequence[RegisteredPattern], bad: Sequence[Quarantined]
    ) -> None:
        """Adds one delivery."""
        self.next_offsets[log_id] = end_offset
        self.patterns += admitted
        # A later part has what an earlier one brought among its unseen ones: `admitted` has them all.
        for taken in parts:
            self.last_seen.update(dict.fromkeys(((log_id, key) for key in taken.known), end_offset))
        self.last_seen.update(dict.fromkeys(((log_id, pattern.pattern_id) for pattern in admitted), end_offset))
        self.quarantined += bad

    def add_retry(self, items: Sequence[Quarantined], admitted: Sequence[RegisteredPattern], bad: Sequence[Quarantined]) -> None:
        """Adds what was read again."""
        self.patterns += admitted
        self.read_again += items
        self.quarantined += bad
        self.left += records_by_log(items) - records_by_log(bad)

    def join(self, newer: "Uncommitted") -> None:
        """Adds what was taken after it."""
        # Newer values replace older ones: all of both is committed together.
        self.next_offsets.update(newer.next_offsets)
        self.links.update(newer.links)
        self.patterns += newer.patterns
        self.refused.join(newer.refused)
        self.last_seen.update(newer.last_seen)
        self.quarantined += newer.quarantined
        self.read_again += newer.read_again
        self.left += newer.left

    @property
    def is_full(self) -> bool:
        """Whether no more may be taken before a commit."""
        # Counted in what waits in memory: new patterns hold texts, quarantined records hold payloads; known ones cost an integer each.
        held = sum(len(item.payload) for item in self.quarantined)
        return len(self.patterns) + len(self.refused.pattern_ids) >= MAX_UNCOMMITTED_PATTERNS or held >= MAX_UNCOMMITTED_QUARANTINE_BYTES


class EmbedSink:
    """Implements `treering_runtime.sink.Sink`.

    A delivery is decoded on a thread and *taken*: its patterns are known, `next_offset` is past it. A committer gathers what was taken
    and writes it in one transaction: now it is *releasable*. It is *visible* once its patterns have their vectors; `settled` says so.
    """

    def __init__(self, kept: Kept, summary: Summary, notes: CrashNotes) -> None:
        self.board = ProgressBoard()
        self.lag = LogLag()
        self.committed_patterns = asyncio.Event()
        """Set whenever patterns wait for their vectors."""
        self.crowded = asyncio.Event()
        """Set whenever patterns have to give way to new ones."""
        self._kept, self._book, self._summary = kept, kept.book, summary
        self._notes = notes
        self._reader = FrameReader(functools.partial(read_frames, FrameDecoder(TEXTS), kept.book), notes)
        self._decoding = Background("decode")
        # what is known and registered changes only under `_taking`, the registry's progress only under `_committing`
        self._taking = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._uncommitted = Uncommitted()
        self._dirty = asyncio.Event()
        self._room = asyncio.Condition()
        # Patterns of the last run that wait: no commit of this run would wake the indexer for them.
        if kept.book.pending_count:
            self.committed_patterns.set()
        self._look_for_room()

    async def restore(self) -> None:
        """Puts the logs that are known from before on the board."""
        # Both ends at once: what the registry holds was committed, so it is releasable.
        for log_id, next_offset in self._summary.next_offsets.items():
            await self._report(log_id, next_offset, next_offset, self._summary.quarantined.get(log_id, 0))
        # The link belongs to exactly this offset; at any other the chain would refuse the next delivery.
        for log_id, link in self._summary.links.items():
            self.board.chain.restore(log_id, self._summary.next_offsets[log_id], link)

    async def open_log(self, log_id: int, log_start_offset: int) -> None:
        """A delivery of this log begins, where this sink stands, or behind an operator's hole."""
        progress = self.board.get(log_id)
        if progress.next_offset >= log_start_offset:
            return
        _LOG.warning("records were deleted from the log before they arrived here", missing=log_start_offset - progress.next_offset)
        # Not committed: after a crash the log begins at the same offset again, and the hole is in the file by then.
        await self._report(log_id, log_start_offset, progress.releasable_end, progress.quarantined)

    async def deliver(self, log_id: int, frames: Sequence[DeliveredFrame], log_end_offset: int) -> None:
        """Takes frames; waits only while the registry cannot be written."""
        async with self._taking:
            # Under the lock, or two deliveries would share one room. The commit that makes room does not need this lock.
            await self._wait_room()
            # A frame may begin below this offset: its first records were taken by an earlier delivery.
            skip_below = self.board.get(log_id).next_offset
            # A caller that is cancelled here leaves claimed ids only; the same frames claim the same ids again.
            parts, bad = await self._decoding.run(self._reader.take, log_id, frames, skip_below)
            # nothing was changed up to here, and nothing waits from here to the report: a delivery that is cut off is taken, or is not
            end_offset = frames[-1].first_offset + frames[-1].record_count
            # Before `next_offset` moves: the new patterns hold `visible_end` back from the first report on.
            admitted = self._admit(parts)
            self._uncommitted.add(log_id, end_offset, parts, admitted, bad)
            # The link that the chain noted before this delivery; it must reach the registry with the progress it belongs to.
            self._uncommitted.links.update(self.board.chain.of({log_id: end_offset}))
            self._dirty.set()
            self.lag.note(log_end_offset - end_offset)
            self._kept.metrics.admitted((pattern.pattern_id for pattern in admitted), frames[0].arrival_time_unix_nano)
            self._kept.metrics.records.inc(sum(taken.record_count for taken in parts))
            for item in bad:
                _LOG.error("records cannot be read; set aside", log_id=str(log_id), offset=item.first_offset, reason=item.reason)
            # Counted at once, although their commit comes later: they are below the `next_offset` that is reported with them.
            progress = self.board.get(log_id)
            set_aside = progress.quarantined + sum(item.record_count for item in bad)
            await self._report(log_id, end_offset, progress.releasable_end, set_aside)

    def _admit(self, parts: Sequence[PatternsSeen], not_before: Mapping[int, int] | None = None) -> list[RegisteredPattern]:
        if without := sum(taken.without_pattern for taken in parts):
            self._book.without_pattern_count += without
            self._kept.metrics.without_pattern.inc(without)
            _LOG.error("another pattern has the id of records; they are not found by meaning", records=without)
        admitted = [pattern for taken in parts for pattern in self._book.admit(taken.unseen, not_before=not_before)]
        # Refusals go with the delivery that caused them: one transaction, or after a crash both are made again.
        self._uncommitted.refused.join(self._book.take_refused())
        self._look_for_room()
        return admitted

    def _look_for_room(self) -> None:
        if self._book.surplus:
            self.crowded.set()
        else:
            self.crowded.clear()

    async def _wait_room(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: not self._uncommitted.is_full)

    async def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside; what was set aside, or read again, just now is committed first."""
        # The registry holds neither of the two yet: a page would lack records, or hold some that were read again.
        if self._uncommitted.quarantined or self._uncommitted.read_again:
            await self.commit()
        return await self._kept.registry_thread.run(self._kept.registry.quarantined, selection, after)

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads again what was set aside; the patterns in it are registered as any other, and get their vectors in the background.

        Raises:
            RegistryFault: The registry cannot be written; it is tried again in the background.
        """
        return await self._kept.tasks.run(self._read_again(items))

    async def _read_again(self, items: Sequence[Quarantined]) -> int:
        # What is known must not change between reading and admitting: a pattern that is forgotten in between would be lost.
        async with self._taking:
            parts, bad = await self._decoding.run(self._reader.again, items)
            # What is visible of a log must not fall back; and its patterns wait in the order of their offsets.
            not_before = {item.log_id: self.board.get(item.log_id).next_offset for item in items}
            self._uncommitted.add_retry(items, self._admit(parts, not_before), bad)
            self._dirty.set()
            # Still under the lock. When this fails, everything stays in `_uncommitted` and `commit_forever` writes it later.
            await self.commit()
        stored = sum(taken.record_count for taken in parts)
        _LOG.info("records that were set aside were read again", stored=stored, still_set_aside=sum(item.record_count for item in bad))
        return stored

    async def forget(self, pattern_ids: Sequence[int], below: Mapping[int, int]) -> list[int]:
        """Forgets patterns that were last seen below the given ends of their logs; returns which. Must not be cancelled.

        Raises:
            RegistryFault: The registry cannot be written; nothing is forgotten.
        """
        return await self._remove(lambda: self._kept.registry.forget(pattern_ids, below))

    async def evict(self) -> list[int]:
        """Forgets as many patterns that were not seen for longest as new ones need room; returns which. Must not be cancelled.

        Raises:
            RegistryFault: The registry cannot be written; nothing is forgotten.
        """
        gone = await self._remove(self._evict)
        # After the book has forgotten them: otherwise the event stays set, and as many give way again at once.
        self._look_for_room()
        self._book.evicted_count += len(gone)
        self._kept.metrics.evicted.inc(len(gone))
        return gone

    def _evict(self) -> list[int]:
        """On the registry's thread, while nothing is taken."""
        # The book is read on another thread here. That is safe, because whatever changes these parts of it needs `_taking`.
        self._book.established = self._kept.registry.established(self._book.today())
        return self._kept.registry.evict(self._book.surplus, self._book.proven_places)

    async def _remove(self, choose: Callable[[], list[int]]) -> list[int]:
        # no delivery is taken meanwhile: it would still find a pattern known that the registry has deleted, and not register it again
        async with self._taking:
            # first, so that the registry knows where each pattern was seen last
            await self.commit()
            gone = await self._kept.registry_thread.run(choose)
            # After the registry: a fault above must leave the patterns known, as they are still registered.
            self._book.forget(gone)
            self._kept.metrics.forgotten(gone)
        # A forgotten pattern may have been the oldest that waited: `visible_end` moves.
        if gone:
            await self.settled()
        return gone

    async def commit_forever(self) -> None:
        """Writes what was taken, again and again; a disk that refuses is tried again until it does not."""
        pause = RETRY_MIN_S
        while True:
            await self._dirty.wait()
            # One transaction, and so one sync, for all deliveries of this time.
            await asyncio.sleep(COMMIT_LINGER_S)
            try:
                await self.commit()
                self._kept.waiting_for.pop(_COMMIT, None)
                pause = RETRY_MIN_S
            # Other errors end the service: they are faults of the code or a damaged file, and no retry heals them.
            except RegistryFault as error:
                self._kept.waiting_for[_COMMIT] = f"new patterns cannot be registered: {error}"
                _LOG.error("the registry cannot be written; trying again", problem=str(error), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX_S)

    async def commit(self) -> None:
        """Writes what was taken so far; when it cannot, everything stays as it was. A caller that goes away does not stop it.

        Raises:
            RegistryFault: The registry cannot be written.
        """
        await self._kept.tasks.run(self._commit())

    async def _commit(self) -> None:
        async with self._committing:
            # Cleared before the write: a delivery that comes during the write sets it again.
            self._dirty.clear()
            # Swapped before the await: what is taken during the write belongs to the next batch.
            batch, self._uncommitted = self._uncommitted, Uncommitted()
            try:
                await self._kept.registry_thread.run(self._write, batch)
            except BaseException:
                # The older batch takes up the newer one, never the other way: `next_offsets` of the newer must win.
                batch.join(self._uncommitted)
                self._uncommitted = batch
                self._dirty.set()
                raise
            await self._committed(batch)

    async def _committed(self, batch: Uncommitted) -> None:
        # Only now: the indexer reads what waits from the registry, and would find nothing there before the commit.
        if batch.patterns:
            self.committed_patterns.set()
        # Only now, after the sync: ingest may delete from the log what is below.
        for log_id, end in batch.next_offsets.items():
            self.board.update(log_id, releasable_end=end)
        for log_id, count in batch.left.items():
            self.board.update(log_id, quarantined=self.board.get(log_id).quarantined - count)
        async with self._room:
            self._room.notify_all()

    def _write(self, batch: Uncommitted) -> None:
        self._kept.registry.commit(
            batch.next_offsets,
            batch.patterns,
            batch.last_seen,
            batch.quarantined,
            day=self._book.today(),
            now=self._book.now(),
            mask_version=MASK_VERSION,
            read_again=batch.read_again,
            links=batch.links,
            refused=batch.refused,
        )

    async def settled(self) -> None:
        """The vectors of some patterns are in the index: what is visible is reported anew."""
        for log_id in self.board.log_ids():
            progress = self.board.get(log_id)
            await self._report(log_id, progress.next_offset, progress.releasable_end, progress.quarantined)

    async def _report(self, log_id: int, next_offset: int, releasable_end: int, quarantined: int) -> None:
        self.board.update(
            log_id,
            next_offset=next_offset,
            visible_end=self._book.visible_end(log_id, next_offset),
            releasable_end=releasable_end,
            quarantined=quarantined,
        )
        self._kept.metrics.observe(self._book)

    def close(self) -> None:
        """Ends the decoding thread."""
        # The thread first: it writes the notes.
        self._decoding.close()
        self._notes.close()
