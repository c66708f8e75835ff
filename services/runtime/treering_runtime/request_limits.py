"""What a request may hold: a limit for each text, list and number of each rpc, checked before a handler runs.

The rows of a service stand in its own module `request_limits`, by message and field; what several services share stands here. A contract
test walks all rpcs and fails for a field without a row, so that nothing new is served without a decision.

Large requests are counted on the wire first, before they are unfolded (`request_counts`).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import UnionType

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from treering_runtime import wire
from treering_runtime.errors import invalid_field
from treering_runtime.limits import (
    COUNTED_REQUEST_BYTES,
    MAX_DELIVERED_FRAMES,
    MAX_LOG_START_OFFSET,
    MAX_MESSAGE_BYTES,
    MAX_REFLECTION_NAME_BYTES,
)
from treering_runtime.list_limits import Branches, Free, Limit, Many, Tree, row_name
from treering_runtime.request_counts import CONTINUED, Count

__all__ = [
    "BYTES_OF_MESSAGE",
    "LOG_ID",
    "OFFSET",
    "SHARED",
    "Branches",
    "Free",
    "Known",
    "Limit",
    "Many",
    "Number",
    "RequestLimits",
    "Sizes",
    "Text",
    "needs_row",
    "row_name",
]


@dataclass(frozen=True)
class Text:
    """A text of at most so many characters (or bytes of UTF-8), without a zero byte unless it may hold any."""

    most: int
    remedy: str = "shorten it"
    unit: str = "characters"
    zero_bytes: bool = False

    def check(self, field: str, value: str) -> None:
        """Says the length, never the text."""
        # Characters are counted without a copy; for bytes the text is encoded first.
        length = len(value) if self.unit == "characters" else len(value.encode())
        if length > self.most:
            raise invalid_field(field, f"{length} {self.unit}, over {self.most}; {self.remedy}", limit=self.most)
        if "\0" in value and not self.zero_bytes:
            raise invalid_field(field, "holds a zero byte; leave it out", limit=self.most)

    def __str__(self) -> str:
        return f"{self.most:,} {self.unit}"


@dataclass(frozen=True)
class Sizes:
    """Bytes of one of these lengths."""

    allowed: tuple[int, ...]
    remedy: str

    def check(self, field: str, value: bytes) -> None:
        """Says the length."""
        if len(value) not in self.allowed:
            raise invalid_field(field, f"{len(value)} bytes; {self.remedy}", limit=max(self.allowed))

    def __str__(self) -> str:
        return f"{' or '.join(map(str, self.allowed))} bytes"


@dataclass(frozen=True)
class Number:
    """A number from `least` to `most`; NaN is none of these. A field that is unset is not checked, and has its default."""

    most: float
    remedy: str = "ask for less"
    least: int = 0

    def check(self, field: str, value: float) -> None:
        """Says the number and the bound that it passes."""
        # NaN compares as false here and goes on to the refusal.
        if self.least <= value <= self.most:
            return
        if not isinstance(self.most, int):
            raise invalid_field(field, f"{value:g} is outside {self.least} to {self.most:g}; {self.remedy}")
        bound = f"below {self.least}" if value < self.least else f"over {self.most}"
        raise invalid_field(field, f"{value} is {bound}; {self.remedy}", limit=self.least if value < self.least else self.most)

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}" if self.least else f"up to {self.most:,}"


@dataclass(frozen=True)
class Known:
    """A value that an enum of the contract names; they are numbered without a gap. 0 names nothing: unset is how to ask for the default."""

    enum: EnumDescriptor

    def check(self, field: str, value: int) -> None:
        """Says which there are."""
        if value and value in self.enum.values_by_number:
            return
        prefix = self.enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
        listed = [f"{number} ({self.enum.values_by_number[number].name.removeprefix(prefix)})" for number in (1, self._last)]
        problem = f"{value} is none of the contract's; they are {' to '.join(listed).lower()}, and unset is the default"
        raise invalid_field(field, problem, limit=self._last)

    @property
    def _last(self) -> int:
        return len(self.enum.values) - 1

    def __str__(self) -> str:
        return f"1 to {self._last}"


OFFSET = Free("an offset that no log has is found nowhere")
LOG_ID = Free("a log that nobody knows holds nothing")
BYTES_OF_MESSAGE = Free(f"the largest message has {MAX_MESSAGE_BYTES // 1024**2} MiB")
_NAME = Text(MAX_REFLECTION_NAME_BYTES, "no name is longer", "bytes")

SHARED: Mapping[str, Limit] = {
    "Position.log_id": LOG_ID,
    "Position.offset": OFFSET,
    "DeliverLogsRequest.frames": Many(MAX_DELIVERED_FRAMES, "deliver less at once"),
    "DeliverLogsRequest.log_end_offset": OFFSET,
    "DeliveryStart.log_id": LOG_ID,
    "DeliveryStart.log_start_offset": Number(MAX_LOG_START_OFFSET, "no log gets there"),
    "DeliveryStart.protocol_version": Free("compared with the version that is served"),
    "DeliveredFrame.first_offset": OFFSET,
    "DeliveredFrame.record_count": Free("compared with the payload"),
    "DeliveredFrame.arrival_time_unix_nano": Free("put right where no record may have it"),
    "DeliveredFrame.payload": BYTES_OF_MESSAGE,
    "ChainLinks.before": Free("compared with the link that the sink has"),
    "ChainLinks.after": Free("compared with what the next delivery says"),
    "ListQuarantineRequest.log_id": LOG_ID,
    "ListQuarantineRequest.first_offset": OFFSET,
    "ListQuarantineRequest.end_offset_exclusive": OFFSET,
    "RetryQuarantinedRequest.log_id": LOG_ID,
    "RetryQuarantinedRequest.first_offset": OFFSET,
    "RetryQuarantinedRequest.end_offset_exclusive": OFFSET,
    "HealthCheckRequest.service": _NAME,
    "ServerReflectionRequest.host": _NAME,
    "ServerReflectionRequest.file_by_filename": _NAME,
    "ServerReflectionRequest.file_containing_symbol": _NAME,
    "ServerReflectionRequest.all_extension_numbers_of_type": _NAME,
    "ServerReflectionRequest.list_services": _NAME,
    "ExtensionRequest.containing_type": _NAME,
    "ExtensionRequest.extension_number": Free("a number that nobody knows is found nowhere"),
}
"""The rows of what several services serve: positions, sinks, health, reflection."""


def needs_row(field: FieldDescriptor) -> bool:
    """Whether a field must have a row: all but single messages, whose own fields have theirs, and booleans."""
    return field.is_repeated or field.type not in {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BOOL}


class RequestLimits:
    """Checks requests against a table of limits.

    Args:
        rows: The limits of a service's own messages, by `row_name`; `SHARED` is added.
    """

    def __init__(self, rows: Mapping[str, Limit] | None = None) -> None:
        self.rows: Mapping[str, Limit] = {**SHARED, **(rows or {})}
        self._limited: dict[str, bool] = {}
        self._listing: dict[str, bool] = {}

    def check(self, request: Message, path: str = "", tree: Tree | None = None) -> None:
        """Checks a parsed request; costs nothing for lists whose elements may be anything.

        Raises:
            ServiceError: INVALID_FIELD; the field is named by its path, for example `filter.attributes[2].key`.
        """
        # Only fields that are set: the cost is that of what was sent, not of what the contract knows.
        for field, value in request.ListFields():
            name = f"{path}{field.name}"
            if limit := self.rows.get(row_name(field)):
                limit.check(name, value)
            if not self._is_looked_into(field):
                continue
            # Before the children of a list are walked: the limit above has counted them.
            below = None
            if isinstance(limit, Branches):
                tree = tree or Tree()
                below = tree.grown(limit, f"{name}[0]", len(value))
            if field.is_repeated:
                for index, element in enumerate(value):
                    self.check(element, f"{name}[{index}].", below)
            else:
                self.check(value, f"{name}.")

    def check_wire(self, raw: bytes, kind: Descriptor) -> None:
        """Counts what a large request would unfold to, before it does. Stops at the first list that is too long.

        Raises:
            ServiceError: INVALID_FIELD.
            ValueError, IndexError: It is no message.
        """
        # Small requests unfold to little, whatever they hold: they are counted after the parsing only.
        if len(raw) > COUNTED_REQUEST_BYTES and self.has_lists(kind) and not self._is_surely_short(raw, kind):
            Count(self.rows, self.has_lists).whole(raw, kind)

    def check_depth(self, raw: bytes, kind: Descriptor) -> None:
        """Looks at what could not be parsed: libraries parse no message that is nested more than 100 times, and do not say so.

        Raises:
            ServiceError: INVALID_FIELD, for a tree that is too deep, or for anything else that `check_wire` refuses in a large request.
        """
        with suppress(ValueError, IndexError):
            Count(self.rows, self.has_lists).whole(raw, kind)

    def _is_surely_short(self, raw: bytes, kind: Descriptor) -> bool:
        """Whether no list can be too long, because its tag does not stand in the bytes so often: known in a thousandth of the time."""
        rows = ((field, self.rows.get(row_name(field))) for field in kind.fields)
        lists = [(field, row) for field, row in rows if isinstance(row, Many)]
        # One list, and none deeper: the count of a byte answers for one list only.
        if len(lists) != 1 or any(field.message_type and self.has_lists(field.message_type) for field in kind.fields):
            return False
        field, limit = lists[0]
        tag = field.number << 3 | wire.BYTES
        # A packed list has one tag for all its numbers, and a tag above one byte cannot be counted as a byte.
        if field.is_packed or tag >= CONTINUED[0]:
            return False
        # a tag may be written in more bytes than it needs: then its first one says that it goes on
        return raw.count(tag) + raw.count(tag | CONTINUED[0]) <= limit.most

    def has_lists(self, kind: Descriptor) -> bool:
        """Whether a message, or one inside it, has a list that is counted."""
        return self._any(kind, self._listing, Many)

    def _is_looked_into(self, field: FieldDescriptor) -> bool:
        """Whether the elements of a field have fields with limits."""
        kind = field.message_type
        return kind is not None and self._any(kind, self._limited, Text | Sizes | Number | Known | Many)

    def _any(self, kind: Descriptor, known: dict[str, bool], wanted: "type | UnionType") -> bool:
        # Noted by message: the contract does not change while the process runs, and every request asks.
        if kind.full_name not in known:
            rows = (self.rows.get(row_name(field)) for message in _within(kind) for field in message.fields)
            known[kind.full_name] = any(isinstance(row, wanted) for row in rows)
        return known[kind.full_name]


def _within(kind: Descriptor) -> list[Descriptor]:
    """A message and all that may stand in it, each once: one may stand in itself."""
    found = {kind.full_name: kind}
    queue = [kind]
    for message in queue:
        for field in message.fields:
            if field.message_type and field.message_type.full_name not in found:
                found[field.message_type.full_name] = field.message_type
                queue.append(field.message_type)
    return queue
