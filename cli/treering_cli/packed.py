"""Packed files as the bytes that are in them."""

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
MAGIC_BYTES = max(map(len, _MAGIC))
"""So many first bytes tell what a file is."""

_PIECE_BYTES = 256 * 1024


class Readable(Protocol):
    """Where packed bytes come from."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; fewer only at the end."""


def kind_of(start: bytes) -> str:
    """How a file that begins so is packed; empty when it is not."""
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")


def may_become_packed(start: bytes) -> bool:
    """Whether more bytes are needed to say that."""
    return any(magic.startswith(start) for magic in _MAGIC)


class Unpacked(io.RawIOBase):
    """What is packed in a stream. Files after each other in it, as packers append them, are one.

    A damaged stream ends where the damage is, so that what stands before it can be used.

    Attributes:
        problem: What is wrong with it, in words; empty while nothing is.
    """

    def __init__(self, stream: Readable, kind: str) -> None:
        self._inner = _opened(stream, kind)
        self._kind = kind
        self.problem = ""
        self.bytes_read = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Unpacks the next bytes into a buffer; returns how many, 0 at the end and where the damage is."""
        view = memoryview(buffer).cast("B")
        if self.problem:
            return 0
        try:
            piece = self._inner.read(min(len(view), _PIECE_BYTES))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            self.problem = f"the {self._kind} data are damaged or end early behind {self.bytes_read:,} bytes of what is packed ({error})"
            return 0
        view[: len(piece)] = piece
        self.bytes_read += len(piece)
        return len(piece)


def _opened(stream: Readable, kind: str) -> Readable:
    if kind == "zstd":
        import pyarrow as pa  # noqa: PLC0415 - start-up

        unpacked: Readable = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
        return unpacked
    source: BinaryIO = stream  # type: ignore[assignment]  # each of these calls `read` alone
    if kind == "bzip2":
        return bz2.BZ2File(source)
    if kind == "xz":
        return lzma.LZMAFile(source)
    return gzip.GzipFile(fileobj=source)
