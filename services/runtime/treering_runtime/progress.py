"""How far a sink is in each log, and waiting for it to be further."""

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_runtime.chain import Chain
from treering_runtime.errors import ServiceError
from treering_runtime.holes import Holes
from treering_runtime.offset_waiters import OffsetWaiters
from treering_runtime.wakeup import Wakeup


@dataclass(frozen=True)
class Progress:
    """Three ends in one log, and what was set aside. See `SinkProgress` in the contract."""

    next_offset: int = 0
    visible_end: int = 0
    releasable_end: int = 0
    quarantined: int = 0


class ProgressBoard:
    """The progress of a sink by log_id. Belongs to one event loop; every change wakes all who wait."""

    def __init__(self) -> None:
        self._by_log: dict[int, Progress] = {}
        self._begun: dict[int, int] = {}
        self._waiting: defaultdict[int, OffsetWaiters] = defaultdict(OffsetWaiters)
        self._changed = Wakeup()
        self.chain = Chain()
        """The links of the logs where the sink stands."""
        self.holes = Holes()
        """What the sink does without; put here by the servicer that reads the file."""
        self.version = 0
        self.draining = False
        """True once the service is stopping: endless answers end."""

    def get(self, log_id: int) -> Progress:
        """How far the sink is; zeros for a log it has never seen."""
        return self._by_log.get(log_id, Progress())

    def log_ids(self) -> list[int]:
        """The logs that the sink has seen."""
        return list(self._by_log)

    def holds(self, log_id: int) -> bool:
        """Whether something of a log was taken, now or before a restart. Where it begins is the log's word until then, and may change."""
        # A log in `_begun` is on the board because a delivery of it runs; nothing of it was taken.
        return log_id in self._by_log and log_id not in self._begun

    def held_logs(self) -> list[int]:
        """The logs of which something was taken."""
        return [log_id for log_id in self._by_log if log_id not in self._begun]

    def begin(self, log_id: int, offset: int) -> None:
        """A delivery of a log of which nothing was taken begins at an offset: the sink does not hold what is below."""
        # Before the update, which takes a larger `next_offset` than this one for the first thing that was taken.
        self._begun[log_id] = offset
        self.update(log_id, next_offset=offset)

    def leave(self, log_id: int) -> None:
        """A delivery is over. A log of which nothing was taken is forgotten."""
        # Forgotten as a whole: a caller that names many logs and sends nothing leaves no memory behind.
        if self._begun.pop(log_id, None) is not None:
            del self._by_log[log_id]
            self.chain.forget(log_id)
            self._notify()

    def update(self, log_id: int, **changes: int) -> None:
        """Sets some fields of `Progress` and wakes who waits. Not a coroutine: whoever reads and then updates does it in one step."""
        # No await between reading and replacing: two deliveries that update different fields cannot lose each other's change.
        self._by_log[log_id] = progress = dataclasses.replace(self.get(log_id), **changes)
        # Something was taken: from here on the log goes on where this sink stands, whatever the log says of its start.
        if progress.next_offset > self._begun.get(log_id, progress.next_offset):
            del self._begun[log_id]
        # `get`, not the index: the `defaultdict` would make an entry for every log that nobody waits for.
        if waiters := self._waiting.get(log_id):
            waiters.reached(progress.visible_end)
        self._notify()

    def drain(self) -> None:
        """Sets `draining` and wakes who waits."""
        self.draining = True
        self._notify()

    def _notify(self) -> None:
        # The version first: a caller that is woken compares it with the one it has seen.
        self.version += 1
        self._changed.fire()

    async def wait_change(self, version: int, timeout_s: float) -> int:
        """Returns the version once it differs from `version`, or after `timeout_s` seconds."""
        # Looked at without an await before the wait, so a change in between cannot be missed.
        if self.version == version:
            await self._changed.wait(timeout_s)
        return self.version

    def seen(self) -> list[Position]:
        """Visible ends, for answers."""
        # Sorted: answers of one state are equal, byte by byte.
        return [Position(log_id=log_id, offset=progress.visible_end) for log_id, progress in sorted(self._by_log.items())]

    def _missing(self, positions: Iterable[Position]) -> list[Position]:
        return [position for position in positions if self.get(position.log_id).visible_end < position.offset]

    async def wait_visible(self, positions: Sequence[Position], timeout_s: float | None) -> None:
        """Waits until everything below `positions` is visible.

        Raises:
            ServiceError: TIMED_OUT when it is not after `timeout_s` seconds (None waits for ever).
        """
        # Before the timeout begins: with 0 seconds left, what is visible already is answered.
        if not self._missing(positions):
            return
        try:
            async with asyncio.timeout(timeout_s):
                # Checked anew after each wait: the first missing position may be there while another one is not yet.
                while missing := self._missing(positions):
                    await self._reached(missing[0])
        except TimeoutError:
            # `from None`: the chain of exceptions would keep the frames of the wait, and say nothing more.
            raise self._timed_out(positions) from None

    async def _reached(self, position: Position) -> None:
        """Waits for one position: the work of a change is that of the waiters it wakes, however many others there are."""
        waiters = self._waiting[position.log_id]
        try:
            await waiters.wait(position.offset)
        finally:
            # Waiters of a log that nobody waits for are dropped: positions may name logs that do not exist.
            if not waiters and self._waiting.get(position.log_id) is waiters:
                del self._waiting[position.log_id]

    def _timed_out(self, positions: Sequence[Position]) -> ServiceError:
        # Asked again: the position that was waited for may be there by now, and another one is missing.
        wanted = self._missing(positions)[0]
        have = self.get(wanted.log_id).visible_end
        message = f"offset {wanted.offset} of log {wanted.log_id} was not visible in time, {have} was; ask again with more time"
        return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"waiting_for": str(wanted.offset)})
