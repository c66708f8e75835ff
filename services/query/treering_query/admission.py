"""How many queries run at a time, how many may wait, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from treering.v1.error_pb2 import ErrorReason
from treering_query.settings import QuerySettings
from treering_runtime.errors import ServiceError

_RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class StreamBounds:
    """How many answers without an end, or with a far one, there may be."""

    exports_running: int = 4
    exports_waiting: int = 16
    followers: int = 256
    """Tails and watches together."""

    @classmethod
    def from_settings(cls, settings: QuerySettings) -> "StreamBounds":
        """The bounds that the settings ask for."""
        return cls(settings.export_max_running, settings.export_max_waiting, settings.follow_max_running)


class Admission:
    """Lets `running` queries in at a time and `waiting` more stand in line, first come, first served.

    Args:
        kind: What is counted, for the metadata.
        running: How many run at a time.
        waiting: How many may wait for that.
        patience_s: How long one waits, seconds, before it is told to come back. None = as long as the caller.
        words: What is counted, for the message; "`kind` queries" unless it is said.
    """

    def __init__(self, kind: str, running: int, waiting: int, *, patience_s: float | None = None, words: str = "") -> None:
        self._kind = kind
        self._words = words or f"{kind} queries"
        self._standing = "run or wait" if waiting else "run"
        self._room = running + waiting
        self._present = 0
        self._slots = asyncio.Semaphore(running)
        self._patience_s = patience_s

    @property
    def present(self) -> int:
        """How many run or wait."""
        return self._present

    @asynccontextmanager
    async def slot(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Waits for a turn and holds it.

        Raises:
            ServiceError: OVERLOADED when the line is full or does not move, TIMED_OUT when the turn does not come in time.
        """
        if self._present >= self._room:
            raise self._overloaded(f"{self._room} {self._words} {self._standing} already; try again in a moment")
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
        patient = self._patience_s is None or (timeout_s is not None and timeout_s <= self._patience_s)
        try:
            async with asyncio.timeout(timeout_s if patient else self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            if patient:
                raise timed_out("the query waited for its turn until its time was over; try again") from None
            message = f"none of the {self._words} has ended for {self._patience_s:g} s, and no more may run at a time; try again later"
            raise self._overloaded(message) from None

    def _overloaded(self, message: str) -> ServiceError:
        metadata = {"limit": self._kind}
        return ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata=metadata, retry_after_s=_RETRY_AFTER_S)


def timed_out(message: str) -> ServiceError:
    """The error of a query whose time is over."""
    return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message)
