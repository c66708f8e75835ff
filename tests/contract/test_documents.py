"""What is written for people agrees with what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from treering_runtime.patterns import pattern_id

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TOUR = (ROOT / "docs" / "tour.md").read_text()


@pytest.mark.parametrize("command", [["tools/tables.py", "--check"], ["tools/words.py"]])
def test_documents_are_in_order(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [README, *((ROOT / name).read_text() for name in ("CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"))]
    named = {name for text in documents for name in re.findall(r"(?:`|^)make (?:[A-Z]\S* )*([a-z-]+)", text, re.MULTILINE)}
    assert named
    assert named <= targets


def test_files_that_documents_link_to_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/operations.md", "docs/tour.md", "docs/installing.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text())
        assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_patterns_in_the_tour_have_the_ids_of_their_texts() -> None:
    shown = re.findall(r"^\d\.\d\d  (\w+): (.*)\n\s+.*? pattern (\d+)$", TOUR, re.MULTILINE)
    assert len(shown) > 5
    assert [(service, text, str(pattern_id(service, text))) for service, text, _ in shown] == shown
