"""Times as nanoseconds since 1970, as records have them."""

import datetime as dt

TimeLike = dt.datetime | int | float
"""A time as an aware datetime, as whole nanoseconds since 1970 (int), or as seconds since 1970 (float)."""

MAX_TIME_NANOS = 2**63 - 2
"""The latest time that a record can have."""


def time_nanos(value: TimeLike, name: str = "time") -> int:
    """Nanoseconds since 1970 of a time; exact for datetimes and integers. Errors call it `name`.

    Raises:
        ValueError: The time is before 1970, after 2262-04-11, or a datetime without a zone.
    """
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} {value!r} has no time zone; give it one, for example datetime.UTC")
        since = value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        nanos = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    else:
        nanos = value if isinstance(value, int) else int(value * 1e9)
    if not 0 <= nanos <= MAX_TIME_NANOS:
        raise ValueError(f"{name} {value!r} is outside 1970-01-01 to 2262-04-11; give a time that a record can have")
    return nanos
