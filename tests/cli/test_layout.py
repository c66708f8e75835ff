"""Tables on a terminal: whatever the width, no line is longer, and what must be copied is whole."""

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from treering_cli.chart import Bar, bar
from treering_cli.layout import GAP, fitted, natural
from treering_cli.output import answer_table

NAMES = ["count", "time", "first", "pattern", "id", ""]
ROWS = [
    [
        f"{number:,}",
        "2026-03-12T14:00:00Z",
        "2026-03-11",
        "user <*> logged in from <*> for the first time",
        f"{2**63 + number}",
        Bar(number, 9),
    ]
    for number in range(10)
]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def show(width: int, rows: list[list[object]] = ROWS, names: list[str] = NAMES, **more: list[int]) -> tuple[str, str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        answer_table(names, rows, **more)
        out, err = capsys.readouterr()
        return re.sub(r"\x1b\[[0-9;]*m", "", out), err

    return show


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_line_is_longer_than_the_terminal_and_ids_and_times_are_whole(shown: Callable[..., tuple[str, str]], width: int) -> None:
    out = shown(width, right=[0])[0]
    assert max(map(cell_len, out.splitlines())) <= width
    assert all(row[1] in out and row[4] in out for row in ROWS)


def test_bars_give_way_then_texts_then_columns_that_may(shown: Callable[..., tuple[str, str]]) -> None:
    wide = shown(200)[0]
    assert bar(9, 9, 40) in wide
    narrower = shown(140)[0]
    assert ROWS[0][3] in narrower
    assert bar(9, 9, 40) not in narrower
    narrow, said = shown(90, optional=[2])
    assert ROWS[0][3] not in narrow
    assert "2026-03-11" not in narrow
    assert "without: first; --json has everything" in said


def test_what_fits_in_no_way_stands_below_each_other(shown: Callable[..., tuple[str, str]]) -> None:
    lines = shown(40, ROWS[:2])[0].splitlines()
    assert lines[:4] == ["count    0", "time     2026-03-12T14:00:00Z", "first    2026-03-11", "pattern  user <*> logged in from <*> for"]
    assert lines[4] == "         the first time"
    assert lines[6] == "───────"
    assert len(lines) == 13


def test_piped_tables_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    answer_table(NAMES, ROWS)
    assert f"{ROWS[1][3]}   {ROWS[1][4]}   {bar(1, 9)}" in capsys.readouterr().out


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60)


@given(
    st.integers(1, 6).flatmap(lambda count: st.lists(st.lists(CELLS, min_size=count, max_size=count), min_size=1, max_size=4)),
    st.integers(10, 120),
)
def test_widths_fit_the_room_and_are_never_more_than_needed(rows: Any, room: int) -> None:
    names = [f"n{index}" for index in range(len(rows[0]))]
    layout, most = fitted(names, rows, room), natural(names, rows)
    if layout is not None:
        assert sum(layout.widths.values()) + GAP * (len(names) - 1) <= room
        assert all(0 < width <= most.widths[index] for index, width in layout.widths.items())
    elif sum(most.widths.values()) + GAP * (len(names) - 1) <= room:
        pytest.fail("there is room")
