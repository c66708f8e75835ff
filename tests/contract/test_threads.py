"""The event loop's default threads are nobody's: where one kind of work has taken them all, every other one would wait."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "services").rglob("*.py"))
NEVER = {"to_thread", "set_default_executor", "getaddrinfo", "getnameinfo"}
"""Of an event loop, or of `asyncio`: they take the default threads, or make some."""


def uses_of_default_threads(source: str) -> Iterator[int]:
    """The lines that take one of the default threads."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="socket")):
                continue
            case ast.Attribute(attr=name) if name in NEVER:
                yield node.lineno
            case ast.ImportFrom(module="asyncio", names=names) if NEVER & {alias.name for alias in names}:
                yield node.lineno
            case ast.Call(func=function) if _name(function) == "run_in_executor" and _gives_none(node):
                yield node.lineno


def _name(function: ast.expr) -> str | Any:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _gives_none(call: ast.Call) -> bool:
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "executor")]
    return not given or any(isinstance(each, ast.Constant) and each.value is None for each in given)


def test_no_service_takes_a_default_thread() -> None:
    assert len(FILES) > 100
    found = {f"{file.relative_to(ROOT)}:{line}" for file in FILES for line in uses_of_default_threads(file.read_text())}
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        "await asyncio.to_thread(work)",
        "from asyncio import to_thread",
        "loop.run_in_executor(None, work)",
        "loop.run_in_executor(executor=None, func=work)",
        "asyncio.get_running_loop().run_in_executor(None, work, 1)",
        "loop.set_default_executor(threads)",
        "await loop.getaddrinfo('host', 80)",
    ],
)
def test_each_way_to_take_one_is_noticed(source: str) -> None:
    assert list(uses_of_default_threads(source)) == [1]


@pytest.mark.parametrize("source", ["loop.run_in_executor(self._threads, work)", "socket.getaddrinfo('host', 80)", "a = None"])
def test_what_takes_none_is_not(source: str) -> None:
    assert list(uses_of_default_threads(source)) == []
