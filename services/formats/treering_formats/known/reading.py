"""What a reader of one format finds in a text."""

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults
from treering_formats.times import TimeReading

DIGITS = string.digits
LETTERS = string.ascii_letters
SYSLOG_SEVERITIES = (21, 19, 18, 17, 13, 10, 9, 5)
"""By a priority's lowest three bits, from emergency to debug, as OpenTelemetry maps them."""


@dataclass(slots=True)
class Reading:
    """What a text says. A time of 0 and a severity of 0 are unknown."""

    message: str
    time_unix_nano: int = 0
    severity: int = 0
    attributes: dict[str, str] = field(default_factory=dict)

    def record(self, defaults: Defaults) -> LogRecord:
        """The record."""
        return LogRecord(
            time_unix_nano=self.time_unix_nano,
            severity=self.severity,  # type: ignore[arg-type]  # enums are open
            service=defaults.service,
            environment=defaults.environment,
            message=self.message,
            attributes=self.attributes,
        )


@dataclass(slots=True)
class Context:
    """What was read before in the same stream, and what holds for it.

    Attributes:
        times: The present and the zone, for times that lack something.
        columns: Names of the columns that header lines gave; empty without such lines.
        is_tabbed: Whether columns are apart by tabs, as the header's are.
    """

    times: TimeReading
    columns: tuple[str, ...] = ()
    is_tabbed: bool = False


@dataclass(frozen=True)
class TextFormat:
    """A format of texts.

    Attributes:
        name: Its name, as people know it.
        description: What writes it, in a few words.
        example: A line in it.
        first: The characters that such a text can begin with.
        front: An expression, without groups, that every such text begins with. It is tried on every text that begins with one of `first`:
            possessive quantifiers let it fail soon.
        read: Reads a text, the first line of an event: a reading, or flat fields with the usual names; None when it is no such text.
        whole: Whether `read` is given all lines of an event.
        needle: A piece of text that must be in the text, wherever; then `first` and `front` are not asked.
    """

    name: str
    description: str
    example: str
    first: str
    front: str
    read: Callable[[str, Context], "Reading | dict[str, Any] | None"]
    whole: bool = False
    needle: str = ""


@dataclass(frozen=True)
class ObjectFormat:
    """A format of JSON objects.

    Attributes:
        name: Its name, as people know it.
        description: What writes it, in a few words.
        example: A line in it.
        marks: Names of flat fields: an object that has one of them may be in this format.
        read: Puts the flat fields under the names that `fields` knows; false when it is no such object after all.
    """

    name: str
    description: str
    example: str
    marks: frozenset[str]
    read: Callable[[dict[str, Any]], bool]


def named(names: tuple[str, ...], values: tuple[str | None, ...] | list[str]) -> dict[str, str]:
    """Values under their names; without those that are missing, empty or `-`, which mean none."""
    return {name: value for name, value in zip(names, values, strict=False) if value and value != "-"}
