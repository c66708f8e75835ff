"""Selecting records: filters as people write them."""

from collections.abc import Iterable, Mapping

from treering.severity import SeverityLike, severity_number
from treering.times import TimeLike, time_nanos
from treering.v1.log_pb2 import AttributeFilter, LogFilter, Position, Severity


def log_filter(
    *,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    min_severity: SeverityLike | None = None,
    max_severity: SeverityLike | None = None,
    services: Iterable[str] = (),
    environments: Iterable[str] = (),
    where: Mapping[str, str | Iterable[str]] | None = None,
    contains: str = "",
    trace_id: str | bytes = b"",
    positions: Iterable[Position] = (),
    pattern_ids: Iterable[int] = (),
    about: str = "",
) -> LogFilter:
    """Selects records. Every argument narrows; none selects everything.

    Args:
        since: Only records whose time is at or after this.
        until: Only records whose time is before this.
        min_severity: Only records at least this serious, for example "error".
        max_severity: Only records at most this serious.
        services: Only these services, compared exactly.
        environments: Only these environments, compared exactly.
        where: Attributes and the value, or one of the values, that each must have.
        contains: Only records whose message contains this, upper and lower case alike.
        trace_id: Only records of this trace: 16 bytes, or 32 hex digits.
        positions: Only these records.
        pattern_ids: Only records of these patterns.
        about: Only records whose pattern is about this, in any words: as `about(pattern_id, ...)` in SQL.

    Raises:
        ValueError: A severity, time or trace id is none.
    """
    # A string is a value itself, not a list of its characters.
    attributes = [
        AttributeFilter(key=key, values=[values] if isinstance(values, str) else list(values)) for key, values in (where or {}).items()
    ]
    return LogFilter(
        start_time_unix_nano=0 if since is None else time_nanos(since, "since"),
        end_time_unix_nano=0 if until is None else time_nanos(until, "until"),
        min_severity=_severity(min_severity),
        max_severity=_severity(max_severity),
        services=list(services),
        environments=list(environments),
        attributes=attributes,
        message_contains=contains,
        trace_id=_trace_id(trace_id),
        positions=list(positions),
        pattern_ids=list(pattern_ids),
        about=about,
    )


def _severity(value: SeverityLike | None) -> Severity.ValueType | None:
    return None if value is None else Severity.ValueType(severity_number(value))


def _trace_id(value: str | bytes) -> bytes:
    try:
        # Dashes are left out: a trace id is often written like a UUID.
        raw = bytes.fromhex(value.replace("-", "")) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"trace id {value!r} is not hexadecimal; give 32 hex digits") from None
    # Empty is no filter; anything else must be a whole id, as a part of one would match nothing.
    if len(raw) not in {0, 16}:
        raise ValueError(f"trace id {value!r} has {len(raw)} bytes; give 16 (32 hex digits)")
    return raw
