"""Bytes of a file as numbered lines of text."""

from collections.abc import Iterator
from typing import Literal, Protocol

Format = Literal["auto", "jsonl", "text"]
"""What a line is; `auto` looks at the first one."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is cut here, in bytes: it is over the largest record anyway and is reported as refused."""

_BOM = b"\xef\xbb\xbf"


class Stream(Protocol):
    """Where lines come from."""

    def readline(self, size: int, /) -> bytes:
        """The next line with its end, at most `size` bytes of it; empty at the end of the stream."""


class LineReader:
    """Iterates over the lines of a stream, numbered from 1, without their ends.

    Attributes:
        lines: Lines read.
        replaced: Lines that were not valid UTF-8; each wrong byte became U+FFFD.
        bytes_read: How far in the stream.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.lines = 0
        self.replaced = 0
        self.bytes_read = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while raw := self._stream.readline(MAX_LINE_BYTES):
            self.lines += 1
            self.bytes_read += len(raw)
            if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                self._skip_line()  # the rest would pass for lines of their own
            if self.lines == 1:  # a byte order mark is no part of the first field's name
                raw = raw.removeprefix(_BOM)
            yield self.lines, self._decode(raw).rstrip("\r\n")

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.replaced += 1
            return raw.decode(errors="replace")

    def _skip_line(self) -> None:
        while piece := self._stream.readline(MAX_LINE_BYTES):
            self.bytes_read += len(piece)
            if piece.endswith(b"\n"):
                return
