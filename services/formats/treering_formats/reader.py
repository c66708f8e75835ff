"""Bytes of a file as numbered lines of text."""

from collections.abc import Iterator
from typing import Literal, Protocol

Format = Literal["auto", "jsonl", "text"]
"""What a line is; `auto` looks at the first one."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is cut here, in bytes: it is over the largest record anyway and is reported as refused."""

QUIET = 0
"""The number of no line: nothing has come, and what was read before may be all for a while."""

_BOM = b"\xef\xbb\xbf"


def _western(byte: int) -> str:
    """The character of a byte in Windows-1252; in Latin-1 where that has none."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


# Python's stand-ins for bytes that are no UTF-8 (`surrogateescape`), each as the character that it is in a Western encoding: what the file
# says can be read where it is such a file, and its bytes can be had back where it is not.
_WRONG_BYTES = {0xDC00 + byte: _western(byte) for byte in range(0x80, 0x100)}


class Stream(Protocol):
    """Where lines come from."""

    def readline(self, size: int, /) -> bytes | None:
        """The next line with its end, at most `size` bytes of it; empty at the end of the stream, None when nothing is there yet."""


class LineReader:
    """Iterates over the lines of a stream, numbered from 1, without their ends; `(QUIET, "")` when the stream has nothing yet.

    NUL bytes are left out: they are what a crash or a truncated file under a running writer leaves, and no text has any.

    Attributes:
        lines: Lines read.
        replaced: Lines that were not valid UTF-8; each wrong byte became the character that it is in Windows-1252.
        nul_bytes: NUL bytes that were left out.
        bytes_read: How far in the stream.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._cut = False
        self.lines = 0
        self.replaced = 0
        self.nul_bytes = 0
        self.bytes_read = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        # `None` is the one false value that is not the end.
        while (raw := self._stream.readline(MAX_LINE_BYTES)) or raw is None:
            if raw is None:
                yield QUIET, ""
                continue
            self.bytes_read += len(raw)
            if self._is_rest(raw):  # it would pass for a line of its own
                continue
            self.lines += 1
            if self.lines == 1:  # a byte order mark is no part of the first field's name
                raw = raw.removeprefix(_BOM)
            yield self.lines, self._decode(raw).rstrip("\r\n")

    def _is_rest(self, raw: bytes) -> bool:
        """Whether this continues a line that was cut."""
        rest, self._cut = self._cut, len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n")
        if rest:
            self._cut = not raw.endswith(b"\n")
        return rest

    def _decode(self, raw: bytes) -> str:
        if b"\0" in raw:
            self.nul_bytes += raw.count(b"\0")
            raw = raw.replace(b"\0", b"")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.replaced += 1
            return raw.decode(errors="surrogateescape").translate(_WRONG_BYTES)
