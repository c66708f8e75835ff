"""What was visible when the last process ended, and waiting until it is visible again.

Records that are not sealed are in memory, and the log delivers them again after a restart. Until it has, an answer would miss records that
an earlier one had: so the end of what is visible is noted before it is shown, and after a restart questions wait for it.
"""

import asyncio
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from treering.v1.error_pb2 import ErrorReason
from treering_query import limits
from treering_runtime.errors import ServiceError
from treering_runtime.progress import ProgressBoard
from treering_runtime.slots import Slots

_LOG = structlog.get_logger()


class ShownEnds:
    """The ends of what is visible, in a file, and the ends that are still missing. Belongs to one event loop.

    Args:
        path: The file; created when it is not there.
        board: How far this process is.
        patience_s: How long the log may deliver nothing of what is missing before questions are answered without it, seconds.
    """

    def __init__(self, path: Path, board: ProgressBoard, patience_s: float = limits.RETURN_PATIENCE_S) -> None:
        self._board = board
        self._patience_s = patience_s
        self._slots = Slots(path, struct.Struct("<QQ"), limits.MAX_SHOWN_LOGS)
        before = {slot[0]: slot[1] for slot in self._slots.load() if slot}
        # A log keeps its slot for the life of the process.
        self._slot_of = {log_id: number for number, log_id in enumerate(before)}
        self._before = before
        self._has_returned = asyncio.Event()
        # All slots at once: from here on the file has its full size, so that a note needs no space on the disk.
        self._slots.write(0, [*before.items(), *[None] * (limits.MAX_SHOWN_LOGS - len(before))])

    def note(self, log_id: int, end: int) -> None:
        """Records below `end` are about to be shown."""
        if end < self._before.get(log_id, 0) and not self._has_returned.is_set():
            return  # what was shown before and is missing has to be waited for by the next process as well
        number = self._slot_of.setdefault(log_id, len(self._slot_of))
        # A log above the limit is shown without a note: after a crash nobody waits for its records.
        if number < limits.MAX_SHOWN_LOGS:
            # In the middle of taking a delivery: an error would end that halfway, and the note is of use only after the next crash.
            try:
                self._slots.write(number, [(log_id, end)])
            except OSError as error:
                _LOG.error("what is shown cannot be noted; after a crash nobody waits for it", log_id=str(log_id), problem=str(error))

    async def watch(self) -> None:
        """Returns when everything is visible again, or when the log has delivered nothing of it for too long."""
        # The patience is for a log that stands still. It begins anew with everything that comes.
        until, missing = time.monotonic() + self._patience_s, self._missing()
        while missing and (left_s := until - time.monotonic()) > 0:
            # No await between the look at what is missing and this line: a change cannot be overlooked.
            await self._board.wait_change(self._board.version, left_s)
            if (still := self._missing()) != missing:
                until, missing = time.monotonic() + self._patience_s, still
        for log_id, count in missing.items():
            problem = "records that were visible before the restart were not delivered again; answers lack them until they are"
            _LOG.warning(problem, log_id=str(log_id), missing=count, waited_s=self._patience_s)
            self._slots.write(self._slot_of[log_id], [None])  # a log that is gone does not hold up every start
        # For good: from here on notes may go down again, and questions are answered with what there is.
        self._has_returned.set()

    async def returned(self, timeout_s: float | None) -> None:
        """Waits for the end of `watch`.

        Raises:
            ServiceError: TIMED_OUT when that is not after `timeout_s` seconds (None waits for ever).
        """
        try:
            # Once the watch has ended, this returns at once.
            async with asyncio.timeout(timeout_s):
                await self._has_returned.wait()
        except TimeoutError:
            missing = sum(self._missing().values())
            message = f"{missing} records that were visible before the restart are not yet again; ask again with more time"
            raise ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"missing": str(missing)}) from None

    def _missing(self) -> Mapping[int, int]:
        """Records by log_id."""
        left = {log_id: end - self._board.get(log_id).visible_end for log_id, end in self._before.items()}
        return {log_id: count for log_id, count in left.items() if count > 0}

    def close(self) -> None:
        """Closes the file."""
        self._slots.close()
