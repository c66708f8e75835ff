"""Time buckets: where they start, in a time zone.

Buckets shorter than a day start at multiples of their length since each local midnight, in elapsed time: on the day when clocks change,
an hour's buckets number 23 or 25 and each is an hour long. Others are whole local days, counted from 1970-01-01 of the zone.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from treering_query import limits
from treering_runtime.errors import invalid_field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class Buckets:
    """Consecutive buckets. Nanoseconds since 1970; `ends[i] == starts[i + 1]`."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]


def check(length: int, zone: str) -> ZoneInfo:
    """The zone of buckets of `length` nanoseconds.

    Raises:
        ServiceError: INVALID_FIELD.
    """
    if length > limits.DAY_NANOS and length % limits.DAY_NANOS:
        raise invalid_field("bucket_nanos", "longer than a day and not whole days; give a multiple of 24 hours")
    try:
        return ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid_field(
            "time_zone", f"{zone!r} is no IANA time zone; write for example Europe/Warsaw, or leave it empty for UTC"
        ) from None


def cover(first: int, last: int, length: int, zone: ZoneInfo) -> Buckets:
    """The buckets from the one that holds `first` to the one that holds `last`.

    Raises:
        ServiceError: INVALID_FIELD when there are too many.
    """
    # Before they are made: buckets of a millisecond over a year would be a list of 3e10.
    if (last - first) // length > limits.MAX_BUCKETS:
        raise _too_many((last - first) // length, first, last)
    bounds = _bounds(first, last, length, zone)
    # The bounds cover whole days; these are the first and the last that are needed.
    begin = max(index for index, bound in enumerate(bounds) if bound <= first)
    end = min(index for index, bound in enumerate(bounds) if bound > last)
    if end - begin > limits.MAX_BUCKETS:
        raise _too_many(end - begin, first, last)
    return Buckets(tuple(bounds[begin:end]), tuple(bounds[begin + 1 : end + 1]))


def _too_many(count: int, first: int, last: int) -> Exception:
    limit = limits.MAX_BUCKETS
    begin, end = (_moment(nanos).isoformat(timespec="seconds").replace("+00:00", "Z") for nanos in (first, last))
    problem = f"makes {count} buckets from {begin} to {end}, over {limit}; take longer ones, or a later start or an earlier end"
    return invalid_field("bucket_nanos", problem, limit=limit)


def _bounds(first: int, last: int, length: int, zone: ZoneInfo) -> list[int]:
    """Starts of buckets from the start of the first one's day (or days) to beyond `last`."""
    step = max(length // limits.DAY_NANOS, 1)
    # Counted from 1970, so a bucket of several days starts at the same day in every answer.
    number = (_local_date(first, zone) - _EPOCH_DAY).days // step * step
    bounds: list[int] = []
    midnight = _midnight(number, zone)
    while True:
        following = _midnight(number + step, zone)
        if length >= limits.DAY_NANOS:
            bounds.append(midnight)
        else:
            # Only near the wanted time: a day of millisecond buckets would be 86 million.
            skipped = max(first - midnight, 0) // length * length
            # In elapsed time: an hour that clocks repeat has buckets of its own.
            bounds += range(midnight + skipped, min(following, last + 2 * length), length)
        if midnight > last:
            return bounds
        if following > last:
            bounds.append(following)
            # Two days may share a bound where the zone skips a day.
            return sorted(set(bounds))
        number, midnight = number + step, following


def _local_date(nanos: int, zone: ZoneInfo) -> date:
    return _moment(nanos).astimezone(zone).date()


def _moment(nanos: int) -> datetime:
    # Microseconds are enough here: the bounds are whole ones.
    return _EPOCH + timedelta(microseconds=nanos // 1_000)


def _midnight(day_number: int, zone: ZoneInfo) -> int:
    """The instant at which a local day begins; where clocks skip midnight, the first instant of that day."""
    local = datetime.combine(_EPOCH_DAY + timedelta(days=day_number), time(), zone)
    return (local.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1_000
