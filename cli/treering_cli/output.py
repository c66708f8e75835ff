"""Standard output for answers, standard error for everything else."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treering_cli.escaping import escape, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from treering_cli.layout import Cell, Layout

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


def answer_table(
    columns: Sequence[str], rows: Iterable[Sequence["Cell"]], *, right: Iterable[int] = (), optional: Sequence[int] = ()
) -> None:
    """Writes a table; cells are escaped here. Piped output is as wide as it needs to be.

    On a terminal it fits the width: see `layout`. Where that cannot be, the cells of a row stand below each other.

    Args:
        columns: Their names.
        rows: Their cells.
        right: Columns that are aligned to the right.
        optional: Columns that may be left out for want of room, in this order.
    """
    from rich.console import Console  # noqa: PLC0415 - start-up

    from treering_cli.chart import Bar  # noqa: PLC0415
    from treering_cli.layout import fitted, natural  # noqa: PLC0415

    names = [escape(name) for name in columns]
    lines = [[cell if isinstance(cell, Bar) else escape(cell) for cell in row] for row in rows]
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 100_000, highlight=False)
    layout = fitted(names, lines, console.width, optional) if sys.stdout.isatty() and lines else natural(names, lines)
    if layout is None:
        _answer_blocks(console, names, lines)
        return
    console.print(_table(names, lines, layout, set(right)), crop=False)
    left_out = [name for index, name in enumerate(names) if name and index not in layout.widths]
    if left_out:
        note(f"treering: for want of room without: {', '.join(left_out)}; --json has everything")


def _table(names: Sequence[str], lines: Iterable[Sequence["Cell"]], layout: "Layout", right: set[int]) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - start-up
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, width in layout.widths.items():
        table.add_column(Text(names[index]), justify="right" if index in right else "left", overflow="fold", width=width)
    for line in lines:
        cells = ((line[index], width) for index, width in layout.widths.items())
        table.add_row(*(Text(cell if isinstance(cell, str) else cell.draw(width)) for cell, width in cells))
    return table


def _answer_blocks(console: "Console", names: Sequence[str], lines: Iterable[Sequence["Cell"]]) -> None:
    """A line for each cell, its name before it; a rule between two rows."""
    from rich.cells import cell_len  # noqa: PLC0415 - start-up
    from rich.text import Text  # noqa: PLC0415

    label = min(max(map(cell_len, names)), console.width // 2)
    for number, line in enumerate(lines):
        if number:
            console.print("─" * label)
        for name, cell in zip(names, line, strict=True):
            if name and isinstance(cell, str):
                parts = Text(cell).wrap(console, max(console.width - label - 2, 10), overflow="fold") or [Text()]
                for place, part in enumerate(parts):
                    part.rstrip()
                    console.print(Text.assemble(((name if not place else "").ljust(label + 2), "bold"), part), soft_wrap=True)
