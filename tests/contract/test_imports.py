"""Who may import whom: the contracts and small value modules lie below everything, services know the runtime and never each other."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_VALUES = {"treering.v1", "treering.severity", "treering.times"}
"""Of the SDK: messages of the contract, and values that need no client."""
_BELOW = {"treering.v1", "treering.inner", "treering_runtime"}
ALLOWED = {
    "sdk/treering": {"treering"},
    "cli/treering_cli": {"treering", "treering_cli", "treering_formats"},
    "services/formats": {*_VALUES, "treering_formats"},
    "services/runtime": _BELOW,
    "services/ingest": {*_BELOW, "treering_ingest"},
    "services/embed": {*_BELOW, "treering_embed"},
    "services/query": {*_BELOW, "treering_query"},
}
RECONCILIATION = "services/query/treering_query/reconciliation"
"""A program that asks the services as any client does; the service does not import it."""


def imported(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports anywhere: also in functions, for types only, and by a name that is text."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__", "run_module"}:
            yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def called(node: ast.Call) -> Any:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def is_below(name: str, packages: set[str] | set[Any]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def strangers(folder: str, allowed: set[str] | set[Any], but: list[Any] | tuple[()] = ()) -> tuple[set[tuple[str, str]], int]:
    """What the files of a folder import of ours and must not; and how much they import of ours."""
    files = [file for file in (ROOT / folder).rglob("*.py") if not any(file.is_relative_to(ROOT / each) for each in but)]
    ours = {(str(file.relative_to(ROOT)), name) for file in files for name in imported(file) if name.startswith("treering")}
    return {(file, name) for file, name in ours if not is_below(name, allowed)}, len(ours)


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder: str) -> None:
    found, count = strangers(folder, ALLOWED[folder], but=[RECONCILIATION])
    assert count
    assert found == set()


def test_the_program_that_compares_the_services_is_none_of_them() -> None:
    allowed = {"treering", RECONCILIATION.removeprefix("services/query/").replace("/", "."), "treering_runtime"}
    assert strangers(RECONCILIATION, allowed)[0] == set()
    importing, _ = strangers("services/query", {"treering", "treering_runtime"}, but=[RECONCILIATION])
    assert {name for _, name in importing if "reconciliation" in name} == set()


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    from treering_query.store import check",
        "if TYPE_CHECKING:\n    import treering_query",
        "importlib.import_module(f'treering_query.{name}')",
        "try:\n    import treering_query.store as store\nexcept ImportError:\n    pass",
    ],
)
def test_an_import_is_seen_wherever_it_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "sly.py").write_text(text)
    assert any(name.startswith("treering_query") for name in imported(tmp_path / "sly.py"))


def test_the_uploader_waits_by_its_driver_only() -> None:
    names = {name.partition(".")[0] for name in imported(ROOT / "sdk/treering/upload_core.py")}
    assert not names & {"asyncio", "threading"}


EDGES = {"service.py", "delivery.py", "meaning/embed_client.py", "index/server.py"}
"""Where a service meets the wire: handlers, and clients of others."""


@pytest.mark.parametrize("name", ["ingest", "embed", "query"])
def test_only_the_edges_of_a_service_know_grpc(name: str) -> None:
    package = ROOT / f"services/{name}/treering_{name}"
    knowing = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "grpc" in {module.partition(".")[0] for module in imported(file)}
    }
    assert knowing - EDGES == set()
