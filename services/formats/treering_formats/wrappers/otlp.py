"""OTLP as JSON: `{"resourceLogs":[{"resource":...,"scopeLogs":[{"scope":...,"logRecords":[...]}]}]}`.

Ids are hexadecimal, 64-bit numbers are text or numbers, names are in camel case; those of protobuf (`resource_logs`) are read, too.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from decimal import Decimal
from json import dumps
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, text_of
from treering_formats.wrappers.inner import InnerRecord

NAME = "otlp"
_ENVIRONMENTS = ("deployment.environment.name", "deployment.environment")
_MESSAGES = ("message", "msg", "log", "event", "body")


def otlp_records(fields: dict[str, Any], defaults: Defaults) -> Iterator[InnerRecord] | None:
    """The records of an export; None when the object is none."""
    resources = _list(fields, "resourceLogs", "resource_logs")
    scopes = [
        (resource, scope) for resource in resources for scope in _list(resource, "scopeLogs", "scope_logs", "instrumentationLibraryLogs")
    ]
    found = [
        InnerRecord(_record(record, _outer(resource, scope), defaults), NAME)
        for resource, scope in scopes
        for record in _list(scope, "logRecords", "log_records", "logs")
    ]
    return iter(found) if found else None


def _list(value: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    for name in names:
        items = value.get(name)
        if isinstance(items, list):
            return [each for each in items if isinstance(each, dict)]
    return []


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _outer(resource: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, str]:
    """What holds for all records of a scope, as attributes."""
    named = _attributes(_object(resource, "resource"))
    inner = _object(scope, "scope")
    own = {f"otel.scope.{name}": inner[name] for name in ("name", "version") if isinstance(inner.get(name), str) and inner[name]}
    return named | own | _attributes(inner)


def _record(record: Mapping[str, Any], outer: Mapping[str, str], defaults: Defaults) -> LogRecord:
    attributes = _attributes(record)
    # the record's own value wins; what it hides stays under another name
    hidden = {f"resource.{name}": value for name, value in outer.items() if attributes.get(name, value) != value}
    merged = {**outer, **attributes, **hidden}
    message = _message(record, merged)
    service = merged.pop("service.name", "") or defaults.service
    environment = next((merged.pop(name) for name in _ENVIRONMENTS if merged.get(name)), "") or defaults.environment
    time = _integer(record, "timeUnixNano", "time_unix_nano") or _integer(record, "observedTimeUnixNano", "observed_time_unix_nano")
    return LogRecord(
        time_unix_nano=time if 0 <= time < 2**63 else 0,
        severity=_severity(record, merged),  # type: ignore[arg-type]  # enums are open
        service=service,
        environment=environment,
        message=message,
        attributes=merged,
        trace_id=_identifier(record, 16, "traceId", "trace_id"),
        span_id=_identifier(record, 8, "spanId", "span_id"),
    )


def _message(record: Mapping[str, Any], attributes: dict[str, str]) -> str:
    """The body as text. Of a body that is an object, its message; the rest becomes attributes."""
    body = record.get("body")
    event = record.get("eventName") or record.get("event_name")
    if isinstance(event, str) and event:
        attributes["event.name"] = event
    fields = _fields(body)
    if fields is not None:
        name = next((name for name in _MESSAGES if fields.get(name)), "")
        message = fields.pop(name) if name else _plain_text(body)
        attributes.update({key: value for key, value in fields.items() if key not in attributes})
        return message
    text = _text(body)
    return text or attributes.get("exception.message") or str(event or "") or dumps(record, ensure_ascii=False, default=str)


def _fields(value: Any) -> dict[str, str] | None:
    """A key-value list as flat texts; None for any other value."""
    inner = value.get("kvlistValue", value.get("kvlist_value")) if isinstance(value, dict) else None
    return _attributes({"attributes": inner.get("values")}) if isinstance(inner, dict) else None


def _plain_text(value: Any) -> str:
    return dumps(_plain(value), ensure_ascii=False, default=str)


def _attributes(owner: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in _list(owner, "attributes"):
        name, value = str(item.get("key", "")), item.get("value")
        nested = _fields(value)
        if nested:
            found.update({f"{name}.{key}": text for key, text in nested.items()})
        elif name:
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    plain = _plain(value)
    return "" if plain is None else text_of(plain)


def _plain(value: Any) -> Any:
    """An AnyValue as a plain value."""
    if not isinstance(value, dict) or not value:
        return value if isinstance(value, str | int | Decimal) else None
    kind, inner = next(iter(value.items()))
    match kind.replace("_v", "V"):
        case "arrayValue" if isinstance(inner, dict):
            return [_plain(each) for each in _list(inner, "values")]
        case "kvlistValue" if isinstance(inner, dict):
            return {str(each.get("key", "")): _plain(each.get("value")) for each in _list(inner, "values")}
    return inner


def _integer(record: Mapping[str, Any], *names: str) -> int:
    for name in names:
        text = str(record.get(name, ""))
        if text.isascii() and text.isdigit() and len(text) < 20:
            return int(text)
    return 0


def _severity(record: Mapping[str, Any], attributes: dict[str, str]) -> int:
    """The number; the text stays as an attribute where it says more."""
    from treering.severity import severity_number  # noqa: PLC0415 - read here alone

    number = _integer(record, "severityNumber", "severity_number")
    text = record.get("severityText") or record.get("severity_text")
    if isinstance(text, str) and text:
        attributes.setdefault("severity_text", text)
        if not number:
            try:
                return severity_number(text)
            except ValueError:
                return 0
    return number if number <= 24 else 0


def _identifier(record: Mapping[str, Any], length: int, *names: str) -> bytes:
    """An id in hexadecimal, or in base64, as protobuf's own JSON has bytes; zeros are none."""
    for name in names:
        text = record.get(name)
        if not isinstance(text, str):
            continue
        try:
            raw = bytes.fromhex(text) if len(text) == 2 * length else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            continue
        if len(raw) == length and any(raw):
            return raw
    return b""
