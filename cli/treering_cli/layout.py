"""How wide the columns of a table may be on a terminal.

A number, a time, an id or a name stays whole, so that it can be read and copied. What gives way, in this order: bars become shorter, texts
are wrapped, columns that are not vital are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from treering_cli.chart import WIDTH, Bar

GAP = 3
"""Characters between two columns."""

_SHORTEST_BAR = 8
_NARROWEST_TEXT = 16
_LONGEST_WORD = 40
"""A longer word counts as a text: it may be broken."""

Cell = str | Bar


@dataclass(frozen=True)
class Layout:
    """Which columns are shown, by their index, and how wide each is."""

    widths: dict[int, int]


def natural(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Layout:
    """Every column as wide as its widest cell."""
    return Layout({index: _Column.of(name, [row[index] for row in rows]).natural for index, name in enumerate(names)})


def fitted(names: Sequence[str], rows: Sequence[Sequence[Cell]], room: int, optional: Sequence[int] = ()) -> Layout | None:
    """The columns within `room` characters; None when that takes more than leaving out `optional` ones, one after the other."""
    columns = {index: _Column.of(name, [row[index] for row in rows]) for index, name in enumerate(names)}
    leaving = list(reversed(optional))
    while sum(column.least for column in columns.values()) + GAP * (len(columns) - 1) > room:
        if not leaving:
            return None
        del columns[leaving.pop()]
    return Layout(_shared(columns, room - GAP * (len(columns) - 1)))


@dataclass(frozen=True)
class _Column:
    natural: int
    least: int
    is_bar: bool = False

    @classmethod
    def of(cls, name: str, cells: Sequence[Cell]) -> "_Column":
        bars = [len(cell.draw(WIDTH)) for cell in cells if isinstance(cell, Bar)]
        if bars:
            return cls(max(bars), min(max(bars), _SHORTEST_BAR), is_bar=True)
        texts = [cell for cell in cells if isinstance(cell, str)]
        widest = max([cell_len(name), *map(cell_len, texts)])
        if any(_may_be_broken(text) for text in texts):
            return cls(widest, min(widest, max(cell_len(name), _NARROWEST_TEXT)))
        return cls(widest, widest)


def _may_be_broken(text: str) -> bool:
    return len(text) > _NARROWEST_TEXT and (" " in text.strip() or len(text) > _LONGEST_WORD)


def _shared(columns: dict[int, _Column], room: int) -> dict[int, int]:
    """Each its natural width, or less: first bars give way, then the widest texts."""
    widths = {index: column.natural for index, column in columns.items()}
    for index, column in columns.items():
        if column.is_bar:
            widths[index] = max(column.least, column.natural - max(sum(widths.values()) - room, 0))
    while sum(widths.values()) > room:
        wide = max((index for index in widths if widths[index] > columns[index].least), key=lambda index: widths[index])
        widths[wide] -= 1
    return widths
