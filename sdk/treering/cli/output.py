"""Standard output for answers, standard error for everything else."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treering.cli.escaping import escape, to_json

if TYPE_CHECKING:
    from rich.table import Table

_NANOS = 1_000_000_000


def rfc3339(nanos: int) -> str:
    """A time in UTC with as many digits as it needs: none, 3, 6 or 9. 0 is the empty string (no time)."""
    if not nanos:
        return ""
    import datetime as dt  # noqa: PLC0415 - start-up

    seconds, fraction = divmod(nanos, _NANOS)
    start = (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)).isoformat()  # noqa: DTZ001 - UTC, and without its suffix
    digits = f"{fraction:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{start}.{digits}Z" if digits else f"{start}Z"


def answer(text: str) -> None:
    """Writes one line of the answer."""
    sys.stdout.write(text + "\n")


def answer_json(value: Any, *, lines: bool = False) -> None:
    """Writes the answer as JSON: indented for people at a terminal, one line otherwise."""
    answer(to_json(value, indent=2 if sys.stdout.isatty() and not lines else None))


def note(text: str) -> None:
    """Writes one line beside the answer."""
    sys.stderr.write(escape(text) + "\n")
    sys.stderr.flush()


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Writes a table; cells are escaped here. Piped output is as wide as it needs to be."""
    from rich.console import Console  # noqa: PLC0415 - start-up
    from rich.text import Text  # noqa: PLC0415

    table = _table(columns, set(right))
    for row in rows:
        table.add_row(*(Text(escape(cell)) for cell in row))
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 100_000, highlight=False)
    console.print(table, crop=False)


def _table(columns: Sequence[str], right: set[int]) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - start-up
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(Text(escape(name)), justify="right" if index in right else "left", overflow="fold")
    return table
