"""What names in structured logs mean, and the record they make."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from json import dumps
from typing import Any

from treering.severity import SEVERITY_WORDS, severity_number
from treering.v1.log_pb2 import LogRecord
from treering_formats.times import any_time

_MESSAGE = ("message", "msg", "body", "event", "_msg")
_TIME = ("time", "timestamp", "ts", "@timestamp", "_time")
_SEVERITY = ("severity", "level", "levelname", "log.level", "severity_text", "severityText", "severity_number", "severityNumber", "levelno")
_SERVICE = ("service", "service.name", "logger")
_ENVIRONMENT = ("environment", "env", "deployment.environment", "deployment.environment.name", "service.environment")
_TRACE = ("trace_id", "traceId", "trace.id", "traceid")
_SPAN = ("span_id", "spanId", "span.id", "spanid")
ROLES = frozenset((*_MESSAGE, *_TIME, *_SEVERITY, *_SERVICE, *_ENVIRONMENT, *_TRACE, *_SPAN, "status"))
"""Names that are not simply attributes."""

# The words taken away are levels elsewhere; under `status` they are the state of a job, a build, an order.
_STATUS_WORDS = frozenset(SEVERITY_WORDS) - {"success", "config", "fine", "finer", "finest", "silly", "verbose", "ok", "failure"}
# 10 and 20 are also numbers of OpenTelemetry (NOTICE and ERROR4): which is meant is decided by the field's name, see `_level`.
_PYTHON = {10: 5, 20: 9, 30: 13, 40: 17, 50: 21}
_PINO = {10: 1, 20: 5, 30: 9, 40: 13, 50: 17, 60: 21}
_LEVEL_KEYS = frozenset({"level", "levelno", "log.level"})
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Defaults:
    """What records get that do not say it themselves."""

    service: str
    environment: str
    now: dt.datetime


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values of an object, nested ones dotted. An empty object is kept as a value."""
    for key, item in value.items():
        name = prefix + key
        if isinstance(item, dict) and item:
            yield from flat(item, name + ".")
        else:
            yield name, item


def text_of(value: Any) -> str:
    """A JSON value as the text of an attribute."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    return dumps(value, ensure_ascii=False, default=str)


def to_record(fields: dict[str, Any], line: str, defaults: Defaults) -> LogRecord:
    """The record of flat fields; takes what has a role out of `fields`, the rest becomes attributes.

    Args:
        fields: Flat names and values; consumed.
        line: The whole line: the message when there is none.
        defaults: For what is missing.
    """
    named = ROLES.intersection(fields)
    severity = _severity(fields, named) if named else 0
    time = _first(fields, named, _TIME, any_time) or 0
    message = _message(fields, named, line)
    service = _first(fields, named, _SERVICE, _word) or defaults.service
    environment = _first(fields, named, _ENVIRONMENT, _word) or defaults.environment
    trace_id = _first(fields, named, _TRACE, lambda value: _identifier(value, 16)) or b""
    span_id = _first(fields, named, _SPAN, lambda value: _identifier(value, 8)) or b""
    # only now: roles are read from the top level, an attribute called `service` names no service
    if any(name.startswith("attributes") for name in fields):
        fields = _attributes_named(fields)
    attributes = {name: value if value.__class__ is str else text_of(value) for name, value in fields.items() if value is not None}
    return LogRecord(
        time_unix_nano=time,
        severity=severity,  # type: ignore[arg-type]  # enums are open: the sinks put right what is out of range
        service=service,
        environment=environment,
        message=message,
        attributes=attributes,
        trace_id=trace_id,
        span_id=span_id,
    )


def _attributes_named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is below `attributes` under its own name, as `treering export` and most others mean it, unless another field has that name."""
    named = {}
    for name, value in fields.items():
        own = name.removeprefix("attributes.")
        if (name, value) != ("attributes", {}):
            named[name if own in fields else own or name] = value
    return named


def _first(fields: dict[str, Any], named: frozenset[str], names: tuple[str, ...], read: Any) -> Any:
    """Takes out the first field of `names` whose value can be read; the others stay attributes."""
    for name in names:
        if name in named and name in fields:
            value = read(fields[name])
            if value is not None:
                del fields[name]
                return value
    return None


def _message(fields: dict[str, Any], named: frozenset[str], line: str) -> str:
    for name in _MESSAGE:
        if name in named and fields[name] is not None and not isinstance(fields[name], dict | list):
            return text_of(fields.pop(name))
    return line


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _identifier(value: Any, length: int) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        raw = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == length and any(raw) else None


def _severity(fields: dict[str, Any], named: frozenset[str]) -> int:
    for name in _SEVERITY:
        if name in named:
            number = _level(name, fields[name], fields)
            if number is not None:
                del fields[name]
                return number
    status = fields.get("status") if "status" in named else None
    if isinstance(status, str) and status.strip().lower() in _STATUS_WORDS:
        return SEVERITY_WORDS[fields.pop("status").strip().lower()]
    return 0


def _level(name: str, value: Any, fields: Mapping[str, Any]) -> int | None:
    """The severity that a value means under a name; None when it means none."""
    if isinstance(value, str):
        # the whole word as it stands is by far the most frequent: one look-up for most records
        known = SEVERITY_WORDS.get(value.lower())
        if known is not None:
            return known
        text = value.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return _numbered(text)
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT32_MAX:
        return None
    if value in _PINO and "pid" in fields and "hostname" in fields:
        return _PINO[value]
    if value in _PYTHON and (value > 24 or name in _LEVEL_KEYS):
        return _PYTHON[value]
    return value


def _numbered(text: str) -> int | None:
    try:
        return severity_number(text)
    except ValueError:
        return None
