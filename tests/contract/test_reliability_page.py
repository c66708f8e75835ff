"""Each test that RELIABILITY.md names exists, and what it says of the mutants is so."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "RELIABILITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_test_that_holds_a_promise_exists(file: Path, name: str) -> None:
    assert re.search(rf"(?:def|class) {name}\b", (ROOT / file).read_text())


def test_the_number_of_mutants_and_their_places_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import mutants  # noqa: PLC0415 - a script, not a package

    for name in [name for name in sys.modules if name.partition(".")[0] in {"mutants", "safeguards"}]:
        sys.modules.pop(name)
    assert f"{len(mutants.MUTANTS)} of {len(mutants.MUTANTS)} are caught" in PAGE
    for mutant in mutants.MUTANTS:
        assert (ROOT / mutant.file).read_text().count(mutant.anchor) == 1, mutant.name
        for file, _, name in (test.partition("[")[0].partition("::") for test in mutant.tests):
            assert (ROOT / file).exists(), (mutant.name, file)
            assert not name or re.search(rf"def {name}\b", (ROOT / file).read_text()), (mutant.name, file, name)
