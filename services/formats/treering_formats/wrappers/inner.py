"""What is found inside a wrapper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import text_of
from treering_formats.wrappers.envelope import Envelope


@dataclass(slots=True)
class InnerText:
    """A line of text. One that `is_whole` is an event by itself."""

    text: str
    envelope: Envelope
    is_whole: bool = False


@dataclass(slots=True)
class InnerObject:
    """An object with flat fields, the text that stands for it, and what holds for all objects beside it."""

    fields: dict[str, Any]
    text: str
    form: str
    outer: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class InnerRecord:
    """A record."""

    record: LogRecord
    form: str


Inner = InnerText | InnerObject | InnerRecord


def as_attributes(fields: Mapping[str, Any]) -> dict[str, str]:
    """Flat fields as attributes; a null says nothing."""
    return {name: value if value.__class__ is str else text_of(value) for name, value in fields.items() if value is not None}
