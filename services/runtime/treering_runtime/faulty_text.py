"""Which text of a request is not UTF-8: the library that refuses it says so of none by name."""

from collections import Counter

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from treering_runtime import wire
from treering_runtime.limits import MAX_REQUEST_FIELDS

_DEPTH = 100
"""Levels that are looked into: no library parses more."""


def faulty_text(raw: bytes, kind: Descriptor) -> str:
    """The path of the first text that is not UTF-8, for example `filter.services[2]`; empty when there is none in the first fields."""
    try:
        return _Search(raw).within(kind, 0, len(raw), "")
    except (ValueError, IndexError):  # it does not fall into fields: then nothing in it has a name
        return ""


class _Search:
    """The search in one request. Looks at `MAX_REQUEST_FIELDS` fields at most: a larger request holds a loop for seconds."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._room = MAX_REQUEST_FIELDS

    def within(self, kind: Descriptor, start: int, end: int, path: str) -> str:
        """The path of the first one in a message that stands at a place."""
        counts: Counter[int] = Counter()
        # A message may stand in itself as often as the bytes say.
        if path.count(".") > _DEPTH:
            return ""
        for tag, first, last in wire.flat_fields(self._raw, start, end):
            self._room -= 1
            field = kind.fields_by_number.get(tag >> 3)
            if self._room < 0:
                return ""
            if field is None or tag & 7 != wire.BYTES:
                continue
            name = f"{path}{field.name}[{counts[field.number]}]" if field.is_repeated else f"{path}{field.name}"
            counts[field.number] += 1
            if found := self._at(field, first, last, name):
                return found
        return ""

    def _at(self, field: FieldDescriptor, start: int, end: int, name: str) -> str:
        if field.message_type is not None:
            return self.within(field.message_type, start, end, f"{name}.")
        return name if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(self._raw[start:end]) else ""


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
