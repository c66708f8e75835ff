"""Services know the runtime and the contracts, never each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "services/runtime": {"treering", "treering_runtime"},
    "services/ingest": {"treering", "treering_runtime", "treering_ingest"},
    "services/embed": {"treering", "treering_runtime", "treering_embed"},
    "services/query": {"treering", "treering_runtime", "treering_query"},
    "sdk/treering": {"treering"},
    "cli/treering_cli": {"treering", "treering_cli", "treering_formats"},
}


def imported(file):
    """Absolute names of what a file imports at its top level."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder):
    found = {(str(file.relative_to(ROOT)), name) for file in (ROOT / folder).rglob("*.py") for name in imported(file)}
    ours = {(file, name) for file, name in found if name.partition(".")[0].startswith("treering")}
    assert ours
    assert {(file, name) for file, name in ours if name.partition(".")[0] not in ALLOWED[folder]} == set()


@pytest.mark.parametrize("folder", [folder for folder in ALLOWED if folder.startswith("services/")])
def test_of_the_sdk_services_import_the_contracts_and_the_inner_plane_only(folder):
    found = {name for file in (ROOT / folder).rglob("*.py") for name in imported(file) if name.partition(".")[0] == "treering"}
    assert {name for name in found if ".".join(name.split(".")[:2]) not in {"treering.v1", "treering.inner"}} == set()


def test_the_uploader_waits_by_its_driver_only():
    names = {name.partition(".")[0] for name in imported(ROOT / "sdk/treering/upload_core.py")}
    assert not names & {"asyncio", "threading"}


EDGES = {"service.py", "delivery.py", "embed_client.py", "index/server.py"}
"""Where a service meets the wire: handlers, and clients of others."""


@pytest.mark.parametrize("name", ["ingest", "embed", "query"])
def test_only_the_edges_of_a_service_know_grpc(name):
    package = ROOT / f"services/{name}/treering_{name}"
    knowing = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "grpc" in {module.partition(".")[0] for module in imported(file)}
    }
    assert knowing - EDGES == set()
