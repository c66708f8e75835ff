"""Errors as the command line shows them: what is wrong, what to do, an exit code, never a traceback."""

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from treering_cli.escaping import escape

if TYPE_CHECKING:
    from treering.errors import TreeringError

REFUSED = 1
"""Exit code: understood, but refused or failed."""

INTERRUPTED = 130
"""Exit code: ended by Ctrl-C, as shells have it."""

PREFIX = "treering: "
"""Before each line about what went wrong."""

_INDENT = "  "

_INNER_HINT = (
    "say how the services are reached by whoever runs them: --data-dir of a running `treering up`;\n"
    "or --inner-ingest, --inner-embed, --inner-query unix:PATH;\n"
    "or these as HOST:PORT with --inner-ca-file, --inner-cert-file, --inner-key-file"
)


class Refusal(Exception):  # noqa: N818 - named for what it is
    """Ends the command with exit code 1; the message names the problem and the remedy."""


def explain(error: "TreeringError") -> str:
    """The words for an error of a call."""
    from treering.errors import NoAccessError, UnavailableError  # noqa: PLC0415 - start-up

    if isinstance(error, NoAccessError):
        return f"{error.message}\n{_INNER_HINT}"
    if isinstance(error, UnavailableError) and not error.reason:
        return f"{error.message}\nstart the services with `treering up`, or say where they are: --ingest, --embed, --query HOST:PORT"
    if error.retry_after_s:
        return f"{error.message} (try again in {error.retry_after_s:g} s)"
    return error.message


@dataclass(frozen=True)
class TextPlace:
    """Where in a text an error is: line and position in it, characters, both from 1."""

    line: int
    position: int

    @classmethod
    def of(cls, error: "TreeringError") -> "TextPlace | None":
        """What the error's metadata say; None when they say nothing."""
        line, position = (error.metadata.get(key, "") for key in ("line", "position"))
        return cls(int(line), int(position)) if line.isdecimal() and position.isdecimal() else None


def explain_at_place(error: "TreeringError", text: str) -> str:
    """The words for an error in the user's own `text`: with its place, and a caret below it where the terminal has room for the line."""
    place = TextPlace.of(error)
    if not place:
        return explain(error)
    words = f"line {place.line}, position {place.position}: {explain(error)}"
    return "\n".join([words, *_excerpt(text, place, shutil.get_terminal_size().columns)])


def at_place(text: str, position: int, problem: str) -> str:
    """The words for a mistake in an option's value, with a caret below its place."""
    words = f"{text!r}, position {position}: {problem}"
    return "\n".join([words, *_excerpt(text, TextPlace(1, position), shutil.get_terminal_size().columns)])


def _excerpt(text: str, place: TextPlace, columns: int) -> list[str]:
    """The line and its caret, as wide as a terminal shows them; nothing when they need more than `columns` or there is no such line."""
    from rich.cells import cell_len  # noqa: PLC0415 - start-up

    lines = text.split("\n")
    if not 1 <= place.line <= len(lines):
        return []
    line = lines[place.line - 1].rstrip()
    shown = _INDENT + escape(line)
    blank = cell_len(_INDENT + escape(line[: max(place.position - 1, 0)]))
    if len(PREFIX) + max(cell_len(shown), blank + 1) > columns:
        return []
    return [shown, " " * blank + "^"]


def error_object(error: "TreeringError") -> dict[str, Any]:
    """The error of a call for programs; `line` and `position` are null where there is no place."""
    place = TextPlace.of(error)
    return {
        "error": {
            "reason": error.reason,
            "message": explain(error),
            "line": place.line if place else None,
            "position": place.position if place else None,
        }
    }
