"""What is known of patterns while the service runs: which are known, which wait for their vector, and whether there is room for more."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from treering_embed.limits import MAX_GIVING_WAY_S, MAX_REFUSED_REMEMBERED, PROVEN_SHARE, SPARE_SHARE
from treering_embed.registry.registry import Refused, RegisteredPattern, Summary
from treering_runtime.clocks import SteadyClock
from treering_runtime.patterns import PatternIds

_DAY_NS = 86_400 * 10**9


def today(now: int) -> int:
    """Days since 1970; `now` in nanoseconds."""
    return now // _DAY_NS


class PatternBook:
    """The registry's summary, kept up to date in memory, so that a known pattern costs one look into a set.

    A pattern over a cap is *keyword-only*: not registered, counted, and considered again when it is seen again; the id that it claimed
    is free again. Belongs to one event loop.

    Where the room runs low the book is *crowded*: patterns that were not seen for longest have to give way (see `surplus`). Until they
    have, a service takes no more of what is left than it leaves to the others, and one that is new takes nothing of the last half: names
    cost nothing, and a sender that invents them must not keep a new message of a known service out.

    Args:
        summary: Of the registry, at start.
        max_patterns: Patterns that may be registered.
        max_new_per_day: New patterns a service and day.
        clock: Nanoseconds since 1970. One that leapt would open the caps of a day again, or turn no day for years.
        monotonic: Seconds that never jump.
        ids: Who holds which id; the thread that reads deliveries claims them.
    """

    def __init__(
        self,
        summary: Summary,
        max_patterns: int,
        max_new_per_day: int,
        clock: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        ids: PatternIds | None = None,
    ) -> None:
        self.ids = ids or PatternIds()
        self.without_pattern_count = 0
        """Records since the start whose pattern has no id of its own."""
        # A set and not the database: this is asked for every distinct pattern of every delivery.
        self._known = set(summary.pattern_ids)
        # Each inner dict ascends by offset: `visible_end` looks at its first entry only.
        self._pending: dict[int, dict[int, int]] = {}
        self._waits_since: dict[int, float] = {}
        self._monotonic = monotonic
        self._max_patterns = max_patterns
        self._max_new_per_day = max_new_per_day
        self._clock = clock or SteadyClock()
        self._day = self.today()
        # Restored, so that a restart does not open the caps of the day again.
        self._new_today = dict(summary.registered_today)
        # Counts today's refused patterns once each. It keeps none of them out: each is considered again when it comes again.
        self._refused: set[int] = set()
        self._newly_refused = Refused()
        # At least 1 each, so that the smallest setting still has places, and room to give way.
        self._spare = max(1, int(max_patterns * SPARE_SHARE))
        # Twice the spare places are made free at once: the next eviction is far away, and each costs a pass over the registry.
        self._kept_count = max(1, max_patterns - 2 * self._spare)
        self._taken: Counter[str] = Counter()
        """Places that services have taken since the book became crowded."""
        self.established: frozenset[str] = summary.established
        """Services that had patterns on an earlier day, as of the start or the last time that patterns gave way."""
        self.evicted_count = summary.evicted
        """Patterns that ever gave way to new ones; those that were seen again since are among them."""
        self.requeue(summary.pending)

    def today(self) -> int:
        """Days since 1970."""
        return today(self._clock())

    def now(self) -> int:
        """Seconds since 1970."""
        return self._clock() // 10**9

    @property
    def pattern_count(self) -> int:
        """Registered patterns."""
        return len(self._known)

    @property
    def pending_count(self) -> int:
        """Registered patterns without a vector."""
        return sum(map(len, self._pending.values()))

    @property
    def keyword_only_count(self) -> int:
        """Patterns of today that were over a cap."""
        return len(self._refused)

    @property
    def surplus(self) -> int:
        """How many patterns have to give way to new ones now."""
        is_crowded = self._room <= self._spare
        return max(0, len(self._known) - self._kept_count) if is_crowded else 0

    @property
    def proven_places(self) -> int:
        """Places that patterns keep which were seen on more than one day."""
        return int(self._max_patterns * PROVEN_SHARE)

    @property
    def _room(self) -> int:
        return self._max_patterns - len(self._known)

    def is_known(self, pattern_id: int) -> bool:
        """Whether the pattern is registered. Safe to ask from another thread."""
        return pattern_id in self._known

    def admit(self, candidates: Sequence[RegisteredPattern], *, not_before: Mapping[int, int] | None = None) -> list[RegisteredPattern]:
        """Those of the patterns that are new and find room; from now on they are known, and wait for their vectors.

        They hold up what is visible from their first record on, or from the offset that `not_before` has for their log if that is later:
        what is visible must not fall back when a record that was set aside long ago is read after all.
        """
        # Before any candidate: the caps of the new day count for them.
        self._turn_day()
        admitted = [pattern for pattern in candidates if self._has_room(pattern)]
        # After the choice: what was admitted is known now and keeps its id. A pattern that is in two parts of a delivery keeps it, too.
        self.ids.release(pattern.pattern_id for pattern in candidates if pattern.pattern_id not in self._known)
        now = self._monotonic()
        for pattern in admitted:
            # Never before its first record, and never below what is visible already.
            begins = max(pattern.first_offset, (not_before or {}).get(pattern.log_id, 0))
            self._pending.setdefault(pattern.log_id, {})[pattern.pattern_id] = begins
            self._waits_since[pattern.pattern_id] = now
        return admitted

    def _turn_day(self) -> None:
        if (today := self.today()) != self._day:
            self._day = today
            self._new_today.clear()
            self._refused.clear()

    def _has_room(self, pattern: RegisteredPattern) -> bool:
        if pattern.pattern_id in self._known:
            return False
        count = self._new_today.get(pattern.service, 0)
        # The daily cap first: a service that is over it must not use up its share of the last places.
        if count >= self._max_new_per_day or not self._takes_place(pattern.service):
            self._refuse(pattern.pattern_id)
            return False
        # Known before it is durable: the next delivery must not register it again. A crash forgets it, and its records come again.
        self._known.add(pattern.pattern_id)
        # Refused earlier today, and room since: it is no keyword-only pattern any more.
        self._refused.discard(pattern.pattern_id)
        self._new_today[pattern.service] = count + 1
        return True

    def _refuse(self, pattern_id: int) -> None:
        if pattern_id in self._refused:
            return
        # A sender can invent names without end: beyond the bound only a number grows.
        if len(self._refused) < MAX_REFUSED_REMEMBERED:
            self._refused.add(pattern_id)
            self._newly_refused.pattern_ids.append(pattern_id)
        else:
            self._newly_refused.unnamed += 1

    def take_refused(self) -> Refused:
        """What was refused since the last time, to be registered as such."""
        taken, self._newly_refused = self._newly_refused, Refused()
        return taken

    def _takes_place(self, service: str) -> bool:
        if self._room > self._spare:
            return True
        reserved = 0 if service in self.established else self._spare // 2
        # No service may take more of what is left than it leaves, so the last place is never one sender's alone.
        if self._taken[service] >= self._room - reserved:
            return False
        self._taken[service] += 1
        return True

    def settle(self, pattern_ids: Iterable[int]) -> None:
        """These patterns wait no more."""
        ids = set(pattern_ids)
        # Every log is looked at: who settles knows ids only, and there are few logs.
        for waiting in self._pending.values():
            for pattern_id in ids & waiting.keys():
                del waiting[pattern_id]
        for pattern_id in ids:
            self._waits_since.pop(pattern_id, None)

    def requeue(self, pending: Iterable[tuple[int, int, int]]) -> None:
        """Lets patterns wait (again), besides those that do: (pattern id, log id, first offset)."""
        now = self._monotonic()
        for pattern_id, log_id, first_offset in pending:
            self._pending.setdefault(log_id, {})[pattern_id] = first_offset
            # `setdefault`: a pattern that waits already goes on with its first time, or a fault of the index would make it give way anew.
            self._waits_since.setdefault(pattern_id, now)
        # Sorted anew: what is sent back may be older than what waits already.
        for log_id, waiting in self._pending.items():
            self._pending[log_id] = dict(sorted(waiting.items(), key=lambda item: item[1]))

    def forget(self, pattern_ids: Iterable[int]) -> None:
        """These patterns are not known any more."""
        gone = set(pattern_ids)
        # Before `settle`: known and waiting are changed in one step of the event loop, so nobody sees one without the other.
        self._known -= gone
        self.ids.release(gone)
        # Not crowded any more: the next time that room runs low, all services begin with the same share.
        if self._room > self._spare:
            self._taken.clear()
        self.settle(gone)

    def give_way_until(self, pattern_ids: Iterable[int]) -> float:
        """When the one that waits longest of these patterns has given way for long enough, as `time.monotonic` says it."""
        now = self._monotonic()
        return min((self._waits_since.get(pattern_id, now) for pattern_id in pattern_ids), default=now) + MAX_GIVING_WAY_S

    def visible_end(self, log_id: int, next_offset: int) -> int:
        """Below it, every pattern of the log is found by meaning, or never will be: the oldest record whose pattern waits."""
        # The first entry is the oldest; looking at all would cost as many steps as patterns wait, at every report.
        waiting = self._pending.get(log_id)
        return min(next(iter(waiting.values())), next_offset) if waiting else next_offset
