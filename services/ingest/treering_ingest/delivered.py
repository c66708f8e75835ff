"""A note of how far the log was sent to sinks, so that a log that lost its end is recognised before it gives an offset out twice."""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from treering_ingest.durable_log import DurableLog
from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import StartError
from treering_runtime.fsync import fdatasync
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()
_SYNC_INTERVAL_S = 1.0
"""How often the note is synced while it changes, seconds."""
# More than three numbers of 64 bits and their names take.
_BYTES = 128
"""Size of the file: one sector, replaced by one write."""


class DeliveredNote:
    """The file `DELIVERED`: log, and offset up to which some sink may have received it.

    It is written before anything is sent, so that no sink is ever further than the note of a process that was killed. It is synced each
    second only: after a power cut it may be that much behind, and then a sink that is further than the log is noticed when it connects.

    Args:
        path: The file.
        log: The open log.

    Raises:
        StartError: The log ends before what was sent of it; or the file cannot be used.
    """

    def __init__(self, path: Path, log: DurableLog) -> None:
        self._path = path
        self._log = log
        self._offset, self._unlinked_below = self._read()
        # Before anything is written: the note of a log that lost its end must stay as it is, it is the evidence.
        self._check()
        try:
            write_atomically(path, self._content())
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StartError(f"{path} cannot be written: {error.strerror}; look at the disk, then start again") from error
        self._unsynced = asyncio.Event()
        self._failing = False

    def _check(self) -> None:
        # Checked against the log's end, not its durable end: at the start they are the same, as recovery has synced all of it.
        if self._offset > self._log.end_offset:
            raise StartError(
                f"log {self._log.log_id} ends at offset {self._log.end_offset}, but was delivered up to {self._offset}: "
                f"durable records were lost. Restore the files of {self._log.place}; or, to go on without those records, "
                "move that directory away, and a new log begins"
            )

    def _read(self) -> tuple[int, int]:
        # No note yet: a new directory, or one from before the note. Then a sink without a link may be as far as the log is now.
        if not self._path.exists():
            return 0, self._log.end_offset
        try:
            found = json.loads(self._path.read_text())
            # The directory of the log was replaced, and this is the note of the old one. It says nothing of the new log.
            if found["log_id"] != f"{self._log.log_id:016x}":
                return 0, self._log.end_offset
            return int(found["offset"]), int(found.get("unlinked_below", self._log.end_offset))
        except (ValueError, KeyError, TypeError):
            raise StartError(f"{self._path} is damaged; delete it, if no sink complains of SINK_AHEAD afterwards all is well") from None

    def _content(self) -> bytes:
        content = {"log_id": f"{self._log.log_id:016x}", "offset": self._offset, "unlinked_below": self._unlinked_below}
        # Always of one length, so that one write replaces it and nothing of a longer one is left behind.
        return json.dumps(content).encode().ljust(_BYTES - 1) + b"\n"

    @property
    def unlinked_below(self) -> int:
        """How far a sink may be that has no link of the log's chain: where the log ended when a version that knows links first opened it.

        0 for a log that began with such a version. So the disk of ingest says which sinks are from before, and not a sink itself.
        """
        return self._unlinked_below

    def sending(self, end_offset: int) -> None:
        """Notes that everything below an offset may be with a sink from now on. Costs a write without a sync."""
        # Several sinks share the note: it says how far the furthest may be.
        if end_offset <= self._offset:
            return
        self._offset = end_offset
        with self._said():
            # On the event loop: it goes into the page cache. What a killed process wrote there is still seen by the next one.
            os.pwrite(self._descriptor, self._content(), 0)
        self._unsynced.set()

    async def run(self) -> None:
        """Syncs the note while it changes, until cancelled."""
        while True:
            await self._unsynced.wait()
            # Before the sync: what is written while it runs sets this again, and is synced the next time.
            self._unsynced.clear()
            with self._said():
                await on_own_thread("delivered", self._sync)
            # After the sync, so that two of them are never nearer than this, however often the note changes.
            await asyncio.sleep(_SYNC_INTERVAL_S)

    def _sync(self) -> None:
        """On a descriptor of its own: the other may be closed while this runs on."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            fdatasync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """A disk that refuses the note must not stop delivery; it is said once."""
        try:
            yield
            self._failing = False
        except OSError as error:
            if not self._failing:
                _LOG.warning("the note of what was delivered cannot be written", file=str(self._path), problem=str(error))
            self._failing = True

    def close(self) -> None:
        """Closes the file. A second call changes nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
