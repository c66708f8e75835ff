"""The time in which records usually lie: one record of the year 2262 must not stretch every histogram over centuries."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from treering_query import limits

Query = Callable[[str], pa.Table]

_DAYS = """
select epoch_ns(time) // {day} as day, count(*) as n, epoch_ns(min(time)) as first, epoch_ns(max(time)) as last
from {records} where {condition} group by day order by day
"""


@dataclass(frozen=True)
class Usual:
    """From `first` to `last`, nanoseconds since 1970, both included; `outside` records lie before or after."""

    first: int
    last: int
    outside: int

    @property
    def condition(self) -> str:
        """Holds for the records inside, as SQL."""
        return f"epoch_ns(time) between {self.first} and {self.last}"


def usual_time(query: Query, records: str, condition: str) -> Usual | None:
    """Without what lies far from most: beyond three times the distance of the quartiles, a day at least, from these. None without a record.

    The outer fences of Tukey, Exploratory Data Analysis (1977), in whole days of UTC. Quartiles of single times would need the times of all
    records in memory, 8 bytes each; there are at most 106,752 days.

    Args:
        query: Runs a SELECT.
        records: A relation with the column `time`.
        condition: Which of its records, as SQL.
    """
    table = query(_DAYS.format(day=limits.DAY_NANOS, records=records, condition=condition))
    if not table.num_rows:
        return None
    days, counts = (table.column(name).to_numpy() for name in ("day", "n"))
    # Quartiles by days: the first day at which a quarter of all records has been seen.
    below = np.cumsum(counts)
    low, high = (int(days[np.searchsorted(below * 4, below[-1] * quarter)]) for quarter in (1, 3))
    # A day at least: where most records are of one day, the day before is no outlier.
    reach = 3 * max(high - low, 1)
    inside = np.flatnonzero((days >= low - reach) & (days <= high + reach))
    first, last = table.column("first")[inside[0]].as_py(), table.column("last")[inside[-1]].as_py()
    return Usual(first, last, int(below[-1] - counts[inside].sum()))
