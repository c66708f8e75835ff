"""The bytes of an input as text in UTF-8: unpacked, out of another encoding, and known not to be something else than text."""

import codecs
import io
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from treering_cli.line_buffer import LineBuffer
from treering_cli.packed import MAGIC_BYTES, Unpacked, kind_of, may_become_packed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Buffered = io.BufferedReader[Any]

QUIET_S = 0.4
"""A pipe in which nothing has come for so long is quiet, seconds: what waits for lines that might join it waits no longer. Programs write a
stack trace in one go."""

_PROBE_BYTES = 64 * 1024
_FOREIGN = {b"PK\x03\x04": "zip", b"PAR1": "Parquet", b"7z\xbc\xaf": "7-Zip"}
_TAR_AT = 257
_MOST_CONTROL = 0.3
_MOST_NUL = 0.1
_NUL_BLOCK = b"\0" * 16
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class NotTextError(ValueError):
    """The bytes are no text; the message says what they look like and what to do."""


def check_text(name: str, start: bytes) -> None:
    """Looks at the first bytes of an input that is not packed.

    Raises:
        NotTextError: They are in a form that is not read, or otherwise binary.
    """
    for magic, kind in _FOREIGN.items():
        if start.startswith(magic):
            raise NotTextError(f"{name}: this is a {kind} file, not text; unpack it first, for example with `... | treering send -`")
    if start[_TAR_AT:].startswith(b"ustar"):
        raise NotTextError(f"{name}: this is a tar archive, not text; give the files in it, for example `tar -xOf ... | treering send -`")
    if start.startswith(_UTF_16):
        return
    head = start[:8192]
    # Blocks of them are what a crash leaves; one behind every other byte is another encoding.
    text = head.replace(_NUL_BLOCK, b"")
    if text.count(0) > _MOST_NUL * len(text):
        words = "a binary file, or UTF-16 without a byte order mark; give log files, one record a line, or say --encoding utf-16-le"
        raise NotTextError(f"{name}: this is {words}")
    control = sum(byte < 32 and byte not in b"\0\t\n\r\x1b\x0c\x08" for byte in text)
    garbled = b"\0" in text and text.decode(errors="replace").count("\ufffd") > _MOST_NUL * len(text)
    if control > _MOST_CONTROL * len(text) or garbled:
        raise NotTextError(f"{name}: this is a binary file, not text; give log files, one record a line")


def check_encoding(name: str) -> None:
    """Makes sure that Python knows an encoding of texts.

    Raises:
        ValueError: It does not.
    """
    try:
        codecs.lookup(name)
        is_text = isinstance("".encode(name), bytes)
    except (LookupError, TypeError, ValueError):
        is_text = False
    if not is_text:
        raise ValueError(f"there is no encoding {name!r}; use for example latin-1, cp1252, utf-16-le, shift_jis")


class Text(Protocol):
    """An open input."""

    def readline(self, size: int, /) -> bytes | None:
        """See `treering_formats.reader.Stream`."""

    @property
    def problem(self) -> str:
        """Why there is no more, where that is not its end; empty otherwise."""

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""


class FileText:
    """A file that can be read to its end without waiting."""

    was_interrupted = False

    def __init__(self, stream: "Buffered", unpacked: Unpacked | None) -> None:
        self.stream = stream
        self.readline = stream.readline
        self._unpacked = unpacked

    @property
    def problem(self) -> str:
        """See `Text`."""
        return self._unpacked.problem if self._unpacked else ""

    @property
    def is_unreadable(self) -> bool:
        """Whether nothing of a packed file can be read."""
        return bool(self.problem) and not self.stream.peek(1)


def open_text(name: str, raw: io.BufferedReader, encoding: str) -> FileText:
    """A file's content as text.

    Raises:
        NotTextError: It is none.
    """
    kind = kind_of(raw.peek(MAGIC_BYTES))
    unpacked = Unpacked(raw, kind) if kind else None
    stream: Buffered = io.BufferedReader(unpacked, _PROBE_BYTES) if unpacked else raw
    start = stream.peek(_PROBE_BYTES)[:_PROBE_BYTES]
    if not encoding:
        check_text(name, start)
    decoder = decoder_for(start, encoding)
    return FileText(io.BufferedReader(_Transcoded(stream, decoder), _PROBE_BYTES) if decoder else stream, unpacked)


def decoder_for(start: bytes, encoding: str) -> codecs.IncrementalDecoder | None:
    """What makes text of bytes in an encoding: the one that is named, or UTF-16 where its mark is; None for UTF-8."""
    name = encoding or ("utf-16" if start.startswith(_UTF_16) else "")
    return codecs.getincrementaldecoder(name)("replace") if name else None


class _Transcoded(io.RawIOBase):
    """The bytes of a stream in another encoding, in UTF-8."""

    def __init__(self, stream: "Buffered", decoder: codecs.IncrementalDecoder) -> None:
        self._stream = stream
        self._decoder = decoder
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready and not self._ended:
            piece = self._stream.read1(_PROBE_BYTES)
            self._ended = not piece
            self._ready = self._decoder.decode(piece, final=self._ended).encode()
        size = min(len(view), len(self._ready))
        view[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


class LivePipe:
    """A pipe that is read once, from its first byte, as it comes; None where nothing has come for `QUIET_S`.

    It ends where Ctrl-C interrupts the waiting, so that what came before is known to be complete.
    """

    problem = ""

    def __init__(self, stream: io.BufferedReader, start: bytes, decoder: codecs.IncrementalDecoder | None) -> None:
        self._stream = stream
        self._decoder = decoder
        self._wait = _waiting(stream)
        self._lines = LineBuffer()
        self._ended = False
        self.was_interrupted = False
        self._add(start)

    def readline(self, size: int, /) -> bytes | None:
        """See `treering_formats.reader.Stream`."""
        while (line := self._lines.line(size)) is None:
            if self._ended:
                return self._lines.rest(size)
            try:
                if not self._wait():
                    return None
                self._add(self._stream.read1(_PROBE_BYTES))
            except KeyboardInterrupt:
                self._ended = self.was_interrupted = True
        return line

    def _add(self, piece: bytes) -> None:
        self._ended = not piece
        self._lines.add(self._decoder.decode(piece, final=self._ended).encode() if self._decoder else piece)


def _waiting(stream: io.BufferedReader) -> Callable[[], bool]:
    """Waits until something is there to read, or for `QUIET_S` (False)."""
    try:
        descriptor = stream.fileno()
    except OSError:  # bytes in memory
        return lambda: True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(QUIET_S * 1000))


def open_pipe(name: str, stream: io.BufferedReader, encoding: str) -> "LivePipe | FileText":
    """A pipe's content as text, once its first bytes have come.

    Raises:
        NotTextError: It is none.
    """
    start = stream.read1(_PROBE_BYTES)
    while start and len(start) < MAGIC_BYTES and may_become_packed(start) and (more := stream.read1(_PROBE_BYTES)):
        start += more
    if kind := kind_of(start):
        return open_text(name, io.BufferedReader(Unpacked(_Begun(start, stream), kind)), encoding)
    if not encoding:
        check_text(name, start)
    return LivePipe(stream, start, decoder_for(start, encoding))


class _Begun:
    """A stream whose first bytes were read before."""

    def __init__(self, start: bytes, stream: io.BufferedReader) -> None:
        self._start = start
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        if not self._start:
            return self._stream.read(size)
        taken, self._start = (self._start, b"") if size < 0 else (self._start[:size], self._start[size:])
        return taken
