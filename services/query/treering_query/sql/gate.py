"""The gate: what DuckDB's own parser says a statement is, and whether that may run.

Allowed is one statement that only reads, from the tables `logs`, `patterns` and `templates`, from its own subqueries, and from functions
that make rows out of their arguments. The gate is the first of several walls, so that the reasons for a refusal can be told; files,
settings and writing are also out of reach for what would slip through it.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import duckdb

from treering_query import limits
from treering_query.sql import functions
from treering_query.sql.attribute_keys import keys_of
from treering_query.sql.refusal import Refused, location
from treering_query.sql.texts import arguments, text_of

TABLES = ("logs", "patterns", "templates")
"""What can be read."""

NAMED = "logs, patterns and templates"
"""The same, in words."""

_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_SOURCES = {"BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "PIVOT", "SHOW_REF"}
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
_KNOWN = "select 1 from duckdb_functions() where lower(function_name) = $1 limit 1"
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*([a-zA-Z_]+)", re.DOTALL)
_RECURRING = "recurring"
_NAME = re.compile(r"\w+")

_Node = dict[str, object]
_Names = frozenset[str]


class Asked(NamedTuple):
    """What a statement asks for."""

    texts: list[str]
    """Of which it asks the meaning, each once."""
    attributes: list[str] | None
    """The keys of the attributes that it names, each once; None where it may need all of them."""


def check(connection: duckdb.DuckDBPyConnection, statement: str) -> Asked:
    """Returns what a statement asks for, if it may run.

    Raises:
        Refused: SQL_ERROR when it cannot be parsed, SQL_NOT_ALLOWED otherwise.
    """
    # The statement is a parameter and is only parsed. The parser is the one that will run it, so the two cannot disagree.
    rows = connection.execute("select json_serialize_sql($1::varchar, skip_empty := true, skip_null := true)", [statement]).fetchall()
    tree = json.loads(rows[0][0])
    # The function serialises SELECT alone: any other statement is an error here already.
    if tree.get("error"):
        raise _not_select(tree, statement)
    statements = tree["statements"]
    if not statements:
        raise Refused("SQL_ERROR", "the query is empty; write one SELECT")
    # The database would run all of them, and answer with the last.
    if len(statements) > 1:
        raise Refused("SQL_NOT_ALLOWED", f"only a single SELECT is allowed; these are {len(statements)} statements")
    return Asked(_Walk(statements[0], connection).check(), keys_of(statements[0]))


def _not_select(tree: dict[str, str], statement: str) -> Refused:
    if tree["error_type"] == "not implemented":
        found = _FIRST_WORD.match(statement)
        word = found.group(1).upper() if found else "something else"
        return Refused("SQL_NOT_ALLOWED", f"only a single SELECT is allowed; this is {word}, or holds a statement that is no SELECT")
    position = tree.get("position")
    return Refused("SQL_ERROR", f"Parser Error: {tree['error_message']}", int(position) if position else None)


class _Walk:
    """Visits every node of one statement's tree, without recursion, each with the names of the CTEs that it can see."""

    def __init__(self, tree: object, connection: duckdb.DuckDBPyConnection) -> None:
        self._tree = tree
        self._connection = connection

    def check(self) -> list[str]:
        texts: dict[str, None] = {}
        # Every node, wherever it stands: what is forbidden may hide in any expression, CTE or lateral join.
        for node, visible in self._nodes():
            _check_kind(node)
            self._check_function(node)
            if node.get("type") == "BASE_TABLE":
                _check_table(node, visible)
            if (text := text_of(node)) is not None:
                # A dict as an ordered set: the macros number the texts in this order.
                texts[text] = None
            if len(texts) > limits.MAX_SQL_TEXTS:
                message = f"meaning and about are asked of more than {limits.MAX_SQL_TEXTS} texts; ask for the others in a second query"
                raise Refused("SQL_ERROR", f"Binder Error: {message}", location(node))
        return list(texts)

    def _nodes(self) -> Iterator[tuple[_Node, _Names]]:
        # A list and no recursion: a statement may be nested deeper than Python's stack is.
        waiting: list[tuple[object, _Names]] = [(self._tree, frozenset())]
        while waiting:
            value, visible = waiting.pop()
            if isinstance(value, dict):
                yield value, visible
                waiting.extend(_parts(value, visible))
            elif isinstance(value, list):
                waiting.extend((part, visible) for part in value)

    def _check_function(self, node: _Node) -> None:
        # An allow-list: `read_csv`, `glob` and the like are functions of this kind.
        if node.get("type") == "TABLE_FUNCTION":
            function = node.get("function")
            name = str(function.get("function_name", "")).lower() if isinstance(function, dict) else ""
            if name not in _TABLE_FUNCTIONS:
                message = f"the table function {name} is not allowed; allowed are {', '.join(sorted(_TABLE_FUNCTIONS))}"
                raise Refused("SQL_NOT_ALLOWED", message, location(node))
        name = str(node.get("function_name", "")).lower()
        self._check_name(name, node)
        # The second argument is a call by name, so it goes through the same list.
        if name in functions.BY_NAME:
            self._check_name(_aggregate(name, node), node)

    def _check_name(self, name: str, node: _Node) -> None:
        # An unknown name passes: it is an error of the user's, and the database's words say it better.
        if name and name not in _TABLE_FUNCTIONS and not functions.is_allowed(name) and self._exists(name):
            raise Refused("SQL_NOT_ALLOWED", f"the function {name} is not allowed: it reaches outside the tables", location(node))

    def _exists(self, name: str) -> bool:
        """Whether the database has such a function; where it has none, its own words say so best."""
        return functions.is_refused(name) or bool(self._connection.execute(_KNOWN, [name]).fetchall())


