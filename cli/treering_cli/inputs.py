"""The inputs that are sent: found and looked at before anything is sent."""

import glob
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import typer

from treering_cli.packed import MAGIC_BYTES, kind_of
from treering_cli.text_streams import FileText, NotTextError, Text, open_pipe, open_text

STDIN = "-"
_OWN_FILES = {"up.lock", "LOCK", "positions.lock"}
"""What stands in the directories of services: they hold no logs for people."""


@dataclass(frozen=True)
class Input:
    """One input: a file, a pipe by its name, or standard input."""

    name: str
    is_pipe: bool = False
    """Whether it can be read once only."""
    encoding: str = ""
    """Empty is UTF-8, or UTF-16 where its mark is."""
    start: int = 0
    """Where reading of a file begins, bytes: what is before was sent under the same producer id."""

    @property
    def size(self) -> int:
        """Bytes of text; 0 where they cannot be known."""
        if self.is_pipe:
            return 0
        with Path(self.name).open("rb") as file:
            return 0 if kind_of(file.read(MAGIC_BYTES)) else os.fstat(file.fileno()).st_size

    @contextmanager
    def open(self) -> Iterator[Text]:
        """Its text.

        Raises:
            NotTextError: It is none.
        """
        if self.name == STDIN:
            stream = sys.stdin.buffer
            yield open_pipe(self.name, stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream), self.encoding)  # type: ignore[arg-type]
            return
        with Path(self.name).open("rb") as stream:
            if self.start:
                stream.seek(self.start)
            yield (open_pipe if self.is_pipe else open_text)(self.name, stream, self.encoding)

    def check(self) -> None:
        """Makes sure that a file can be read and is text. What comes through a pipe is looked at when it comes: it is there once.

        Raises:
            NotTextError: It is no text.
            OSError: It cannot be read.
        """
        if not self.is_pipe:
            with self.open() as text:
                if isinstance(text, FileText) and text.is_unreadable:
                    raise NotTextError(f"{self.name}: {text.problem}")


@dataclass
class FoundInputs:
    """What the names of inputs stand for."""

    inputs: list[Input] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    """Files of directories that are no text, and why."""
    unreadable: list[str] = field(default_factory=list)
    """Files of directories that could not be read, and why."""


def find_inputs(names: list[str], encoding: str = "") -> FoundInputs:
    """What is to be read: files and pipes by their names, the text files below directories, what globs select.

    Raises:
        typer.BadParameter: Something that is named cannot be read, or is no text; nothing has been sent then.
    """
    if names.count(STDIN) > 1:
        raise typer.BadParameter("- (standard input) can be read only once")
    found = FoundInputs()
    for name in (each for given in names for each in _expanded(given)):
        if name != STDIN and Path(name).is_dir():
            _add_directory(found, name, encoding)
        else:
            found.inputs.append(_checked(Input(name, _is_pipe(name), encoding)))
    return found


def _expanded(name: str) -> list[str]:
    """The names that a glob selects, which a shell would not resolve in quotes."""
    if not is_pattern(name):
        return [name]
    names = selected(name)
    if not names:
        raise typer.BadParameter(f"{name}: no file has such a name; check the pattern")
    return names


def is_pattern(name: str) -> bool:
    """Whether a name is a glob. A file that has such a name is meant itself."""
    return name != STDIN and glob.has_magic(name) and not Path(name).exists()


def selected(pattern: str) -> list[str]:
    """What a glob selects, by name; `**` stands for any directories."""
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - of `pathlib` one for absolute patterns is missing


def _is_pipe(name: str) -> bool:
    """Whether it cannot be read twice: a pipe, a terminal, a socket. A file that is not there is none."""
    if name == STDIN:
        return True
    try:
        return not stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:
        return False


def _checked(given: Input) -> Input:
    try:
        given.check()
    except NotTextError as error:
        raise typer.BadParameter(str(error)) from None
    except FileNotFoundError:
        raise typer.BadParameter(f"{given.name}: there is no such file; check the path") from None
    except OSError as error:
        raise typer.BadParameter(f"{given.name}: {error.strerror}") from None
    return given


def _add_directory(found: FoundInputs, name: str, encoding: str) -> None:
    """Adds the text files below a directory; says of the others why they are not read."""
    for path in files_below(name):
        each = Input(path, encoding=encoding)
        try:
            each.check()
        except NotTextError as error:
            found.no_text.append(str(error))
        except OSError as error:
            found.unreadable.append(f"{path}: {error.strerror}")
        else:
            found.inputs.append(each)


def files_below(directory: str) -> Iterator[str]:
    """Regular files below a directory, by name; what is hidden, and the directories of Treering's services, are left out."""
    for path, directories, names in os.walk(directory):
        if _OWN_FILES & set(names):
            directories.clear()
            continue
        directories[:] = sorted(each for each in directories if not each.startswith("."))
        for name in sorted(names):
            file = Path(path) / name
            if not name.startswith(".") and file.is_file():
                yield str(file)
