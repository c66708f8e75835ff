"""CSV for spreadsheets, and the files of an export."""

import csv
import io
import os
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.cli.conftest import Query, Run
from treering.v1 import query_pb2
from treering_cli.sql_values import csv_text

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"]
HARMLESS = ["", "plain", "a=1", "1-1", 'a;=1,"b"']


def rows_of(text: str, **form: str) -> list[Any]:
    return list(csv.reader(io.StringIO(text, newline=""), **form))


def test_nothing_in_a_csv_for_spreadsheets_is_a_formula() -> None:
    table = pa.table({"=name": FORMULAS + HARMLESS, "n": range(-8, 8)})
    (header, *rows) = rows_of(csv_text(table, for_spreadsheet=True))
    assert header == ["'=name", "n"]
    assert [row[0] for row in rows] == [f"'{text}" for text in FORMULAS] + HARMLESS
    assert [int(row[1]) for row in rows] == list(range(-8, 8))
    assert rows_of(csv_text(table)) == [
        ["=name", "n"],
        *([text, str(n)] for text, n in zip(FORMULAS + HARMLESS, range(-8, 8), strict=True)),
    ]


def test_a_semicolon_ends_no_cell() -> None:
    text = csv_text(pa.table({"m": ["a;=1"], "k": ["x"]}), for_spreadsheet=True)
    assert text == '"m","k"\n"a;=1","x"\n'
    assert rows_of(text, delimiter=";")[1][0].startswith("a;=1")


@pytest.fixture
def exported(services: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's answer to an export: one record whose message is a formula."""
    table = pa.table({"service": ["s"], "message": ["=cmd|' /C calc'!A0"]})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    summary = query_pb2.ExportSummary(row_count=1)
    parts = [query_pb2.ExportLogsResponse(arrow_ipc=out.getvalue()), query_pb2.ExportLogsResponse(summary=summary)]
    monkeypatch.setattr(services, "exported", parts)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.usefixtures("exported")
def test_an_exported_file_is_private(run: Run, tmp_path: Path, form: str) -> None:
    before = os.umask(0o022)
    try:
        assert run("export", "--out", tmp_path, "--format", form).exit_code == 0
    finally:
        os.umask(before)
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in tmp_path.iterdir()] == [(f"logs.{form}", 0o600)]


@pytest.mark.usefixtures("exported")
def test_an_export_is_not_written_through_a_link(run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "out").mkdir()
    for name in ("logs.csv", "logs.csv.partial"):
        (tmp_path / "out" / name).symlink_to(victim)
    assert run("export", "--out", tmp_path / "out", "--format", "csv").exit_code == 0
    assert (victim.read_text(), (tmp_path / "out/logs.csv").is_symlink()) == ("untouched", False)


@pytest.mark.parametrize(("options", "message"), [((), "=cmd|' /C calc'!A0"), (("--for-spreadsheet",), "'=cmd|' /C calc'!A0")])
@pytest.mark.usefixtures("exported")
def test_an_export_for_spreadsheets(run: Run, tmp_path: Path, options: tuple[()] | tuple[str], message: str) -> None:
    assert run("export", "--out", tmp_path, "--format", "csv", *options).exit_code == 0
    assert rows_of((tmp_path / "logs.csv").read_text()) == [["service", "message"], ["s", message]]


@pytest.mark.parametrize(
    "command", [("export", "--out", "x"), ("sql", "select 1"), ("sql", "select 1", "--format", "json"), ("sql", "select 1", "--json")]
)
def test_the_option_is_for_csv_only(run: Run, command: tuple[str, str, str] | tuple[str, str] | tuple[str, str, str, str]) -> None:
    result = run(*command, "--for-spreadsheet")
    assert (result.exit_code, "--for-spreadsheet is for CSV: add --format csv" in result.stderr) == (2, True)
