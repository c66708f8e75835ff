"""A condition over `logs`, and how conditions are joined."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeVar

import numpy as np

from treering_query import limits
from treering_query.values.pattern_ids import Ids, among

END_OF_TIME = limits.MAX_TIME_UNIX_NANO + 1
"""No record is at or after this, nanoseconds since 1970."""

T = TypeVar("T")


@dataclass(frozen=True)
class Predicate:
    """A condition over `logs`, and what of it can rule out whole segments.

    `sql` stands after WHERE or AND, and is true or false for each record, never null; it names its values `$f0`, `$f1`, ..., which
    `parameters` binds. DuckDB wants every parameter used, so both travel together. A value that is an array is a relation, see
    `pattern_ids.relation`.
    """

    sql: str = "true"
    parameters: Mapping[str, object] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    """The columns that it looks at."""
    # What follows must hold for every record that is selected. It may be less than what is asked for, never more.
    services: frozenset[str] | None = None
    """Only these services; None = all."""
    without_services: frozenset[str] = frozenset()
    """None of these services."""
    patterns: Ids | None = None
    """Only these patterns, ascending; None = all."""
    start_time: int = 0
    """No record before this, nanoseconds since 1970."""
    end_time: int = END_OF_TIME
    """No record at or after this, nanoseconds since 1970."""
    arrival_start_time: int = 0
    """No record that arrived before this, nanoseconds since 1970."""
    arrival_end_time: int = END_OF_TIME
    """No record that arrived at or after this, nanoseconds since 1970."""
    services_are_all: bool = True
    """Where `service` is the only column: whether it selects all records of `services`."""

    @property
    def services_only(self) -> bool:
        """True when it narrows by nothing or by `services` alone."""
        # Time counts as narrowing: it may select a part of a pattern's records.
        return self.columns <= {"service"} and self.services_are_all


def all_of(parts: Sequence[Predicate]) -> Predicate:
    """The condition that all of some conditions hold. It and the others here leave `parameters` to the caller."""
    return Predicate(
        sql=" and ".join(part.sql for part in parts) or "true",
        columns=_columns(parts),
        services=_narrowed([part.services for part in parts], frozenset.intersection),
        without_services=frozenset().union(*(part.without_services for part in parts)),
        patterns=_narrowed([part.patterns for part in parts], _common),
        start_time=max((part.start_time for part in parts), default=0),
        end_time=min((part.end_time for part in parts), default=END_OF_TIME),
        arrival_start_time=max((part.arrival_start_time for part in parts), default=0),
        arrival_end_time=min((part.arrival_end_time for part in parts), default=END_OF_TIME),
        services_are_all=all(part.services_are_all for part in parts),
    )


def any_of(parts: Sequence[Predicate]) -> Predicate:
    """The condition that at least one of some conditions, of which there is one, holds."""
    return Predicate(
        sql=_alternatives(parts),
        columns=_columns(parts),
        # What one alternative leaves open, all of them together leave open.
        services=_widened([part.services for part in parts], frozenset.union),
        without_services=frozenset.intersection(*(part.without_services for part in parts)),
        patterns=_widened([part.patterns for part in parts], np.union1d),
        start_time=min(part.start_time for part in parts),
        end_time=max(part.end_time for part in parts),
        arrival_start_time=min(part.arrival_start_time for part in parts),
        arrival_end_time=max(part.arrival_end_time for part in parts),
        services_are_all=all(part.services_are_all for part in parts),
    )


def none_of(parts: Sequence[Predicate]) -> Predicate:
    """The condition that none of some conditions, of which there is one, holds."""
    # What must hold where a part holds says nothing of where it does not, unless it is all that the part asks for.
    excluded = (part.services for part in parts if part.services_only and part.services is not None)
    return Predicate(
        sql=f"not {_alternatives(parts)}",
        columns=_columns(parts),
        without_services=frozenset().union(*excluded),
        services_are_all=False,
    )


def _alternatives(parts: Sequence[Predicate]) -> str:
    return f"({' or '.join(f'({part.sql})' for part in parts)})"


def _columns(parts: Iterable[Predicate]) -> frozenset[str]:
    return frozenset().union(*(part.columns for part in parts))


def _common(one: Ids, other: Ids) -> Ids:
    return one[among(one, other)]


def _narrowed(sets: Iterable[T | None], both: Callable[[T, T], T]) -> T | None:
    """What is in all of some sets; None = all, and one that is None narrows nothing."""
    given = [each for each in sets if each is not None]
    return reduce(both, given) if given else None


def _widened(sets: Sequence[T | None], either: Callable[[T, T], T]) -> T | None:
    """What is in any of some sets; one that is None is all."""
    given = [each for each in sets if each is not None]
    return reduce(either, given) if len(given) == len(sets) else None
