"""A note of how far sinks hold the log, so that a log that lost its end is recognised before it gives an offset out twice."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import structlog

from treering_ingest.delivery import SinkState
from treering_ingest.wakeup import Wakeup
from treering_ingest.wal import Log
from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import StartError

_LOG = structlog.get_logger()
_INTERVAL_S = 1.0
"""Shortest time between two notes, seconds: each costs two syncs. A sink that is further than the note is noticed when it connects."""


class DeliveredNote:
    """The file `DELIVERED`: log and offset up to which some sink has received it.

    Args:
        path: The file.
        log: The open log.
        sinks: Every configured sink.
    """

    def __init__(self, path: Path, log: Log, sinks: Sequence[SinkState]) -> None:
        self._path = path
        self._log = log
        self._sinks = sinks
        self._offset = self._read()

    def check(self) -> None:
        """Compares the note with the log.

        Raises:
            StartError: The log ends before what was delivered of it.
        """
        if self._offset > self._log.end_offset:
            raise StartError(
                f"log {self._log.log_id:016x} ends at offset {self._log.end_offset}, but was delivered up to {self._offset}: "
                f"durable records were lost. Restore the files of {self._log.files.path}; or, to go on without those records, "
                "move that directory away, and a new log begins"
            )

    def _read(self) -> int:
        if not self._path.exists():
            return 0
        try:
            found = json.loads(self._path.read_text())
            return int(found["offset"]) if found["log_id"] == f"{self._log.log_id:016x}" else 0
        except (ValueError, KeyError, TypeError):
            raise StartError(f"{self._path} is damaged; delete it, if no sink complains of SINK_AHEAD afterwards all is well") from None

    async def run(self, changed: Wakeup) -> None:
        """Keeps the note up to date until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.write)
            except OSError as error:
                _LOG.warning("the note of what was delivered cannot be written", file=str(self._path), problem=str(error))
            await asyncio.sleep(_INTERVAL_S)
            while self._delivered() <= self._offset:
                await changed.wait()

    def write(self) -> None:
        """Writes the note if sinks are further than it."""
        offset = self._delivered()
        if offset > self._offset:
            write_atomically(self._path, json.dumps({"log_id": f"{self._log.log_id:016x}", "offset": offset}).encode())
            self._offset = offset

    def _delivered(self) -> int:
        """What sinks hold of this log; a sink that is ahead of it is another matter, and refused by its delivery."""
        return max((sink.progress.next_offset for sink in self._sinks if not sink.ahead), default=0)
