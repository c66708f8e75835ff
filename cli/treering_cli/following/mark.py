"""Content is known again by what stands at its beginning and before the place that reading has come to."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

MARK_BYTES = 1024
"""So much is looked at in either place. Log lines hold times, so two logs do not agree in both."""


class Readable(Protocol):
    """What has a mark."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Bytes at an offset."""


@dataclass(frozen=True)
class Mark:
    """What is remembered of content that was read up to an offset: hashes, as the text itself is nobody's business."""

    offset: int
    head: bytes
    tail: bytes

    @property
    def head_bytes(self) -> int:
        """How much of the beginning is looked at."""
        return min(MARK_BYTES, self.offset)

    def begins(self, content: Readable) -> bool:
        """Whether the content begins as this one did."""
        return bool(self.offset) and digest(content.read(0, self.head_bytes)) == self.head

    def fits(self, content: Readable) -> bool:
        """Whether the content is this one, as long or longer."""
        size = self.head_bytes
        return self.begins(content) and digest(content.read(self.offset - size, size)) == self.tail


def digest(text: bytes) -> bytes:
    """What a mark keeps of a text."""
    return hashlib.blake2b(text, digest_size=16).digest()


class Window:
    """The bytes of content that its marks are made of, as they were read: the file may be truncated at any moment.

    Args:
        content: What is read.
        offset: Where reading begins.
    """

    def __init__(self, content: Readable, offset: int) -> None:
        size = min(MARK_BYTES, offset)
        self._head = content.read(0, size)
        self._recent = bytearray(content.read(offset - size, size))
        self._end = offset

    def add(self, text: bytes) -> None:
        """Takes note of what was read next."""
        if len(self._head) < MARK_BYTES:
            self._head += text[: MARK_BYTES - len(self._head)]
        self._recent += text
        self._end += len(text)

    def mark(self, offset: int) -> Mark:
        """The mark at an offset that was read, and at none before it from now on."""
        size = min(MARK_BYTES, offset)
        begin = offset - size - (self._end - len(self._recent))
        tail = bytes(self._recent[begin : begin + size])
        del self._recent[:begin]
        return Mark(offset, digest(self._head[:size]), digest(tail))

    def is_of(self, content: Readable) -> bool:
        """Whether the content still is what was read of it."""
        size = min(MARK_BYTES, self._end)
        return content.read(0, size) == self._head[:size] and content.read(self._end - size, size) == bytes(
            self._recent[-size:] if size else b""
        )
