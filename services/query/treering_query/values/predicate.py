"""A condition over `logs`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treering_query import limits
from treering_query.values.pattern_ids import Ids


@dataclass(frozen=True)
class Predicate:
    """A condition over `logs`, and what of it can rule out whole segments.

    `sql` stands after WHERE or AND; it names its values `$f0`, `$f1`, ..., which `parameters` binds. DuckDB wants every parameter
    used, so both travel together. A value that is an array is a relation, see `pattern_ids.relation`.
    """

    sql: str = "true"
    parameters: Mapping[str, object] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    """The columns that it looks at."""
    services: frozenset[str] | None = None
    """Only these services; None = all."""
    patterns: Ids | None = None
    """Only these patterns, ascending; None = all."""
    start_time: int = 0
    """No record before this, nanoseconds since 1970."""
    end_time: int = limits.MAX_TIME_UNIX_NANO + 1
    """No record at or after this, nanoseconds since 1970."""

    @property
    def services_only(self) -> bool:
        """True when it narrows by nothing or by services alone."""
        # Time counts as narrowing: it may select a part of a pattern's records.
        return self.columns <= {"service"}
