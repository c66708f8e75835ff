"""Which attributes a statement asks for by name.

All attributes of a record, as the map that `attributes` is, take microseconds to make where its batch has a resource; one of them takes
next to nothing. So the tree of a statement is looked at: where each use of the column is `attributes['key']`, it needs these keys alone.
Whatever else could reach the column, as `select *` or a row as a whole, asks for the map.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_COLUMN, _TABLE = "attributes", "logs"
_WHOLE = frozenset({"POSITIONAL_REFERENCE", "PIVOT", "SHOW_REF"})
"""What may reach a column without naming it."""

Node = Mapping[str, Any]


def keys_of(tree: object) -> list[str] | None:
    """The keys, each once; None where the statement needs the map, or may."""
    nodes = list(_nodes(tree))
    keys: dict[str, None] = {}
    named = 0
    for node in nodes:
        if _needs_all(node):
            return None
        if (key := _key(node)) is not None:
            keys[key] = None
            named += 1
    # Each use that is not such a look-up asks for the map.
    if named != sum(_COLUMN in _names(node) for node in nodes) or not _are_fields(keys):
        return None
    rows = {str(node.get("alias") or _TABLE).lower() for node in nodes if _is_logs(node)}
    # A row as a whole: `select l from logs l`.
    return None if any(_names(node)[-1:] == [row] for node in nodes for row in rows) else list(keys)


def _nodes(tree: object) -> Iterator[Node]:
    waiting: list[object] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _needs_all(node: Node) -> bool:
    if node.get("type") in _WHOLE or (_is_logs(node) and "column_name_alias" in node):
        return True
    if node.get("type") == "JOIN":
        return node.get("ref_type") == "NATURAL" or _COLUMN in [str(name).lower() for name in node.get("using_columns", [])]
    # A star of a subquery is that of the subquery; one beside `logs` itself, or in anything below, may be its columns.
    reads_logs = node.get("type") == "SELECT_NODE" and any(map(_is_logs, _sources(node.get("from_table"))))
    return reads_logs and any(inner.get("class") == "STAR" for inner in _nodes(node))


def _sources(source: object) -> Iterator[Node]:
    """The tables that a FROM names by itself, not in a subquery."""
    waiting = [source]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend((value.get("left"), value.get("right")))


def _is_logs(node: Node) -> bool:
    return node.get("type") == "BASE_TABLE" and str(node.get("table_name", "")).lower() == _TABLE


def _names(node: Node) -> list[str]:
    return [str(name).lower() for name in node.get("column_names", [])] if node.get("type") == "COLUMN_REF" else []


def _key(node: Node) -> str | None:
    """The key of `attributes['key']`."""
    column, key = (*node.get("children", ()), {}, {})[:2]
    if node.get("type") != "ARRAY_EXTRACT" or _names(column)[-1:] != [_COLUMN]:
        return None
    literal = key.get("literal", {})
    return str(literal.get("text", "")) if key.get("type") == "VALUE_CONSTANT" and literal.get("kind") == "STRING" else None


def _are_fields(keys: Mapping[str, None]) -> bool:
    """Whether they can be names of fields, see `attributes.some`."""
    return len({key.lower() for key in keys}) == len(keys) and all(key and "\0" not in key for key in keys)
