"""A message on the wire, taken apart into its fields, whatever they hold.

Source: the wire format of Protocol Buffers, https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

RECORD_TAG = 3 << 3 | 2
"""The tag of an element of `LogBatch.records`."""

RESOURCE_TAG = 5 << 3 | 2
"""The tag of an entry of `LogBatch.resource`."""

_VARINT, _FIXED64, BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Each field: its tag, and its bytes with the tag, which are a message of their own. Looks into groups only for their ends.

    Raises:
        ValueError, IndexError: The message does not fall into fields.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        at = _end(message, tag, at)
        # A length that points behind the end: a slice would silently be shorter than the field says.
        if at > len(message):
            raise ValueError("a field ends after its message")
        yield tag, message[start:at]


def flat_fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each field of a message that stands at a place of some bytes: its tag, where its value begins, where it ends. Copies nothing.

    Raises:
        ValueError, IndexError: The message does not fall into fields, or has a group, which no message of ours has.
    """
    while at < end:
        tag, at = _varint(message, at)
        start = _varint(message, at)[1] if tag & 7 == BYTES else at
        at = _value_end(message, tag & 7, at)
        if at > end:
            raise ValueError("a field ends after its message")
        yield tag, start, at


def _end(message: bytes, tag: int, at: int) -> int:
    """Where a field ends whose tag ends at `at`. Groups nest as deep as the bytes say, so they are counted and not called."""
    # A stack of numbers: each group has to end with the tag of its own number.
    open_groups = [tag >> 3] if tag & 7 == _GROUP else []
    if not open_groups:
        return _value_end(message, tag & 7, at)
    while open_groups:
        tag, at = _varint(message, at)
        if tag & 7 == _GROUP:
            open_groups.append(tag >> 3)
        elif tag & 7 != _GROUP_END:
            at = _value_end(message, tag & 7, at)
        elif open_groups.pop() != tag >> 3:
            raise ValueError("a group has the end of another")
    return at


def _value_end(message: bytes, kind: int, at: int) -> int:
    if kind == _VARINT:
        return _varint(message, at)[1]
    if kind == BYTES:
        length, at = _varint(message, at)
        return at + length
    if kind in {_FIXED64, _FIXED32}:
        return at + (8 if kind == _FIXED64 else 4)
    raise ValueError(f"wire type {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    # 64 bits at most: a number that goes on longer is damage, and must not grow without end.
    while shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
