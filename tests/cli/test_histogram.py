"""The histogram stacked by severity."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering_cli import histogram
from treering_cli.histogram import BANDS, by_band, cells

SECOND = 10**9


def test_severities_fall_into_their_bands() -> None:
    names = [band.name for band in BANDS]
    assert by_band({0: 1, 4: 2, 5: 3, 9: 4, 12: 5, 13: 6, 17: 7, 20: 8, 24: 9}) == (9, 15, 6, 9, 3, 2, 1)
    assert names == ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE", "UNSPECIFIED"]
    assert len({band.mark for band in BANDS}) == len(BANDS)


@given(
    totals=st.lists(st.integers(0, 10**9), min_size=7, max_size=7),
    more=st.integers(0, 10**9),
    width=st.integers(10, 200),
)
def test_every_band_shows_and_bars_are_as_long_as_their_sums(totals: list[Any], more: int, width: int) -> None:
    largest = sum(totals) + more
    found = cells(totals, largest, width)
    assert [count > 0 for count in found] == [total > 0 for total in totals]
    if sum(totals):
        present = sum(total > 0 for total in totals)
        assert sum(found) == max(present, round(width * sum(totals) / largest))
        assert sum(found) <= width


def test_piped_histogram_has_no_colour_and_tells_severities_apart(capsys: pytest.CaptureFixture[str]) -> None:
    start = 1_700_000_000 * SECOND
    histogram.show({start: {9: 30, 17: 10}, start + 60 * SECOND: {}, start + 120 * SECOND: {9: 5, 13: 5}})
    assert capsys.readouterr().out.splitlines() == [
        "2023-11-14T22:13:20Z  40  " + "▓" * 10 + "░" * 30,
        "2023-11-14T22:14:20Z   0  ",
        "2023-11-14T22:15:20Z  10  " + "▒" * 5 + "░" * 5,
        "▓ ERROR  ▒ WARN  ░ INFO",
    ]


def test_terminal_gets_colours_and_lines_that_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    histogram.show({1_700_000_000 * SECOND: {9: 30, 17: 10}})
    (line, legend) = capsys.readouterr().out.splitlines()
    assert "\x1b[31m▓" in line
    assert sum(letter in "▓░" for letter in line) == 60 - len("2023-11-14T22:13:20Z  40  ")
    assert "ERROR" in legend
