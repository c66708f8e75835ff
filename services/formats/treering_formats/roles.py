"""Names of structured logs that mean more than an attribute, by what they mean, the first that can be read before the later ones."""

import functools
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Role(IntEnum):
    """What a field can be of a record."""

    MESSAGE = 0
    TIME = 1
    SEVERITY = 2
    SERVICE = 3
    ENVIRONMENT = 4
    TRACE = 5
    SPAN = 6


_NAMES = {
    Role.MESSAGE: "message msg body event _msg short_message MESSAGE Message Msg Body @m @mt RenderedMessage fields.message log text "
    "full_message textPayload",
    Role.TIME: "timestamp @timestamp time ts _time datetime eventTime event_time log_time logTime Timestamp TIMESTAMP Time TIME DateTime "
    "@t t.$date t date asctime timestamp_ms",
    Role.SEVERITY: "severity level levelname log.level lvl level_name levelName log_level loglevel logLevel LogLevel Level LEVEL Severity "
    "SEVERITY LOG_LEVEL severity_text severityText SeverityText error_severity @l severity_number severityNumber SeverityNumber levelno "
    "log.syslog.severity.name log.syslog.severity.code syslog.severity syslog_severity syslog_severity_code PRIORITY priority s status",
    Role.SERVICE: "service service.name logger",
    Role.ENVIRONMENT: "environment env deployment.environment deployment.environment.name service.environment",
    Role.TRACE: "trace_id traceId trace.id traceid TraceId",
    Role.SPAN: "span_id spanId span.id spanid SpanId",
}
_PLACES = {name: (int(role), place) for role, names in _NAMES.items() for place, name in enumerate(names.split())}


class Names(NamedTuple):
    """The names of an object.

    Attributes:
        with_role: Those with a role, and which: of one role the first that counts first.
        others: Those without.
        below_attributes: Whether one of these is `attributes` or below it.
    """

    with_role: tuple[tuple[int, str], ...]
    others: tuple[str, ...]
    below_attributes: bool


def names_by_role(fields: Mapping[str, object], line: str) -> Names:
    """The names of an object by their roles; the objects of a log have few sets of names, so that most are looked up."""
    # bounded, so that what is remembered is: some megabytes
    return _remembered(tuple(fields)) if len(line) < _LONGEST_REMEMBERED else _by_role(tuple(fields))


_LONGEST_REMEMBERED = 8_192


def _by_role(names: tuple[str, ...]) -> Names:
    placed = sorted((*_PLACES[name], name) for name in names if name in _PLACES)
    others = tuple(name for name in names if name not in _PLACES)
    return Names(tuple((role, name) for role, _, name in placed), others, any(name.startswith("attributes") for name in others))


_remembered = functools.lru_cache(maxsize=512)(_by_role)
