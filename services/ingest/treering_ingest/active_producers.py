"""Which producers sent lately, and whose they are: those must not be forgotten for the sake of others."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from treering_ingest.limits import PRODUCER_ACTIVE_S
from treering_runtime.errors import overloaded


class ActiveProducers:
    """Guards the table of producers, which forgets the one that has been silent longest whenever a new one comes.

    A producer is *active* for `active_s` seconds after its newest batch. A new one is refused before it would push out an active one; and
    no caller may have more active ones than it leaves places to others, so that a flood of new ids leaves room for the next caller. After
    a restart nobody is active until it sends. Belongs to one event loop.

    Args:
        capacity: Of the table.
        active_s: See above.
        clock: Monotonic, seconds.
    """

    def __init__(self, capacity: int, active_s: float = PRODUCER_ACTIVE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._active_s = active_s
        self._clock = clock
        # Both move a producer to the end with its newest batch. So the one that the table forgets first is the first to be silent here.
        self._newest: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """When the newest batch came, and whose; in the table's order."""
        self._by_caller: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are active."""
        self._expire()
        return len(self._newest)

    def check_new(self, caller: str) -> None:
        """Whether a caller may begin with a producer that the table does not know.

        Raises:
            ServiceError: OVERLOADED.
        """
        self._expire()
        # A caller without any gets the last place: `own` is 0 and `room` at least 1. A Counter that is only read gets no new key.
        room, own = self._capacity - len(self._newest), self._by_caller[caller]
        if own < room:
            return
        if own:
            problem = f"{own} producers of yours sent within {self._active_s:g} s, and {room} places are left for others"
            raise overloaded("max_producers_of_one_caller", f"{problem}; go on with one that you have, or retry later")
        raise overloaded("max_producers", f"{self._capacity} producers sent within {self._active_s:g} s; retry later")

    def sent(self, producer_id: bytes, caller: str) -> None:
        """A new batch of a producer has its place in the log."""
        # Taken out first: it goes to the end of the order, and it counts for the caller that sent last.
        self._forget(producer_id)
        self._newest[producer_id] = self._clock(), caller
        self._by_caller[caller] += 1

    def _expire(self) -> None:
        until = self._clock() - self._active_s
        # Oldest first, so the work of a look is that of the producers that fell silent since the last one.
        while self._newest and next(iter(self._newest.values()))[0] <= until:
            self._forget(next(iter(self._newest)))

    def _forget(self, producer_id: bytes) -> None:
        if known := self._newest.pop(producer_id, None):
            self._by_caller[known[1]] -= 1
            # Without this, a caller that came once would stay in memory for ever.
            if not self._by_caller[known[1]]:
                del self._by_caller[known[1]]
