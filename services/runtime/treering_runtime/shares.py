"""What callers hold of something bounded that nobody waits for: no caller holds more than half of it."""

from collections import Counter
from collections.abc import Callable

from treering_runtime import caller as callers
from treering_runtime.errors import overloaded


def _nothing() -> None:
    """What gives back nothing."""


class Shares:
    """Counts what callers hold of a whole, and refuses what would be too much. Work of our own is not counted. Belongs to one event loop.

    Args:
        limit: The name of the whole, for the metadata; that of the share follows from it.
        whole: How much all callers may hold together.
        words: What is held, and how, for the message: "calls", "are open".
        connections: How many connections of this host may hold something. Each is a caller of its own there, so that without a bound a
            program that opens more of them would have as many shares as it likes. None = any number.
    """

    def __init__(self, limit: str, whole: int, words: tuple[str, str], *, connections: int | None = None) -> None:
        self._limit = limit
        self._whole = whole
        self._share = max(1, whole // 2)
        self._what, self._how = words
        self._held: Counter[str] = Counter()
        self._total = 0
        self._connections: set[str] = set()
        """Callers of this host that hold something."""
        self._most_connections = connections

    @property
    def total(self) -> int:
        """What is held at the moment."""
        return self._total

    def take(self, amount: int) -> Callable[[], None]:
        """Takes an amount for the current caller; returns what gives it back, once.

        Whoever holds nothing may take an amount that is larger than its share.

        Raises:
            ServiceError: OVERLOADED.
        """
        caller = callers.current()
        if caller == callers.OURSELVES:
            return _nothing
        self._check(caller, amount)
        return self._taken(caller, amount)

    def keep(self, amount: int) -> Callable[[], None]:
        """As `take`, of what the current caller has already and would give back now: never refused."""
        caller = callers.current()
        return _nothing if caller == callers.OURSELVES else self._taken(caller, amount)

    def held(self, amount: int) -> "_Held":
        """Takes an amount for as long as this lasts; see `take`."""
        return _Held(self, amount)

    def _taken(self, caller: str, amount: int) -> Callable[[], None]:
        self._change(caller, amount)
        return lambda: self._change(caller, -amount)

    def _check(self, caller: str, amount: int) -> None:
        own = self._held.get(caller, 0)
        if own and own + amount > self._share:
            problem = f"{own} {self._what} of yours {self._how} already, and the rest is for other callers; try again later"
            raise overloaded(f"{self._limit}_of_one_caller", problem)
        if not own and self._most_connections == len(self._connections) and callers.is_of_this_host(caller):
            most = len(self._connections)
            problem = f"{most} connections of this host have {self._what} that {self._how} already; use fewer, each for several"
            raise overloaded("max_local_connections", problem)
        if self._total + amount > self._whole:
            raise overloaded(self._limit, f"{self._total} {self._what} {self._how} already; try again later")

    def _change(self, caller: str, amount: int) -> None:
        self._total += amount
        self._held[caller] += amount
        if not self._held[caller]:
            del self._held[caller]
            self._connections.discard(caller)
        elif self._most_connections is not None and callers.is_of_this_host(caller):
            self._connections.add(caller)


class _Held:
    """See `Shares.held`. A class: every call has one, and a generator costs four times as much."""

    def __init__(self, shares: Shares, amount: int) -> None:
        self._shares = shares
        self._amount = amount
        self._give_back = _nothing

    def __enter__(self) -> None:
        self._give_back = self._shares.take(self._amount)

    def __exit__(self, *_: object) -> None:
        self._give_back()
