"""What names in structured logs mean, and the record they make."""

import datetime as dt
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.instants import utc_time
from treering_formats.levels import USUAL, field_level, says_more, status_level
from treering_formats.roles import Role, names_by_role
from treering_formats.times import TimeReading, any_time

_DUPLICATE_PREFIX = "treering.duplicate."
"""Before the key under which a value is kept that another value of the same key replaced; the sinks do the same for keys on the wire."""


class Number(str):
    """A number with a fraction or an exponent, as it is written: `1.10` is a text of an attribute as it stands."""

    __slots__ = ()


_ROLES = len(Role)
_SEVERITY = int(Role.SEVERITY)
_TEXTS = frozenset({str, Number})


@dataclass(frozen=True)
class Defaults:
    """What records get that do not say it themselves.

    Attributes:
        service: The service.
        environment: The environment.
        now: The present, for times without a year or a date.
        zone: For times without a zone.
    """

    service: str
    environment: str
    now: dt.datetime
    zone: dt.tzinfo = dt.UTC
    reading: TimeReading = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading", TimeReading(self.now, self.zone))


def add_field(fields: dict[str, Any], name: str, value: Any) -> None:
    """Puts a field in; a different value that the name had before stays beside it, several joined by line feeds in their order."""
    if name in fields and (before := text_of(fields[name])) != text_of(value):
        key = _DUPLICATE_PREFIX + name
        fields[key] = f"{fields[key]}\n{before}" if key in fields else before
    fields[name] = value


def text_of(value: Any) -> str:
    """A JSON value as the text of an attribute: numbers as they are written, lists and objects as JSON."""
    if value.__class__ is int:
        return str(value)
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    return _json_text(value)


def _json_text(value: Any) -> str:
    if isinstance(value, Number):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_json_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{dumps(key, ensure_ascii=False)}: {_json_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return dumps(value, ensure_ascii=False)
    return str(value)


def to_record(fields: Mapping[str, Any], line: str, defaults: Defaults) -> LogRecord:
    """The record of flat fields: what has a role is read, the rest becomes attributes, and so does what cannot be read.

    Args:
        fields: Flat names and values.
        line: The line that the fields are from: the message when they have none, or an empty one.
        defaults: For what is missing.
    """
    record = LogRecord()
    attributes = record.attributes
    names = names_by_role(fields, line)
    for name in names.others:
        value = fields[name]
        attributes[name] = value if value.__class__ in _TEXTS else text_of(value)
    values: list[Any] = [None] * _ROLES
    for role, name in names.with_role:
        value = fields[name]
        read = _READERS[role](name, value, fields, defaults) if values[role] is None else None
        if read is not None:
            values[role] = read
            if role != _SEVERITY or value in USUAL or not says_more(value):
                continue
        # what is not read stays under its own name, and so does a level that says more than its number; a null says that there is none
        if value is not None:
            attributes[name] = text_of(value)
    message, time, severity, service, environment, trace_id, span_id = values
    record.message = message or line
    record.service = service or defaults.service
    record.environment = environment or defaults.environment
    record.time_unix_nano = time or 0
    record.severity = severity or 0  # type: ignore[assignment]  # enums are open: the sinks put right what is out of range
    if trace_id or span_id:
        record.trace_id, record.span_id = trace_id or b"", span_id or b""
    # roles are read from the top level only: an attribute called `service` names no service
    if names.below_attributes:
        _name_attributes(attributes)
    return record


def _name_attributes(attributes: MutableMapping[str, str]) -> None:
    """Puts what is below `attributes` under its own name, as `treering export` means it, unless another field has that name."""
    for name, value in list(attributes.items()):
        own = name.removeprefix("attributes.")
        if (name, value) == ("attributes", "{}"):
            del attributes[name]
        elif own and own != name and own not in attributes:
            attributes[own] = value
            del attributes[name]


_Reader = Callable[[str, Any, Mapping[str, Any], Defaults], Any]


def _message(_name: str, value: Any, _fields: Mapping[str, Any], _defaults: Defaults) -> str | None:
    text = value if value.__class__ is str else None if value is None or isinstance(value, dict | list) else text_of(value)
    # An empty message is none: ingest refuses it, and what stands beside it would be lost.
    return text if text and not text.isspace() else None


def _time(_name: str, value: Any, _fields: Mapping[str, Any], defaults: Defaults) -> int | None:
    usual = utc_time(value) if value.__class__ is str else None
    return usual or any_time(value, defaults.reading)


def _severity(name: str, value: Any, fields: Mapping[str, Any], _defaults: Defaults) -> int | None:
    return status_level(value) if name == "status" else field_level(name, value, fields)


def _word(_name: str, value: Any, _fields: Mapping[str, Any], _defaults: Defaults) -> str | None:
    return value if value.__class__ is str and value else None


def _trace(_name: str, value: Any, _fields: Mapping[str, Any], _defaults: Defaults) -> bytes | None:
    return _identifier(value, 16)


def _span(_name: str, value: Any, _fields: Mapping[str, Any], _defaults: Defaults) -> bytes | None:
    return _identifier(value, 8)


def _identifier(value: Any, length: int) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        raw = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == length and any(raw) else None


_READERS: tuple[_Reader, ...] = (_message, _time, _severity, _word, _word, _trace, _span)
"""By role."""
