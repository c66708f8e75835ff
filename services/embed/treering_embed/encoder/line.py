"""Who waits for the model, and whose turn is next: the most urgent first, but not for ever; among those of one urgency callers in turns."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from treering_embed.limits import MAX_PASSED_OVER, MAX_WAITING_SEARCHES, MAX_WAITING_TEXTS, OVERLOAD_RETRY_S
from treering_runtime.errors import ServiceError, overloaded


class Urgency(IntEnum):
    """Who waits; lower goes first."""

    SEARCH = 0
    TEXTS = 1
    PATTERNS = 2


_LIMITS = {Urgency.SEARCH: ("max_waiting_searches", MAX_WAITING_SEARCHES), Urgency.TEXTS: ("max_waiting_texts", MAX_WAITING_TEXTS)}


@dataclass(eq=False)
class Call:
    """One call for vectors, from its admission on."""

    urgency: Urgency
    caller: str
    waiting: int
    """Texts whose run has not begun."""
    refused: bool = False
    """Whether it had to make room for others."""


@dataclass(order=True)
class Job:
    """Work of a call: one run of the model, or what comes before it."""

    urgency: Urgency
    turn: int
    number: int
    call: Call = field(compare=False)
    work: Callable[[Sequence[str]], Any] = field(compare=False)
    texts: Sequence[str] = field(compare=False)
    encodes: bool = field(compare=False)
    give_way_until: float = field(compare=False)
    done: "Future[Any]" = field(compare=False)


class Line:
    """The jobs that wait. Each run is a turn: a caller with many waits for every other caller between two of its own.

    A less urgent job waits for `MAX_PASSED_OVER` more urgent ones at most, or whoever has enough of those would keep new patterns from ever
    getting their vectors.

    Where as many texts of one urgency wait as may, the newest call of whoever has most of them makes room for a caller with fewer. Its
    user sees to it that one thread at a time is in here.

    Args:
        counted: Told how many texts of an urgency wait more, or less.
        may_begin: Whether a job need not wait for anything else; only such a one goes before a more urgent one.
    """

    def __init__(self, counted: Callable[[Urgency, int], None], may_begin: Callable[[Job], bool]) -> None:
        self._counted = counted
        self._may_begin = may_begin
        self._passed_over: Counter[Urgency] = Counter()
        """Runs that more urgent jobs had, one after another, while one of an urgency waited."""
        self._jobs: list[Job] = []
        self._calls: dict[Call, None] = {}
        """Those of which something waits, oldest first."""
        self._waiting: dict[Urgency, Counter[str]] = {urgency: Counter() for urgency in Urgency}
        self._numbers = itertools.count()
        self._turn = dict.fromkeys(Urgency, 0)
        """Of the job that began last."""
        self._last_turns: dict[Urgency, dict[str, int]] = {urgency: {} for urgency in Urgency}
        """Of the newest job of each caller, where it is not over."""

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def first(self) -> Job:
        """The job whose turn is next."""
        most_urgent = self._jobs[0]
        for urgency in reversed(Urgency):
            if urgency > most_urgent.urgency and self._passed_over[urgency] >= MAX_PASSED_OVER:
                waiting = [job for job in self._jobs if job.urgency is urgency and self._may_begin(job)]
                if waiting:
                    return min(waiting)
        return most_urgent

    def admit(self, call: Call) -> list[Job]:
        """Counts the texts of a call as waiting; returns the jobs of calls that made room, which the user has to refuse.

        Raises:
            ServiceError: OVERLOADED, when too many others wait.
        """
        name, limit = _LIMITS.get(call.urgency, ("", 0))
        # By caller, not by call: many small calls of one sender must not outweigh one call of another.
        waiting, gone = self._waiting[call.urgency], []
        while name and waiting.total() + call.waiting > limit:
            newest = self._newest_of_most(call)
            if newest is None:
                raise _overloaded(name, f"{waiting.total()} texts wait for the model already")
            newest.refused = True
            # Counted out at once: the next step of this loop must see the room that it made.
            gone += self.leave(newest)
        self._calls[call] = None
        self._count(call, call.waiting)
        return gone

    def _newest_of_most(self, call: Call) -> Call | None:
        """The newest call of the caller that has most waiting, unless that is no more than the caller of `call` would have."""
        waiting = self._waiting[call.urgency]
        most = max(waiting, key=waiting.__getitem__, default=call.caller)
        # `+ call.waiting`: whoever would have as many as the others afterwards does not push them out.
        if waiting[most] <= waiting[call.caller] + call.waiting:
            return None
        return next(each for each in reversed(self._calls) if each.waiting and (each.urgency, each.caller) == (call.urgency, most))

    def push(self, job: Job) -> None:
        """Adds a job of an admitted call; its turn comes after the caller's others."""
        last = self._last_turns[job.urgency]
        job.number = next(self._numbers)
        # Never before the turn that runs now: a caller that sent nothing for long has saved up no turns.
        job.turn = last[job.call.caller] = max(self._turn[job.urgency], last.get(job.call.caller, -1) + 1)
        heapq.heappush(self._jobs, job)

    def pop(self) -> Job:
        """Takes the job whose turn is next."""
        job = self.first()
        self._remove(job)
        for urgency in {each.urgency for each in self._jobs if each.urgency > job.urgency}:
            self._passed_over[urgency] += 1
        self._passed_over[job.urgency] = 0
        if job.turn != self._turn[job.urgency]:
            self._turn[job.urgency] = job.turn
            # `push` compares with the turn that runs only: lower ones would stay here for every caller ever seen.
            last = self._last_turns[job.urgency]
            self._last_turns[job.urgency] = {caller: turn for caller, turn in last.items() if turn >= job.turn}
        # Measuring lengths comes before the runs: only runs count texts down.
        if job.encodes:
            self._count(job.call, -min(len(job.texts), job.call.waiting))
        return job

    def leave(self, call: Call) -> list[Job]:
        """Nothing of a call waits any more; returns its jobs that did."""
        self._count(call, -call.waiting)
        self._calls.pop(call, None)
        # A pass over the jobs that wait; their number is bounded by the texts that may wait.
        gone = [job for job in self._jobs if job.call is call]
        if gone:
            self._jobs = [job for job in self._jobs if job.call is not call]
            heapq.heapify(self._jobs)
        return gone

    def _remove(self, job: Job) -> None:
        if job is self._jobs[0]:
            heapq.heappop(self._jobs)
        else:
            self._jobs = [each for each in self._jobs if each is not job]
            heapq.heapify(self._jobs)

    def _count(self, call: Call, change: int) -> None:
        waiting = self._waiting[call.urgency]
        waiting[call.caller] += change
        # No entry for callers without texts: `_newest_of_most` and the memory see only those that wait.
        if not waiting[call.caller]:
            del waiting[call.caller]
        if change < 0:
            call.waiting += change
        self._counted(call.urgency, change)


def _overloaded(limit: str, problem: str) -> ServiceError:
    """The error of a call that finds no room, or loses it."""
    return overloaded(limit, f"{problem}; try again in {OVERLOAD_RETRY_S} s", OVERLOAD_RETRY_S)


def made_room(call: Call) -> ServiceError:
    """The error of a call that made room for another caller's."""
    return _overloaded(_LIMITS[call.urgency][0], "more texts of yours than of any other caller wait for the model, and others came")