def _aggregate(name: str, node: _Node) -> str:
    """The aggregate that a function such as `list_aggregate(list, 'sum')` calls; empty where it has too few arguments."""
    given = arguments(node)
    # The database refuses it; there is nothing to check.
    if len(given) < 2:
        return ""
    literal = given[1]["expression"].get("literal", {})
    # A name that is computed cannot be checked before it runs.
    if literal.get("kind") != "STRING":
        message = f"the second argument of {name} must be the name of an aggregate in single quotes, for example {name}(list, 'sum')"
        raise Refused("SQL_NOT_ALLOWED", message, location(node))
    return str(literal.get("text", "")).lower()


def _parts(node: _Node, visible: _Names) -> Iterator[tuple[object, _Names]]:
    """What is in a node, each with what it sees: a CTE those before it, and itself where it is recursive; the rest all of them."""
    for entry in _entries(node.get("cte_map")):
        yield entry.get("value"), visible
        visible |= {str(entry.get("key")).lower()}
    for name, value in node.items():
        # The body of the statement sees all of its CTEs.
        if name != "cte_map":
            own = {str(node.get("cte_name")).lower()} if node.get("type") == "RECURSIVE_CTE_NODE" and name == "right" else set()
            yield value, visible | own


def _entries(cte_map: object) -> list[_Node]:
    entries = cte_map.get("map") if isinstance(cte_map, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _check_table(node: _Node, visible: _Names) -> None:
    qualified = node.get("qualified_name")
    path = qualified.get("path") if isinstance(qualified, dict) else None
    name = str(node.get("table_name", ""))
    place = location(node)
    # with a schema before it, it would be a relation of the catalog; `recurring` is none, it asks for the rows that a recursive CTE keeps
    is_cte = path in ([name], [_RECURRING, name]) and name.lower() in visible
    if not (is_cte or path in ([name], ["main", name])) or not _NAME.fullmatch(name):
        raise Refused("SQL_NOT_ALLOWED", f'"{name}" is outside; only the tables {NAMED} can be read', place)
    # An allow-list again: tables of the catalog, files as tables and variables of Python have no way in.
    if name.lower() not in TABLES and not is_cte:
        message = f"Catalog Error: Table with name {name} does not exist! The tables are {NAMED}"
        raise Refused("SQL_ERROR", message, place)
    if "at_clause" in node:
        raise Refused("SQL_NOT_ALLOWED", "AT is not allowed: the tables have one version", place)


def _check_kind(node: _Node) -> None:
    kind = node.get("type")
    # DML may stand in a CTE: a look at the kind of the statement alone would let it through.
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
        what = kind.removesuffix("_NODE").removesuffix("_QUERY")
        raise Refused("SQL_NOT_ALLOWED", f"only reading is allowed; this holds a {what}", location(node))
    if kind == "VALUE_PARAMETER":
        raise Refused("SQL_NOT_ALLOWED", "parameters are not allowed; write the value", location(node))
    if kind == "SHOW_REF" and (node.get("show_type") not in {"DESCRIBE", "SUMMARY"} or "table_name" in node):
        raise Refused("SQL_NOT_ALLOWED", f"SHOW is not allowed; the tables are {NAMED}: DESCRIBE logs", location(node))
    # Sources of a kind that a newer database may bring are refused until somebody has looked at them.
    sources = [node.get("from_table"), *((node.get("left"), node.get("right")) if kind == "JOIN" else ())]
    for source in sources:
        if isinstance(source, dict) and source.get("type") not in _SOURCES:
            raise Refused("SQL_NOT_ALLOWED", f"reading from {source.get('type')} is not allowed", location(source))
