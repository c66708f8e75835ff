"""Where the mistake in a user's SQL is, as people and as programs read it."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Query, Run
from treering_cli.app import run as run_app

WORDS = "Parser Error: syntax error"


@pytest.fixture
def said(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `treering` as the process does; gives its exit code and both its outputs."""

    def invoke(*args: str, columns: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.argv", ["treering", *args])
        code = run_app()
        return code, *capsys.readouterr()

    return invoke


@pytest.fixture
def mistake_at(services: Query) -> Callable[[int, int], None]:
    def put(line: int, position: int) -> None:
        services.mistake = {"line": str(line), "position": str(position)}

    return put


def test_place_of_a_mistake_is_said_and_pointed_at(
    said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None]
) -> None:
    mistake_at(1, 10)
    expected = f"treering: line 1, position 10: {WORDS}\ntreering:   select * frm logs\ntreering:            ^\n"
    assert said("sql", "select * frm logs") == (1, "", expected)


def test_only_the_line_with_the_mistake_is_shown(said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None]) -> None:
    mistake_at(2, 3)
    code, out, err = said("sql", "select 1\r\n, 2 +\r\nfrom logs")
    assert (code, out) == (1, "")
    assert err.splitlines() == [f"treering: line 2, position 3: {WORDS}", "treering:   , 2 +", "treering:     ^"]


@pytest.mark.parametrize(
    ("text", "position", "shown", "caret"),
    [
        ("select 'héé' frm", 14, "select 'héé' frm", 13),
        ("select '日本' frm", 13, "select '日本' frm", 14),
        ("select\t1 frm", 10, "select\\t1 frm", 10),
        ("select '\x1b[2J' frm", 15, "select '\\x1b[2J' frm", 17),
        ("select 1 +", 11, "select 1 +", 10),
    ],
    ids=["accents", "two_columns_a_character", "tab", "control_character", "behind_the_end"],
)
def test_caret_stands_below_what_is_shown(
    said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None], text: str, position: int, shown: str, caret: int
) -> None:
    mistake_at(1, position)
    _, _, err = said("sql", text)
    assert err.splitlines()[1:] == [f"treering:   {shown}", f"treering:   {' ' * caret}^"]


@pytest.mark.parametrize(("columns", "lines"), [(29, 3), (28, 1), (10, 1)])
def test_narrow_terminal_gets_the_place_without_the_line(
    said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None], columns: int, lines: int
) -> None:
    mistake_at(1, 10)
    _, _, err = said("sql", "select * frm logs", columns=columns)
    assert len(err.splitlines()) == lines
    assert err.startswith(f"treering: line 1, position 10: {WORDS}")


def test_line_that_is_not_there_is_not_shown(said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None]) -> None:
    mistake_at(7, 1)
    assert said("sql", "select 1")[2] == f"treering: line 7, position 1: {WORDS}\n"


@pytest.mark.parametrize("option", [("--json",), ("--format", "json")])
def test_mistake_as_an_object(
    said: Callable[..., tuple[int, str, str]], mistake_at: Callable[[int, int], None], option: tuple[str] | tuple[str, str]
) -> None:
    mistake_at(2, 14)
    code, out, err = said("sql", "select 1\nfrom nowhere where", *option)
    assert (code, out) == (1, "")
    assert json.loads(err) == {"error": {"reason": "SQL_ERROR", "message": WORDS, "line": 2, "position": 14}}


def test_object_of_an_error_without_a_place(said: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(said("sql", "selec", "--json")[2])["error"] == {
        "reason": "SQL_ERROR",
        "message": "no such word",
        "line": None,
        "position": None,
    }
    monkeypatch.setenv("TREERING_QUERY", "127.0.0.1:1")
    code, out, err = said("sql", "select 1", "--json")
    assert (code, out) == (1, "")
    assert "127.0.0.1:1" in json.loads(err)["error"]["message"]
