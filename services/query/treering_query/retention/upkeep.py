"""What becomes of segments with time: which are too old or too many and go, which are small and are made one.

Plans only: everything here is a pure function of the segments and the clock. `sealing.Sealer.rewrite` carries a plan out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from treering_query.values.segment import Segment

_SECOND = 1_000_000_000

MIN_TOGETHER = 4
"""Fewer small segments that lose nothing stay as they are: each record is rewritten O(log n) times."""


@dataclass(frozen=True)
class Policy:
    """How long records are kept and how large segments become; 0 keeps for ever, or without bound.

    Ages count from sealing, by the retention clock.
    """

    age_s: float = 0
    service_age_s: Mapping[str, float] = field(default_factory=dict)
    """For these services instead of `age_s`."""
    size_bytes: int = 0
    """Of all segments together."""
    merge_up_to_rows: int = 500_000
    merge_up_to_bytes: int = 128 * 1024 * 1024
    """Of records in memory: few records may be large ones, and the database sorts them all."""

    def without_ages(self) -> "Policy":
        """The same, but nothing is too old."""
        return replace(self, age_s=0, service_age_s={})


@dataclass(frozen=True)
class Change:
    """Some segments become one, without the records of some services; nothing is left of them when that is all they hold."""

    segments: tuple[Segment, ...]
    without: frozenset[str] = frozenset()

    @property
    def drops_all(self) -> bool:
        """True when no record is kept."""
        return all(segment.services <= self.without for segment in self.segments)


def changes(segments: Sequence[Segment], policy: Policy, now: int, damaged: Collection[int] = ()) -> Iterator[Change]:
    """What is due at `now` (ns since 1970, by the retention clock), least work first: drops, then rewrites.

    Segments that lose the same services are rewritten together where they are small neighbours: records that leave one by one, second after
    second, would otherwise cost a rewrite for each segment, and seals wait for those.
    No segment is in two changes. Segments whose ids are in `damaged` are dropped when their time has come, and never rewritten.
    """
    # Dropping reads nothing and frees space, so it comes before everything that writes.
    expired = (Change((segment,), _gone(segment, policy, now)) for segment in segments)
    drops = [change for change in expired if change.drops_all]
    # What age drops already does not count towards the size.
    drops += _over_size([segment for segment in segments if not any(segment in drop.segments for drop in drops)], policy.size_bytes)
    yield from drops
    # The rest waits for the next turn, which sees the store without them.
    if drops:
        return
    # A damaged file cannot be rewritten: its records are not known to be what was sealed.
    sound = [segment for segment in segments if segment.segment_id not in damaged]
    gone = {segment.segment_id: _gone(segment, policy, now) for segment in sound}
    rewrites = [Change(tuple(run), without) for run, without in _runs(sound, gone, policy) if without or len(run) >= MIN_TOGETHER]
    # What has to go is gone before files are made fewer.
    yield from sorted(rewrites, key=lambda change: not change.without)


def _gone(segment: Segment, policy: Policy, now: int) -> frozenset[str]:
    # By service: one segment may hold some that are too old and some that are not.
    ages = {service: policy.service_age_s.get(service, policy.age_s) for service in segment.services}
    return frozenset(service for service, age in ages.items() if age and segment.sealed_time < now - age * _SECOND)


def _over_size(segments: Sequence[Segment], most: int) -> list[Change]:
    """The segments that were sealed first by the retention clock, whatever the clocks of machines said; as many as are too many."""
    found: list[Change] = []
    total = sum(segment.size_bytes for segment in segments)
    # Whole segments and not services: the bound is about the disk.
    for segment in sorted(segments, key=lambda each: (each.sealed_time, each.segment_id)):
        if not most or total <= most:
            break
        found.append(Change((segment,), segment.services))
        total -= segment.size_bytes
    return found


def _runs(
    segments: Sequence[Segment], gone: Mapping[int, frozenset[str]], policy: Policy
) -> Iterator[tuple[list[Segment], frozenset[str]]]:
    """Small neighbours that lose the same services, in the order of the log, so that offsets stay together; a large segment is alone."""
    run: list[Segment] = []
    for segment in sorted(segments, key=_place):
        # Two of its size have to fit, or a merge would make one that can never be merged again.
        is_small = _fit([segment, segment], policy)
        if run and not (is_small and gone[segment.segment_id] == gone[run[-1].segment_id] and _fit([*run, segment], policy)):
            yield run, gone[run[-1].segment_id]
            run = []
        if is_small:
            run.append(segment)
        else:
            yield [segment], gone[segment.segment_id]
    if run:
        yield run, gone[run[-1].segment_id]


def _fit(segments: Sequence[Segment], policy: Policy) -> bool:
    """Whether segments together are no larger than one may be; of those whose bytes are not known nobody can say so."""
    known = [segment.data_bytes for segment in segments if segment.data_bytes is not None]
    rows = sum(segment.row_count for segment in segments)
    # Unknown is too large: the database sorts all of them in memory.
    return len(known) == len(segments) and sum(known) <= policy.merge_up_to_bytes and rows <= policy.merge_up_to_rows


def _place(segment: Segment) -> tuple[int, int]:
    return segment.first_arrival_time, segment.segment_id
