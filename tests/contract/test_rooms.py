"""A service's package is cut into rooms, its subpackages; what each may import is written here, and no two import each other."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUERY = {
    "values": set(),
    "templates": {"values"},
    "meaning": {"values"},
    "retention": {"values"},
    "sealed": {"values", "templates", "retention"},
    "view": {"values", "templates", "sealed"},
    "store": {"values", "templates", "retention", "sealed", "view"},
    "reading": {"values", "meaning", "view"},
    "patterns": {"values", "meaning", "view", "reading"},
    "search": {"values", "meaning", "view", "reading", "patterns"},
    "sql": {"values", "meaning", "view", "store"},
    "streams": {"values", "meaning", "view", "store", "reading"},
    "answers": {"values", "meaning", "sealed", "view", "store", "reading", "patterns"},
    "commands": {"retention", "sealed", "answers"},
    "reconciliation": set(),
}
EMBED = {
    "encoder": set(),
    "registry": set(),
    "index": {"encoder"},
    "engine": {"encoder", "registry", "index"},
    "sink": {"registry"},
    "indexing": {"encoder", "registry", "index", "engine", "sink"},
    "search": {"encoder", "index", "engine"},
    "commands": set(),
}
ROOMS = {"query": QUERY, "embed": EMBED}
"""By service: for each room those that it may import, the lowest first."""

COMMON = {"limits", "settings"}
"""Modules on the top level that every room may import; the others there import the rooms."""

MOST_ON_TOP = 8

VALUES = {"dataclass", "NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum"}
"""What makes a class a value: a decorator of it, or a base."""


def modules(name: str) -> Iterator[tuple[str, Path]]:
    """The file of each module of a service, by its dotted name."""
    package = ROOT / f"services/{name}/treering_{name}"
    for file in sorted(package.rglob("*.py")):
        yield ".".join(file.relative_to(package).with_suffix("").parts).removesuffix("__init__").rstrip("."), file


def imported(name: str, file: Path) -> Iterator[str]:
    """Modules of the same service that a file imports anywhere, lazily or for types as well: dotted, without the package's name."""
    package = f"treering_{name}"
    known = {module for module, _ in modules(name)}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            parent = node.module.partition(".")[2]
            for alias in node.names:
                child = f"{parent}.{alias.name}".lstrip(".")
                yield child if child in known else parent
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.partition(".")[0] == package)


def room(module: str) -> str:
    """The room that a module is in; for one on the top level its own name."""
    return module.partition(".")[0]


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_import_what_the_table_allows(name: str) -> None:
    rooms = ROOMS[name]
    inside = [(module, file) for module, file in modules(name) if room(module) in rooms]
    found = {(module, other) for module, file in inside for other in imported(name, file) if room(other) != room(module)}
    assert found
    assert {(module, other) for module, other in found if room(other) not in rooms[room(module)] | COMMON} == set()


@pytest.mark.parametrize("name", ROOMS)
def test_what_the_table_allows_is_used_and_no_circle(name: str) -> None:
    rooms = ROOMS[name]
    used = {(room(module), room(other)) for module, file in modules(name) for other in imported(name, file)}
    assert {(above, below) for above, allowed in rooms.items() for below in allowed} - used == set()
    assert list(TopologicalSorter(rooms).static_order())


@pytest.mark.parametrize("name", ROOMS)
def test_every_module_is_in_a_room_but_for_a_few(name: str) -> None:
    files = dict(modules(name))
    assert {room(module) for module, file in files.items() if file.parent.name != f"treering_{name}"} == ROOMS[name].keys()
    assert len([file for file in files.values() if file.parent.name == f"treering_{name}"]) <= MOST_ON_TOP


def others_than_values(tree: ast.Module) -> Iterator[str]:
    """The public classes of a module that are no values; exceptions are."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not node.name.endswith("Error"):
            marks = {part for each in (*node.decorator_list, *node.bases) for part in ast.unparse(each).replace("(", ".").split(".")}
            if not marks & (VALUES | {"Exception"}):
                yield node.name


def test_a_file_of_query_has_one_job() -> None:
    found = {module: names for module, file in modules("query") if len(names := list(others_than_values(ast.parse(file.read_text())))) > 1}
    assert found == {}


def test_what_is_no_value_is_seen() -> None:
    classes = ["A", "C(NamedTuple)", "D(Protocol)", "E(A)", "FError(E)", "_G"]
    text = "@dataclass(frozen=True)\nclass B: ...\n" + "".join(f"class {each}: ...\n" for each in classes)
    assert list(others_than_values(ast.parse(text))) == ["A", "D", "E"]
