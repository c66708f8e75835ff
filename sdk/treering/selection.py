"""Selecting records: filters as people write them."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from treering.condition_filters import conditions_filter, join
from treering.severity import SeverityLike, severity_number
from treering.times import TimeLike, time_nanos
from treering.trace_ids import trace_id_bytes
from treering.v1.log_pb2 import AttributeFilter, LogFilter, OffsetRange, Position, Severity, TextCondition

Texts: TypeAlias = str | Iterable[str]
"""One text, or several."""


def log_filter(
    *,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    arrived_since: TimeLike | None = None,
    arrived_until: TimeLike | None = None,
    min_severity: SeverityLike | None = None,
    max_severity: SeverityLike | None = None,
    services: Iterable[str] = (),
    environments: Iterable[str] = (),
    where: Mapping[str, Texts] | Texts | None = None,
    contains: Texts = (),
    not_contains: Texts = (),
    phrase: Texts = (),
    not_phrase: Texts = (),
    matches: Texts = (),
    not_matches: Texts = (),
    trace_id: str | bytes = b"",
    positions: Iterable[Position] = (),
    ranges: Iterable[OffsetRange] = (),
    pattern_ids: Iterable[int] = (),
    template_ids: Iterable[int] = (),
    about: str = "",
) -> LogFilter:
    """Selects records. Every argument narrows; none selects everything. `all_of`, `any_of`, `none_of` join filters.

    Args:
        since: Only records whose time is at or after this.
        until: Only records whose time is before this.
        arrived_since: Only records that arrived at or after this.
        arrived_until: Only records that arrived before this.
        min_severity: Only records at least this serious, for example "error".
        max_severity: Only records at most this serious.
        services: Only these services, compared exactly.
        environments: Only these environments, compared exactly.
        where: Attributes and the value, or one of the values, that each must have; or conditions that must all hold, such as
            `["status!=200", "duration_ms>=500", "user_id"]`, see `treering.conditions`.
        contains: Only records whose message contains this, upper and lower case alike; of several texts, all.
        not_contains: Only records whose message contains none of these.
        phrase: Only records whose message has the words of this, one after the other; of several, all.
        not_phrase: Only records whose message has none of these.
        matches: Only records whose message has a part that matches this regular expression of RE2; of several, all.
        not_matches: Only records whose message matches none of these.
        trace_id: Only records of this trace: 16 bytes, or 32 hex digits.
        positions: Only these records.
        ranges: Only records in one of these runs of offsets.
        pattern_ids: Only records of these patterns.
        template_ids: Only records of these templates.
        about: Only records whose pattern is about this, in any words: as `about(pattern_id, ...)` in SQL.

    Raises:
        ValueError: A severity, time, trace id or condition (`ConditionError`) is none.
    """
    # One alone is the field that has always been there.
    first, *others = _listed(contains) or [""]
    selected = LogFilter(
        start_time_unix_nano=_nanos(since, "since"),
        end_time_unix_nano=_nanos(until, "until"),
        arrival_start_time_unix_nano=_nanos(arrived_since, "arrived_since"),
        arrival_end_time_unix_nano=_nanos(arrived_until, "arrived_until"),
        min_severity=_severity(min_severity),
        max_severity=_severity(max_severity),
        services=list(services),
        environments=list(environments),
        message_contains=first,
        message=[
            *(TextCondition(contains=text) for text in others),
            *(TextCondition(phrase=text) for text in _listed(phrase)),
            *(TextCondition(matches=text) for text in _listed(matches)),
        ],
        none_of=[
            *(LogFilter(message=[TextCondition(contains=text)]) for text in _listed(not_contains)),
            *(LogFilter(message=[TextCondition(phrase=text)]) for text in _listed(not_phrase)),
            *(LogFilter(message=[TextCondition(matches=text)]) for text in _listed(not_matches)),
        ],
        trace_id=trace_id_bytes(trace_id),
        positions=list(positions),
        ranges=list(ranges),
        pattern_ids=list(pattern_ids),
        template_ids=list(template_ids),
        about=about,
    )
    if isinstance(where, Mapping):
        # An empty text is a value here.
        values = {key: [value] if isinstance(value, str) else list(value) for key, value in where.items()}
        selected.attributes.extend(AttributeFilter(key=key, values=each) for key, each in values.items())
    elif where:
        join(selected, conditions_filter(_listed(where)))
    return selected


def all_of(*filters: LogFilter) -> LogFilter:
    """Selects what every one of some filters selects; everything when there is none."""
    return LogFilter(all_of=filters)


def any_of(*filters: LogFilter) -> LogFilter:
    """Selects what at least one of some filters selects.

    Raises:
        ValueError: There is none: the contract takes an empty list for no condition, which is not what is meant.
    """
    if not filters:
        raise ValueError("any_of() of no filter; leave it out, or give one")
    return LogFilter(any_of=filters)


def none_of(*filters: LogFilter) -> LogFilter:
    """Selects what none of some filters selects; everything when there is none."""
    return LogFilter(none_of=filters)


def _nanos(moment: TimeLike | None, name: str) -> int:
    return 0 if moment is None else time_nanos(moment, name)


def _listed(texts: Texts) -> list[str]:
    """Several texts as a list: a string is a text itself, not a list of its characters, and an empty one is none."""
    return ([texts] if texts else []) if isinstance(texts, str) else list(texts)


def _severity(value: SeverityLike | None) -> Severity.ValueType | None:
    return None if value is None else Severity.ValueType(severity_number(value))
