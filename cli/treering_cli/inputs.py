"""The files that are sent: looked at before anything is sent."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

from treering_formats.reader import Stream

STDIN = "-"
_PROBE_BYTES = 64 * 1024
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
}
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


@dataclass(frozen=True)
class Input:
    """One input: a file, or standard input."""

    name: str

    @property
    def service(self) -> str:
        """The service of records that name none: the file's stem, `stdin` for standard input."""
        return "stdin" if self.name == STDIN else Path(self.name).stem

    @property
    def size(self) -> int:
        """Bytes; 0 where it cannot be known."""
        return 0 if self.name == STDIN else Path(self.name).stat().st_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes."""
        if self.name == STDIN:
            yield sys.stdin.buffer
        else:
            with Path(self.name).open("rb") as stream:
                yield stream

    def check(self) -> None:
        """Makes sure that it can be read and is text.

        Raises:
            typer.BadParameter: It is not there, may not be read, or is binary.
        """
        try:
            with self.open() as stream:
                if self.name != STDIN:  # what comes through a pipe is looked at when it comes
                    check_text(self.name, probe(stream))
        except NotTextError as error:
            raise typer.BadParameter(str(error)) from None
        except IsADirectoryError:
            raise typer.BadParameter(f"{self.name}: this is a directory; give its files, for example {self.name}/*.log") from None
        except FileNotFoundError:
            raise typer.BadParameter(f"{self.name}: there is no such file; check the path") from None
        except OSError as error:
            raise typer.BadParameter(f"{self.name}: {error.strerror}") from None


def check_inputs(names: list[str]) -> list[Input]:
    """The inputs by their names, all of them readable.

    Raises:
        typer.BadParameter: One of them is not; nothing has been sent then.
    """
    if names.count(STDIN) > 1:
        raise typer.BadParameter("- (standard input) can be read only once")
    inputs = [Input(name) for name in names]
    for each in inputs:
        each.check()
    return inputs
