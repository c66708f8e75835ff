"""What endless answers have in common: they wait while the store has too much to do, and end when the service stops."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from treering.v1.error_pb2 import ErrorReason
from treering_query.view.port import Records
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError
from treering_runtime.progress import ProgressBoard

T = TypeVar("T")

_RETRY_S = 0.2
"""Pause before the store is asked again when it did not say how long, seconds."""


async def patiently(store: Records, snapshot: Snapshot, work: Callable[[Snapshot], T]) -> T:
    """Runs work on the store; an endless answer has time."""
    while True:
        try:
            return await store.run(snapshot, work)
        except ServiceError as error:
            # Overload alone passes by itself. Everything else is the answer's end, with its reason.
            if error.reason != ErrorReason.ERROR_REASON_OVERLOADED:
                raise
            # As long as the store asks for: followers that all came back at once would keep it overloaded.
            await asyncio.sleep(error.retry_after_s or _RETRY_S)


def refuse_when_draining(board: ProgressBoard) -> None:
    """Ends an answer when the service is stopping.

    Raises:
        ServiceError: DRAINING.
    """
    if board.draining:
        message = "the service is stopping; ask again from the last `resume_from`"
        raise ServiceError(ErrorReason.ERROR_REASON_DRAINING, message)
