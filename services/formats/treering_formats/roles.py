"""Names of structured logs that mean more than an attribute, by what they mean, the first that can be read before the later ones."""

import functools
import itertools
from enum import IntEnum


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


@functools.lru_cache(maxsize=4_096)
def names_by_role(names: tuple[str, ...]) -> tuple[tuple[tuple[int, tuple[str, ...]], ...], tuple[str, ...]]:
    """Of an object's names those of each role, the first that counts first, and those without a role.

    The objects of a log have few sets of names, so that this is looked up for most of them.
    """
    placed = sorted((*_PLACES[name], name) for name in names if name in _PLACES)
    roles = tuple((role, tuple(name for _, _, name in group)) for role, group in itertools.groupby(placed, key=lambda each: each[0]))
    return roles, tuple(name for name in names if name not in _PLACES)
