"""`treering store accept-clock`: an operator's word that the clock is right."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from treering_cli.app import app
from treering_query.commands import accept_clock
from treering_query.retention.clock_order import read_clock_order


def accept(*arguments: Path | str) -> Result:
    return CliRunner().invoke(app, ["store", "accept-clock", *map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "logs.duckdb").touch()
    return tmp_path


@pytest.mark.parametrize("inner", ["", "query"])
def test_the_order_is_written_with_the_time_that_the_clock_shows(data: Path, inner: str) -> None:
    before = time.time_ns()
    done = accept(data / inner)
    assert done.exit_code == 0, done.output
    assert before <= read_clock_order(data / "query").time_unix_nano <= time.time_ns()
    assert (data / "query" / "accept-clock.json").stat().st_mode & 0o777 == 0o600


def test_the_directory_of_the_environment_is_taken_and_the_answer_may_be_json(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_DATA_DIR", str(data))
    assert json.loads(accept("--json").output)["directory"] == str(data / "query")


def test_each_order_is_another_one(data: Path) -> None:
    first = accept(data) and read_clock_order(data / "query")
    second = accept(data) and read_clock_order(data / "query")
    assert first.order_id != second.order_id


def test_a_directory_of_no_store_is_refused(tmp_path: Path) -> None:
    refused = accept(tmp_path)
    assert refused.exit_code != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wall", [-1, 0, 2**63 - 1, 2**63 + 10**18])
def test_a_clock_that_shows_no_time_of_records_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wall: int
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: wall)
    assert accept_clock.main([str(data)]) == 1
    assert "set it right" in capsys.readouterr().err
    assert read_clock_order(data / "query") is None
