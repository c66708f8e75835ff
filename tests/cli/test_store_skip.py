"""`treering store skip`: an operator's hole."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from treering_cli.store import store
from treering_runtime.holes import Hole, read_holes


def skip(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(store, ["skip", str(directory), *arguments])


@pytest.fixture
def sink(tmp_path: Path) -> Path:
    (tmp_path / "registry.sqlite").touch()
    return tmp_path


def test_a_hole_is_written_once_and_named(sink: Path) -> None:
    for _ in range(2):
        done = skip(sink, "161", "10", "40")
        assert done.exit_code == 0, done.output
    assert "offsets 10 to 40 are a hole, 30 records" in done.output
    assert read_holes(sink) == [Hole(0xA1, 10, 40)]


@pytest.mark.parametrize("arguments", [("a1", "10", "40"), ("161", "40", "40"), ("161", "-1", "40"), (str(2**64), "10", "40")])
def test_arguments_that_cannot_be_are_refused_and_change_nothing(sink: Path, arguments: tuple[str, str, str]) -> None:
    assert skip(sink, *arguments).exit_code != 0
    assert read_holes(sink) == []


def test_a_directory_of_no_sink_is_refused(tmp_path: Path) -> None:
    assert skip(tmp_path, "161", "10", "40").exit_code != 0
    assert read_holes(tmp_path) == []


def test_damaged_holes_are_refused_and_kept(sink: Path) -> None:
    (sink / "holes.json").write_text("{")
    assert skip(sink, "161", "10", "40").exit_code != 0
    assert (sink / "holes.json").read_text() == "{"
