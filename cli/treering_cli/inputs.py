"""The files that are sent: looked at before anything is sent."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

from treering_formats.reader import NotTextError, check_text, probe

STDIN = "-"


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
