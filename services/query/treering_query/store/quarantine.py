"""The store's quarantine: records that could not be read, listed and read again."""

from collections.abc import Sequence

import structlog

from treering_query.sealed.seal_task import SealTask
from treering_query.sealed.sealed_state import SealBatch
from treering_query.store.deliveries import Deliveries
from treering_query.store.intake import Taken
from treering_query.store.kept_clock import KeptClock
from treering_query.store.pattern_table import NewPatterns, PatternTable
from treering_query.store.sealed_files import SealedFiles
from treering_query.store.unsealed import Unsealed
from treering_query.store.without_pattern import WithoutPattern
from treering_runtime.quarantine import Change, Quarantined, QuarantineSelection, records_by_log

_LOG = structlog.get_logger()


class Quarantine:
    """Lists what is quarantined, and stores what has become readable.

    Args:
        deliveries: Reads frames, and tells how far each log is.
        unsealed: What was quarantined since the last seal.
        patterns: Knows which patterns are new.
        files: Holds what is quarantined.
        sealing: Seals what came just now.
        clock: Says when a record was sealed.
        without_pattern: Counts the records that have no pattern.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        unsealed: Unsealed,
        patterns: PatternTable,
        files: SealedFiles,
        *,
        sealing: SealTask,
        clock: KeptClock,
        without_pattern: WithoutPattern,
    ) -> None:
        self._deliveries = deliveries
        self._unsealed = unsealed
        self._patterns = patterns
        self._files = files
        self._sealing = sealing
        self._clock = clock
        self._without_pattern = without_pattern

    async def listed(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is quarantined; what came just now is sealed first."""
        # The list is read from the catalog alone. What is in memory gets there first, by a seal.
        if self._unsealed.quarantined:
            await self._sealing.seal()
        # A batch on its way may hold some, too.
        await self._sealing.settled()
        return await self._files.change(lambda sealer: sealer.quarantined(selection, after))

    async def read_again(self, items: Sequence[Quarantined]) -> int:
        """Reads quarantined records again: what is readable now becomes a segment, in the transaction in which it leaves the quarantine.

        Returns how many records were stored. A caller that is cancelled once the change has begun does not stop it.

        Raises:
            NotQuarantinedError: Some of them have left meanwhile, as another call read them again; nothing was stored.
        """
        # Exclusive from the reading to the commit: no seal comes between. Of two calls with the same items the later one is refused by the
        # catalog's transaction, which stores records only where it takes them out of the quarantine.
        return await self._files.exclusively(lambda: self._read_again(items))

    async def _read_again(self, items: Sequence[Quarantined]) -> int:
        def read() -> tuple[Taken, list[Quarantined], NewPatterns | None]:
            taken, bad = self._deliveries.intake.take_again(items)
            return taken, bad, self._patterns.new_in(taken.patterns)

        # On the deliveries' thread: it alone claims ids of patterns, and the notes of a crash are its own.
        taken, bad, new = await self._deliveries.on_thread(read)
        # No progress: these offsets are below the end already. No id: an attempt that fails is reported, not repeated.
        batch = SealBatch(taken.records, taken.patterns, {}, Change(bad, items))
        # Stored and taken from the quarantine in one transaction. In the same step of the loop as the next line: no await between.
        await self._files.within(lambda sealer: sealer.seal(batch, self._clock.now()))
        self._patterns.add(new)
        self._without_pattern.add(taken.without_pattern)
        # The board shows how many are quarantined; it is told of every log that may have changed.
        for log_id in records_by_log(items):
            self._deliveries.report(log_id)
        _LOG.info("quarantined records were read again", stored=taken.records.num_rows, still=sum(item.record_count for item in bad))
        return int(taken.records.num_rows)
