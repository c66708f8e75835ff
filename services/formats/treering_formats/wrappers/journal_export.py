"""The journal's export format as lines of JSON.

An entry is lines `KEY=value`, or `KEY`, a length in eight bytes (little endian), so many bytes and a line feed; an empty line ends it.
The values are bytes, with line feeds and zeros in them, so that entries are read here, below the reading of lines.
Source: systemd's "Journal Export Formats".
"""

import json
import re
from typing import Protocol

FIRST = b"__CURSOR="
"""What a stream in this format begins with."""

_NAME = re.compile(rb"[A-Z_\d]{1,64}")
_UNREAD = "treering.unread"
"""Where lines are kept that are in no entry."""
_MAX_VALUE_BYTES = 16 * 1024 * 1024


class Bytes(Protocol):
    """Where entries come from."""

    def readline(self, size: int, /) -> bytes | None:
        """The next line with its end, at most `size` bytes of it; empty at the end of the stream, None when nothing is there yet."""


class JournalAware:
    """A stream in which entries of the journal's export format are lines of JSON; any other stream is as it is.

    Attributes:
        export: Reads the entries; None in any other stream.
    """

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self.export: JournalExport | None = None

    def readline(self, size: int, /) -> bytes | None:
        """The first line, or the first entry. What comes then is read without a detour."""
        first = self._stream.readline(size)
        if first is None:
            return None
        if first.startswith(FIRST):
            self.export = JournalExport(self._stream, first)
        self.readline = self.export.readline if self.export else self._stream.readline  # type: ignore[method-assign]  # once for the stream
        return self.export.readline(size) if self.export else first


class JournalExport:
    """Reads entries and gives each as one line of JSON, as `journalctl -o json` writes it.

    Attributes:
        bytes_read: How far in the stream.
    """

    def __init__(self, stream: Bytes, first: bytes = b"") -> None:
        """Makes a reader.

        Args:
            stream: The bytes.
            first: A line that was read from them already.
        """
        self._stream = stream
        self._first = first
        self._entry: dict[str, object] = {}
        self.bytes_read = len(first)

    def readline(self, size: int, /) -> bytes | None:
        """The next entry as a line of JSON; one over `size` bytes is cut there. Empty at the end, None when nothing is there yet."""
        while True:
            raw = self._line(size)
            if raw is None:
                return None
            if raw in {b"", b"\n", b"\r\n"}:
                entry, self._entry = self._entry, {}
                if entry:
                    return json.dumps(entry, ensure_ascii=False).encode()[: size - 1] + b"\n"
                if not raw:
                    return b""
                continue
            name, equals, value = raw.rstrip(b"\n").partition(b"=")
            if not _NAME.fullmatch(name):
                _put(self._entry, _UNREAD, raw.rstrip(b"\n"))
            else:
                _put(self._entry, name.decode(), value if equals else self._binary(size))

    def _line(self, size: int) -> bytes | None:
        first, self._first = self._first, b""
        return first or self._read(size)

    def _read(self, size: int) -> bytes | None:
        raw = self._stream.readline(size)
        self.bytes_read += len(raw or b"")
        return raw

    def _binary(self, size: int) -> bytes:
        prefix = self._exactly(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > _MAX_VALUE_BYTES:  # no length: the stream was cut, or is none
            return prefix
        data = self._exactly(length)
        while (rest := self._read(size)) is None:  # the line feed behind the value
            continue
        return data + rest.rstrip(b"\n")

    def _exactly(self, length: int) -> bytes:
        """So many bytes, whatever lines they are; fewer at the end of the stream. Waits for those that are not there yet."""
        pieces, missing = [], length
        while missing:
            piece = self._read(missing)
            if piece is None:
                continue
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


def _put(entry: dict[str, object], name: str, data: bytes) -> None:
    """Adds a field; one that is there several times becomes a list, as in the journal's own JSON."""
    value = data.decode(errors="replace")
    if name not in entry:
        entry[name] = value
        return
    before = entry[name]
    entry[name] = [*before, value] if isinstance(before, list) else [before, value]
