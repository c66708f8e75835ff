"""What a request would unfold to, counted on the wire.

A list costs most while it is unfolded: two bytes on the wire become sixty in memory. A tree may be deeper than whoever walks it can go.
"""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from treering_runtime import wire
from treering_runtime.errors import invalid_field
from treering_runtime.limits import MAX_REQUEST_FIELDS
from treering_runtime.list_limits import Branches, Limit, Many, Tree, row_name


class Message:
    """A message whose fields are counted: its path, and its level where it is in a tree. There may be 100,000, so it is small."""

    __slots__ = ("_tree", "counts", "path")

    def __init__(self, path: str = "", counts: dict[int, Any] | None = None, tree: Tree | None = None) -> None:
        self.path = path
        # By field number: how many elements a list has so far, or the counts of a single message, which may come in several parts.
        self.counts: dict[int, Any] = {} if counts is None else counts
        self._tree = tree

    def grown(self, limit: Branches, path: str) -> Tree:
        """The next level of its tree, where one more message was found at a path."""
        if self._tree is None:
            self._tree = Tree()
        return self._tree.grown(limit, path, 1)


class Count:
    """The count of one request.

    Args:
        rows: The limits, by `row_name`.
        has_lists: Whether a message, or one inside it, has a list that is counted.
    """

    def __init__(self, rows: Mapping[str, Limit], has_lists: Callable[[Descriptor], bool]) -> None:
        self._rows = rows
        self._has_lists = has_lists
        self._room = MAX_REQUEST_FIELDS

    def whole(self, raw: bytes, kind: Descriptor) -> None:
        """Counts a request of some kind.

        Raises:
            ServiceError: INVALID_FIELD, at the first list that is too long, tree that is too large, or field too many.
            ValueError, IndexError: It is no message.
        """
        self._add(raw, (0, len(raw)), kind, Message())

    def _add(self, raw: bytes, place: tuple[int, int], kind: Descriptor, message: Message) -> None:
        for tag, start, end in wire.flat_fields(raw, *place):
            # Counted field by field, known or not: unknown fields are kept by the parser and cost memory, too.
            self._room -= 1
            if self._room < 0:
                problem = f"more than {MAX_REQUEST_FIELDS} fields; ask for less, and give lists of numbers packed, as every library does"
                raise invalid_field("request", problem, limit=MAX_REQUEST_FIELDS)
            if field := kind.fields_by_number.get(tag >> 3):
                self._add_field(raw, (tag, start, end), field, message)

    def _add_field(self, raw: bytes, found: tuple[int, int, int], field: FieldDescriptor, message: Message) -> None:
        tag, start, end = found
        limit = self._rows.get(row_name(field))
        name, counts = f"{message.path}{field.name}", message.counts
        if isinstance(limit, Many):
            counts[field.number] = counts.get(field.number, 0) + elements(field, tag, raw[start:end])
            limit.check_count(name, counts[field.number])
        if field.message_type is None or tag & 7 != wire.BYTES or not self._has_lists(field.message_type):
            return
        if field.is_repeated:
            name = f"{name}[{counts.get(field.number, 1) - 1}]"
        below = message.grown(limit, name) if isinstance(limit, Branches) else None
        # Protocol Buffers merge parts of a single message, so their lists are counted together; elements of a list are counted alone.
        inner = {} if field.is_repeated else counts.setdefault(field.number, {})
        self._add(raw, (start, end), field.message_type, Message(f"{name}.", inner, below))


CONTINUED = bytes(range(0x80, 0x100))
"""Bytes after which a varint goes on."""

_WIDTHS = {FieldDescriptor.TYPE_FIXED64: 8, FieldDescriptor.TYPE_DOUBLE: 8, FieldDescriptor.TYPE_FIXED32: 4, FieldDescriptor.TYPE_FLOAT: 4}
"""Bytes of a number, where each has as many."""


def elements(field: FieldDescriptor, tag: int, value: bytes) -> int:
    """How many elements of a list one field on the wire holds: more than one where numbers are packed."""
    if tag & 7 != wire.BYTES or field.type in {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
        return 1
    # Each varint has exactly one byte that does not go on; without the others, the length is the number of elements.
    return len(value) // _WIDTHS[field.type] if field.type in _WIDTHS else len(value.translate(None, CONTINUED))
