"""Answers on their way to callers: how much of them may wait to be taken, and for how long.

An answer that is written stays in memory until its caller takes it from the wire. Whoever asks and does not read fills it, with streams as
with single answers; so what waits is bounded for each caller and for all, and nothing waits for ever. gRPC lets a call end only when its
answers were taken, the error that says so included. So a caller that takes nothing of that either loses its connection.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog

from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError
from treering_runtime.hanging_up import hang_up
from treering_runtime.limits import (
    MAX_LOCAL_CONNECTIONS,
    MAX_OPEN_CALLS,
    MAX_UNREAD_BYTES,
    MAX_UNREAD_S,
    UNCOUNTED_ANSWER_BYTES,
)
from treering_runtime.shares import Shares

_LOG = structlog.get_logger()


class AnsweredCall(Protocol):
    """The caller's end of a call."""

    def peer(self) -> str:
        """Where it is, as gRPC says it."""

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str | bytes]], /) -> None:
        """Begins the answer."""

    async def write(self, message: bytes, /) -> None:
        """Returns when there is room on the wire for all of the message."""


@dataclass(frozen=True)
class CallBounds:
    """What callers may hold of a server."""

    open_calls: int = MAX_OPEN_CALLS
    local_connections: int = MAX_LOCAL_CONNECTIONS
    unread_bytes: int = MAX_UNREAD_BYTES
    unread_s: float = MAX_UNREAD_S


USUAL_BOUNDS = CallBounds()


class Answers:
    """Gives answers to callers. Belongs to one event loop.

    Args:
        bounds: Of the server.
        calls: The open calls; one that was given up is counted until it has really ended.
    """

    def __init__(self, bounds: CallBounds, calls: Shares) -> None:
        self._patience_s = bounds.unread_s
        self._calls = calls
        self._unread = Shares("max_unread_bytes", bounds.unread_bytes, ("bytes of answers", "are not taken"))
        self._untaken: set[asyncio.Task[None]] = set()

    async def give(self, caller: AnsweredCall, answer: bytes, *, begins: bool = True) -> None:
        """Sends one answer, or one of a stream. Whoever takes none for long loses its call: others wait for the turn and files it holds.

        Args:
            caller: Who is to take it.
            answer: One message.
            begins: Whether it is the first of the call.

        Raises:
            ServiceError: OVERLOADED.
            asyncio.CancelledError: The caller has gone; gRPC found out while it wrote, before it cancelled the handler.
        """
        try:
            if len(answer) > UNCOUNTED_ANSWER_BYTES:
                await self._give_counted(caller, answer, begins=begins)
            else:
                await self._give_small(caller, answer)
        # The same event comes as a cancellation when gRPC notices it earlier: no fault of ours, so it is made one here.
        except grpc.aio.BaseError as error:
            raise asyncio.CancelledError from error

    async def _give_small(self, caller: AnsweredCall, answer: bytes) -> None:
        """Without a task, which would cost an acknowledgement more than its writing: nobody counts it, so nobody asks for its end."""
        try:
            # Around one write: the time that the handler computes between two responses does not count.
            async with asyncio.timeout(self._patience_s):
                await caller.write(answer)
        except TimeoutError:
            raise self._not_taken() from None

    async def _give_counted(self, caller: AnsweredCall, answer: bytes, *, begins: bool) -> None:
        give_back = self._unread.take(len(answer))
        # A task of its own: what is written stays in memory until gRPC is done with it, whatever becomes of the call meanwhile. It has the
        # beginning, too: nothing is awaited between taking the bytes and what gives them back.
        writing = asyncio.ensure_future(_written(caller, answer, begins=begins))
        writing.add_done_callback(_looked_at)
        writing.add_done_callback(lambda _: give_back())
        try:
            async with asyncio.timeout(self._patience_s):
                await asyncio.shield(writing)
        except TimeoutError:
            raise self._given_up(caller, writing) from None

    def _given_up(self, caller: AnsweredCall, writing: "asyncio.Future[None]") -> ServiceError:
        """The error of a call whose answer nobody takes; what gRPC still has of it is looked after."""
        stays_open = self._calls.keep(1)
        writing.add_done_callback(lambda _: stays_open())
        task = asyncio.create_task(self._hang_up_unless_taken(caller.peer(), writing))
        self._untaken.add(task)
        task.add_done_callback(self._untaken.discard)
        return self._not_taken()

    def _not_taken(self) -> ServiceError:
        message = f"nothing of the answer was taken for {self._patience_s:g} s, so the call was ended; read faster, or ask for less"
        return ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": "max_unread_s"})

    async def _hang_up_unless_taken(self, peer: str, writing: "asyncio.Future[None]") -> None:
        await asyncio.wait({writing}, timeout=self._patience_s)
        if not writing.done() and hang_up(peer):
            _LOG.warning("a caller that takes neither its answer nor the error lost its connection", peer=peer)


async def _written(caller: AnsweredCall, answer: bytes, *, begins: bool) -> None:
    if begins:
        # by itself: gRPC takes no error for a call whose beginning is on its way together with an answer that nobody takes
        await caller.send_initial_metadata(())
    await caller.write(answer)


def _looked_at(writing: "asyncio.Future[None]") -> None:
    """Takes the error of a write whose call has gone meanwhile: nobody else asks for it, and it is no fault of ours."""
    if not writing.cancelled():
        writing.exception()
