"""How many queries run at a time, how many may wait, whose turn is next, and what the others are told."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from treering.v1.error_pb2 import ErrorReason
from treering_runtime import caller as callers
from treering_runtime.errors import ServiceError, overloaded


class Admission:
    """Lets `running` queries in at a time and `waiting` more stand in line, fairly between callers.

    No caller holds the last slot too, so that another one's query begins at once. Callers that wait take turns, each its oldest query
    first. Where the line is full, the newest query of whoever has most in it makes room for a caller with fewer. Belongs to one event
    loop.

    Args:
        kind: What is counted, for the metadata.
        running: How many run at a time.
        waiting: How many may wait for that.
        patience_s: How long one waits, seconds, before it is told to come back. None = as long as the caller.
        words: What is counted, for the message; "`kind` queries" unless it is said.
        share: How many of one caller run at a time; all but one unless it is said.
    """

    def __init__(
        self, kind: str, running: int, waiting: int, *, patience_s: float | None = None, words: str = "", share: int | None = None
    ) -> None:
        self._kind = kind
        self._words = words or f"{kind} queries"
        self._standing = "run or wait" if waiting else "run"
        self._running = running
        self._room = waiting
        self._patience_s = patience_s
        self._share = max(1, running - 1) if share is None else share
        self._held: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        """Who waits, by caller; the callers in the order of their turns."""

    @property
    def present(self) -> int:
        """How many run or wait."""
        return self._held.total() + self._waiting()

    def _waiting(self) -> int:
        return sum(map(len, self._lines.values()))

    @asynccontextmanager
    async def slot(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Waits for a turn and holds it.

        Raises:
            ServiceError: OVERLOADED when the line is full or does not move, TIMED_OUT when the turn does not come in time.
        """
        caller = callers.current()
        await self._turn(caller, timeout_s)
        try:
            yield
        finally:
            self._leave(caller)

    async def _turn(self, caller: str, timeout_s: float | None) -> None:
        # Before anything is counted: a dead place would pass for somebody who waits.
        self._forget_those_who_gave_up()
        # Not while another query of the same caller waits: a newer one must not pass an older one.
        if caller not in self._lines and self._may_run(caller):
            self._held[caller] += 1
            return
        if self._waiting() >= self._room:
            self._make_room(caller)
        # A caller with a short deadline waits until that and hears TIMED_OUT; with a longer one, it hears earlier to come back.
        patient = self._patience_s is None or (timeout_s is not None and timeout_s <= self._patience_s)
        try:
            async with asyncio.timeout(timeout_s if patient else self._patience_s):
                await self._called(caller)
        except TimeoutError:
            if patient:
                raise timed_out("the query waited for its turn until its time was over; try again") from None
            message = f"none of the {self._words} has ended for {self._patience_s:g} s, and no more may run at a time; try again later"
            raise self._overloaded(message) from None

    def _may_run(self, caller: str) -> bool:
        # Work of our own has no share: it is bounded by who starts it.
        share = self._running if caller == callers.OURSELVES else self._share
        return self._held.total() < self._running and self._held[caller] < share

    def _make_room(self, caller: str) -> None:
        most = max(self._lines, key=lambda each: len(self._lines[each]), default=caller)
        # `+ 1`: whoever would have as many as the other one afterwards does not push it out.
        if len(self._lines.get(most, ())) <= len(self._lines.get(caller, ())) + 1:
            raise self._overloaded(f"{self.present} {self._words} {self._standing} already; try again in a moment")
        message = f"more of your {self._words} than of any other caller wait, and others came; try again in a moment"
        self._lines[most][-1].set_exception(self._overloaded(message))
        self._step_out(most, self._lines[most][-1])

    async def _called(self, caller: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(place)
        try:
            # The turn is counted for the caller already by whoever set this future; only its end is left to note.
            await place
        except BaseException:
            if place.done() and not place.cancelled() and not place.exception():
                self._leave(caller)  # called in the moment in which it gave up
            else:
                self._step_out(caller, place)
            raise

    def _step_out(self, caller: str, place: "asyncio.Future[None]") -> None:
        if place in (line := self._lines.get(caller, deque())):
            line.remove(place)
            if not line:
                del self._lines[caller]

    def _leave(self, caller: str) -> None:
        self._held[caller] -= 1
        self._held += Counter()  # drops the zeros
        self._forget_those_who_gave_up()
        # No await from here to the counts: a caller that comes meanwhile cannot take the same turn.
        while (following := next(filter(self._may_run, self._lines), None)) is not None:
            line = self._lines.pop(following)
            # Counted here, not when the woken task runs: until then it would look free.
            self._held[following] += 1
            line.popleft().set_result(None)
            if line:
                self._lines[following] = line  # at the end: its next turn comes after everybody else's

    def _forget_those_who_gave_up(self) -> None:
        """Drops the places that are cancelled already, but whose tasks have not run since: nobody takes a turn there."""
        alive = ((caller, deque(place for place in line if not place.done())) for caller, line in self._lines.items())
        self._lines = {caller: line for caller, line in alive if line}

    def _overloaded(self, message: str) -> ServiceError:
        return overloaded(self._kind, message)


def timed_out(message: str) -> ServiceError:
    """The error of a query whose time is over."""
    return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message)
