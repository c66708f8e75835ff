"""Who waits for an acknowledgement, and why it may not come."""

import asyncio
from typing import NamedTuple

from treering_ingest.durable_log import DiskFullError, LogFailedError


class Fault(NamedTuple):
    """Why nobody is acknowledged at the moment.

    Each who waits makes an error of its own from it: one that many raise gathers the frames of all of them, with the payloads in them.
    """

    kind: type[LogFailedError] | type[DiskFullError]
    problem: str

    def error(self) -> LogFailedError | DiskFullError:
        """A new error."""
        return self.kind(self.problem)


class Waiter(NamedTuple):
    """Somebody who waits for an acknowledgement, since when on the monotonic clock. The future has None when it may be given."""

    ticket: int
    future: asyncio.Future[Fault | None]
    since: float


def ticket_of(waiter: Waiter) -> int:
    """What waiters are ordered by."""
    return waiter.ticket
