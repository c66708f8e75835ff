"""JSON objects in which the usual fields have names of one system: GELF, ECS, CloudTrail, MongoDB, Google Cloud."""

from typing import Any

from treering_formats.known.reading import SYSLOG_SEVERITIES, ObjectFormat

_MONGODB = {"F": 21, "E": 17, "W": 13, "I": 9, "D": 5}


def _rename(fields: dict[str, Any], old: str, new: str) -> bool:
    """Gives a field another name, unless that is taken."""
    if old not in fields or new in fields:
        return False
    fields[new] = fields.pop(old)
    return True


def _gelf(fields: dict[str, Any]) -> bool:
    """GELF 1.1: levels are syslog's, additional fields begin with an underscore."""
    if "short_message" not in fields and "full_message" not in fields:
        return False
    for name in [name for name in fields if name.startswith("_") and len(name) > 1]:
        _rename(fields, name, name[1:])
    # the full message, often a stack trace, is an attribute, as it is for the loggers of OpenTelemetry
    _rename(fields, "short_message" if fields.get("short_message") else "full_message", "message")
    level = fields.get("level")
    number = int(level) if isinstance(level, str) and level.isascii() and level.isdigit() and len(level) == 1 else level
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 8 and "severity_number" not in fields:
        del fields["level"]
        fields["severity_number"] = SYSLOG_SEVERITIES[number]
    if not any(isinstance(fields.get(name), str) and fields[name] for name in ("service", "service.name")):
        next(
            (
                True
                for name in ("app", "application_name", "facility")
                if isinstance(fields.get(name), str) and _rename(fields, name, "service")
            ),
            False,
        )
    return True


def _ecs(_fields: dict[str, Any]) -> bool:
    """Its names are the usual ones: @timestamp, message, log.level, service.name, trace.id."""
    return True


def _cloudtrail(fields: dict[str, Any]) -> bool:
    """An event without an error has no level; its text is the event itself."""
    if "eventSource" not in fields or "eventTime" not in fields:
        return False
    _rename(fields, "eventTime", "time")
    source = fields.get("eventSource")
    if isinstance(source, str) and "service" not in fields:
        fields["service"] = source.removesuffix(".amazonaws.com")
    if fields.get("errorCode") and "severity_number" not in fields:
        fields["severity_number"] = 17
    return True


def _mongodb(fields: dict[str, Any]) -> bool:
    if not {"s", "c", "msg"} <= fields.keys():
        return False
    _rename(fields, "t.$date", "time")
    level = fields.get("s")
    if isinstance(level, str) and level[:1] in _MONGODB and "severity_number" not in fields:
        fields["severity_number"] = _MONGODB[level[:1]]
        if len(level) == 1:
            del fields["s"]
    return True


def _google(fields: dict[str, Any]) -> bool:
    """An entry of Google Cloud's logging: the text, or what is below jsonPayload."""
    if not any(name == "textPayload" or name.startswith(("jsonPayload.", "protoPayload.")) for name in fields):
        return False
    for name in [name for name in fields if name.startswith("jsonPayload.")]:
        _rename(fields, name, name.removeprefix("jsonPayload."))
    _rename(fields, "textPayload", "message")
    for name in ("resource.labels.container_name", "resource.labels.service_name", "resource.labels.function_name"):
        if isinstance(fields.get(name), str) and fields[name] and "service" not in fields:
            fields["service"] = fields[name]
    return True


FORMATS = (
    ObjectFormat(
        "gelf",
        "Graylog's GELF, JSON",
        '{"version":"1.1","host":"web1","short_message":"disk is full","level":3,"_order":7}',
        frozenset({"short_message", "full_message"}),
        _gelf,
    ),
    ObjectFormat(
        "ecs",
        "Elastic Common Schema, JSON",
        '{"@timestamp":"2026-11-20T10:00:00Z","log.level":"error","message":"disk is full","ecs.version":"8.11","service.name":"shop"}',
        frozenset({"ecs.version"}),
        _ecs,
    ),
    ObjectFormat(
        "cloudtrail",
        "events of AWS CloudTrail, JSON, also in a Records array",
        '{"Records":[{"eventTime":"2026-11-20T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject"}]}',
        frozenset({"eventSource"}),
        _cloudtrail,
    ),
    ObjectFormat(
        "mongodb",
        "MongoDB from 4.4 on, JSON",
        '{"t":{"$date":"2026-11-20T10:00:00.123+00:00"},"s":"I","c":"NETWORK","id":22943,"ctx":"conn7","msg":"Connection accepted"}',
        frozenset({"t.$date"}),
        _mongodb,
    ),
    ObjectFormat(
        "google cloud",
        "entries of Google Cloud's logging, JSON",
        '{"timestamp":"2026-11-20T10:00:00Z","severity":"ERROR","textPayload":"disk is full","logName":"projects/x/logs/y","insertId":"7"}',
        frozenset({"logName", "insertId"}),
        _google,
    ),
)
