"""Bytes of a file as numbered lines of text."""

import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, Protocol

Format = Literal["auto", "jsonl", "text"]
"""What a line is; `auto` looks at the first one."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is cut here, in bytes: it is over the largest record anyway and is reported as refused."""

_PROBE_BYTES = 64 * 1024
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
}
_BOM = b"\xef\xbb\xbf"
_MOST_CONTROL = 0.3


class NotTextError(ValueError):
    """The bytes are no text; the message says what they look like and what to do."""


def check_text(name: str, start: bytes) -> None:
    """Looks at the first bytes of an input.

    Raises:
        NotTextError: They are compressed, UTF-16 or otherwise binary.
    """
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise NotTextError(f"{name}: this is a {kind} file, not text; unpack it first, for example with `... | treering send -`")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotTextError(f"{name}: this is UTF-16, not UTF-8; convert it first: iconv -f UTF-16 -t UTF-8")
    control = sum(byte < 32 and byte not in b"\t\n\r\x1b\x0c\x08" for byte in start[:8192])
    if b"\0" in start or control > _MOST_CONTROL * min(len(start), 8192):
        raise NotTextError(f"{name}: this is a binary file, not text; give log files, one record a line")


def probe(stream: BinaryIO) -> bytes:
    """The first bytes of a stream without taking them."""
    return stream.peek(_PROBE_BYTES)[:_PROBE_BYTES] if isinstance(stream, io.BufferedReader) else b""


class Stream(Protocol):
    """Where lines come from."""

    def readline(self, size: int, /) -> bytes:
        """The next line with its end, at most `size` bytes of it; empty at the end of the stream."""


class UntilInterrupted:
    """A pipe that ends where Ctrl-C interrupts the waiting for its next line, so that the line before it is known to be complete."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.was_interrupted = False

    def readline(self, size: int, /) -> bytes:
        """The next line; empty at the end of the pipe and from Ctrl-C on."""
        try:
            return b"" if self.was_interrupted else self._stream.readline(size)
        except KeyboardInterrupt:
            self.was_interrupted = True
            return b""


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
                self._skip_line()
            if self.lines == 1:
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
