"""Forgetting: patterns that no record has any more leave memory and catalog."""

from collections.abc import Callable

from treering_query.store.deliveries import Deliveries
from treering_query.store.pattern_table import Ids, PatternTable
from treering_query.store.sealed_files import SealedFiles
from treering_runtime.patterns import PatternIds


class Forgetting:
    """Forgets patterns, but for those that have a record again.

    Args:
        deliveries: Kept from reading meanwhile.
        patterns: What is known.
        files: What is stored of it.
        ids: Who holds which id.
        patterns_left: Called when patterns have gone.
    """

    def __init__(
        self, deliveries: Deliveries, patterns: PatternTable, files: SealedFiles, ids: PatternIds, patterns_left: Callable[[], None]
    ) -> None:
        self._deliveries = deliveries
        self._patterns = patterns
        self._files = files
        self._ids = ids
        self._patterns_left = patterns_left

    async def drop(self, dead: Ids) -> None:
        """Forgets those of `dead` that have no record now."""
        # No seal between memory and catalog: it would store a pattern's text, which the second step then removes.
        await self._files.exclusively(lambda: self._drop(dead))

    async def _drop(self, dead: Ids) -> None:
        on_thread = self._deliveries.on_thread
        # no delivery meanwhile: one after it finds these patterns unknown, and the seal that stores them again comes after their removal
        async with self._deliveries.paused():
            leaving = await on_thread(lambda: self._patterns.left_by(dead))
            # Deliveries are paused, but a pass of templates may replace the table meanwhile. It rests between passes, so this ends.
            while not self._patterns.forget(leaving):
                leaving = await on_thread(lambda: self._patterns.left_by(dead))
            # with no delivery being read: one that claims an id from here on finds its pattern unknown, and stores it again
            await on_thread(lambda: self._ids.release(leaving.gone.tolist()))
        # Memory first: until the next line is durable, a crash brings them back, without a record, to be forgotten again.
        if len(leaving.gone):
            self._patterns_left()
            await self._files.within(lambda sealer: sealer.forget(leaving.gone.tolist()))
