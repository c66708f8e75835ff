"""How many queries run at a time, how many may wait, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError

_RETRY_AFTER_S = 1.0


class Admission:
    """Lets `running` queries in at a time and `waiting` more stand in line, first come, first served.

    Args:
        kind: What is counted, for the message and the metadata.
        running: How many run at a time.
        waiting: How many may wait for that.
    """

    def __init__(self, kind: str, running: int, waiting: int) -> None:
        self._kind = kind
        self._room = running + waiting
        self._present = 0
        self._slots = asyncio.Semaphore(running)

    @asynccontextmanager
    async def slot(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Waits for a turn and holds it.

        Raises:
            ServiceError: OVERLOADED when the line is full, TIMED_OUT when the turn does not come in time.
        """
        if self._present >= self._room:
            message = f"{self._room} {self._kind} queries run or wait already; try again in a moment"
            raise ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": self._kind}, retry_after_s=_RETRY_AFTER_S)
        self._present += 1
        try:
            await self._turn(timeout_s)
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._present -= 1

    async def _turn(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise timed_out("the query waited for its turn until its time was over; try again") from None


def timed_out(message: str) -> ServiceError:
    """The error of a query whose time is over."""
    return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message)
