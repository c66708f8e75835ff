"""The time in which records usually lie: one record of the year 2262 must not stretch every histogram over centuries."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from treering_query import limits

Query = Callable[[str], pa.Table]


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

    The outer fences of Tukey, Exploratory Data Analysis (1977).

    Args:
        query: Runs a SELECT.
        records: A relation with the column `time`.
        condition: Which of its records, as SQL.
    """
    quartiles = query(f"select quantile_disc(epoch_ns(time), [0.25, 0.75]) as q from {records} where {condition}").column(0)[0].as_py()
    if quartiles is None:
        return None
    low, high = quartiles
    reach = 3 * max(high - low, limits.DAY_NANOS)
    inside = f"epoch_ns(time) between {max(low - reach, 0)} and {min(high + reach, limits.MAX_TIME_UNIX_NANO)}"
    sql = f"""select epoch_ns(min(time) filter ({inside})), epoch_ns(max(time) filter ({inside})), count(*) filter (not ({inside}))
        from {records} where {condition}"""
    row = query(sql)
    first, last, outside = (column[0].as_py() for column in row.columns)
    return Usual(first, last, outside)
