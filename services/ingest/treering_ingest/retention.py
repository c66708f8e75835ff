"""Deleting what every sink has safe."""

import asyncio
from collections.abc import Sequence

import structlog

from treering_ingest.committer import Committer
from treering_ingest.disk import DiskGuard
from treering_ingest.durable_log import DiskFullError
from treering_ingest.sink_state import SinkState

_LOG = structlog.get_logger()
_INTERVAL_S = 5.0
"""How often segments are looked at, seconds: one is tens of megabytes, so nothing is gained by haste."""


class Retention:
    """Deletes sealed segments below the smallest `releasable_end` of all sinks. Without sinks nothing is ever deleted.

    Args:
        committer: Whose log is trimmed.
        sinks: Every configured sink; one that has not spoken yet holds everything.
        disk: While it is low, the minimums do not hold.
        min_age_s: Sealed segments stay so long, seconds.
        min_bytes: So many bytes stay.
    """

    def __init__(self, committer: Committer, sinks: Sequence[SinkState], disk: DiskGuard, *, min_age_s: float, min_bytes: int) -> None:
        self._committer = committer
        self._sinks = sinks
        self._disk = disk
        self._min_age_s = min_age_s
        self._min_bytes = min_bytes

    async def run(self) -> None:
        """Trims every few seconds, until cancelled.

        Raises:
            LogFailedError: The log failed, in a deletion or before: the service cannot go on.
        """
        while True:
            try:
                await self.trim()
            # The manifest is written before a file goes, and there was no room for it, or no descriptor. That may pass.
            except DiskFullError as error:
                _LOG.warning("segments cannot be deleted", problem=str(error))
            await asyncio.sleep(_INTERVAL_S)

    async def trim(self) -> None:
        """Deletes what may be deleted now."""
        log, low = self._committer.log, self._disk.check()
        # Without sinks the default 0: nobody has anything safe, so everything stays.
        below = min((sink.releasable_end for sink in self._sinks), default=0)
        below -= 1  # the record before a sink's place stays: its link is what the next delivery to that sink begins with
        if below < log.start_offset:
            return
        # Space before history: what a sink still needs stays all the same, because `below` does not change.
        min_age_s, min_bytes = (0.0, 0) if low else (self._min_age_s, self._min_bytes)
        # On the log's thread: a deletion writes the manifest, as the begin of a segment does.
        gone = await self._committer.on_log_thread(lambda: log.release(below, min_age_s=min_age_s, min_bytes=min_bytes))
        if gone:
            _LOG.info("segments deleted", count=gone, log_start_offset=log.start_offset)
