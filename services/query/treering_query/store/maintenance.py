"""Retention, compaction and forgetting: one turn of what `upkeep` says is due."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from treering.v1.log_pb2 import Position
from treering_query.retention.upkeep import Change, Policy, changes
from treering_query.sealed.damage import Damage, DamagedSegmentError
from treering_query.store.pattern_table import Ids
from treering_query.store.published import Published
from treering_query.store.sealed_files import SealedFiles
from treering_query.values.segment import Segment
from treering_query.view.view import View
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()

Forget = Callable[[Sequence[int], Sequence[Position]], Awaitable[None]]
"""Tells whoever else keeps patterns that some have no record below some positions any more; raises to be asked again later."""

_FORGET_AT_ONCE = 10_000
"""Patterns of one call, as the contract has it."""


class Maintenance:
    """One turn at a time. Each change is a whole by itself: a turn that stops in the middle leaves the rest to the next one.

    Args:
        published: What is visible.
        files: Carries the changes out.
        damage: The segments that are known to be damaged: they are dropped in time, and never rewritten.
        without_record: The patterns of a view that no record has; runs on a thread.
        drop_patterns: Takes patterns out of memory and catalog, but for those that have a record again.
    """

    def __init__(
        self,
        published: Published,
        files: SealedFiles,
        damage: Damage,
        without_record: Callable[[View], Ids],
        drop_patterns: Callable[[Ids], Awaitable[None]],
    ) -> None:
        self._published = published
        self._files = files
        self._damage = damage
        self._without_record = without_record
        self._drop_patterns = drop_patterns

    async def turn(self, policy: Policy, now: int, forget: Forget) -> int:
        """Drops, rewrites and merges what the policy says is due at `now` (nanoseconds since 1970); returns how many changes were made.

        Files of an earlier turn that no query holds any more are deleted: a reader of the manifest has the time between two turns to open
        what it names. Patterns without a record are forgotten, elsewhere first, so that one that could not be told stays due.
        """
        # First: what the turn before replaced has had the whole interval to be read to its end.
        await self._remove_retired()
        # What has left for good is forgotten; a question that still reads a retired segment is refused on account of it.
        there = (*self._published.view.segments, *self._published.retired())
        self._damage.forget_all_but({segment.segment_id for segment in there})
        # Once, before the first change: segments that a change of this turn makes wait for the next one.
        due = list(changes(self._published.view.segments, policy, now, frozenset(self._damage.segment_ids)))
        # Each gives its turn back: a seal comes between two of them, not after all.
        for change in due:
            await self._rewrite(change)
        await self._forget(forget)
        return len(due)

    async def _rewrite(self, change: Change) -> None:
        try:
            segment = await self._files.change(lambda sealer: sealer.rewrite(change.segments, change.without))
        # The others go on. This one stays as it is, is refused to questions, and leaves by its age.
        except DamagedSegmentError as error:
            self._damage.mark(error.damaged)
            return
        rows = sum(each.row_count for each in change.segments)
        _LOG.info("segments rewritten", segments=len(change.segments), rows=rows, rows_kept=segment.row_count if segment else 0)

    async def close(self) -> None:
        """Removes what no question can read any more, so that a service that stops leaves no file that belongs to nothing."""
        await self._files.finish()  # a merge whose caller has gone retires its segments only when it ends
        await self._remove_retired()

    async def _remove_retired(self) -> None:
        # A list of its own: removals await, and questions end meanwhile.
        for segment in self._published.unread():
            await self._remove(segment)

    async def _remove(self, segment: Segment) -> None:
        try:
            # On the catalog's thread, in turn with the checks, which look at the names of files.
            await self._files.change(lambda sealer: sealer.remove(segment))
        except OSError as error:  # the others are removed all the same; this one is tried again at the next turn
            _LOG.warning("the file of a segment that is gone cannot be removed", file=segment.path.name, problem=str(error))
        else:
            self._published.removed(segment)

    async def _forget(self, forget: Forget) -> None:
        # One view for patterns and positions: "no record below" is true of these positions only.
        view = self._published.view
        # Half a second for many patterns: not on the event loop.
        dead = await on_own_thread("upkeep", lambda: self._without_record(view))
        for start in range(0, len(dead), _FORGET_AT_ONCE):
            # If embed does not answer, this raises and the patterns stay listed here: they are found again at the next turn.
            await forget(dead[start : start + _FORGET_AT_ONCE].tolist(), view.positions())
        if len(dead):
            # Last, and looked at anew there: some may have a record again by now.
            await self._drop_patterns(dead)
