"""Programs of the services, as the command line starts them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from treering_cli.problems import Refusal
from treering_cli.programs import NotInstalledError, answers


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Writes a program of a service of its own."""
    package = tmp_path / "installed" / "treering_sample"
    package.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return (package / "program.py").write_text


def test_arguments_and_variables_are_given_and_values_are_taken_as_they_come(program: Callable[..., int]) -> None:
    program(
        "import json, os, sys\n"
        "for each in (sys.argv[1:], os.environ['ONE'], {'n': 2**64}):\n    print(json.dumps(each), flush=True)\n"
        "sys.stdout.close()\n"
    )
    assert list(answers("sample", "program", "--", "a b", 7, environment={"ONE": "1"})) == [["--", "a b", "7"], "1", {"n": 2**64}]


def test_the_words_of_a_refusal_follow_what_was_answered_before(program: Callable[..., int]) -> None:
    program("import sys\nprint(1)\nsys.exit('the log is damaged; restore it')")
    found = answers("sample", "program")
    assert next(found) == 1
    with pytest.raises(Refusal, match=r"^the log is damaged; restore it$"):
        next(found)


@pytest.mark.parametrize("written", ["1\\n", "1\\n[2"])
def test_a_program_that_is_killed_is_no_answer(program: Callable[..., int], written: str) -> None:
    program(f"import os\nprint('{written}', end='', flush=True)\nos.kill(os.getpid(), 9)")
    with pytest.raises(Refusal, match="the program of sample ended with signal 9"):
        list(answers("sample", "program"))


def test_a_library_that_is_missing_is_named_with_the_extra_that_brings_it(program: Callable[..., int]) -> None:
    program("import a_library_of_nobody.part")
    with pytest.raises(NotInstalledError, match=r'a_library_of_nobody is not installed here.*pip install "treering\[sample\]"'):
        list(answers("sample", "program"))


def test_many_words_beside_the_answers_stop_nothing(program: Callable[..., int]) -> None:
    program("import sys\nsys.stderr.write('w' * 1_000_000)\nprint(1)")
    assert list(answers("sample", "program")) == [1]


def test_a_reader_that_stops_ends_the_program(program: Callable[..., int]) -> None:
    program("import os, signal\nprint(os.getpid(), flush=True)\nsignal.pause()")
    found = answers("sample", "program")
    pid = next(found)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_module_of_the_current_directory_is_run(program: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("import json\nprint(json.dumps(json.__name__))")
    (tmp_path / "here" / "json").mkdir(parents=True)
    (tmp_path / "here" / "json" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path / "here")
    assert list(answers("sample", "program")) == ["json"]
