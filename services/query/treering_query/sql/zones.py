"""Times in a user's statement, which are UTC and have no zone, against literals that name one and functions that give one.

The columns are TIMESTAMP_NS: the database's type with a zone ends at microseconds. It leaves the offset of a literal out without a word
where it makes a TIMESTAMP of it, and compares no TIMESTAMP_NS with `now()`. Both are put right in the statement's text, before it runs.
"""

import itertools
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import duckdb

from treering_query import limits
from treering_query.sql.refusal import Refused

# Comments and other quotes are matched first, so that nothing in them passes for a literal.
_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\1|'((?:[^']|'')*)'", re.DOTALL)
_WITH_ZONE = re.compile(
    r"\s*\d{4,6}-\d{1,2}-\d{1,2}(?:[T ]\s*\d{1,2}(?::\d{1,2}){0,2}(?:[.,]\d*)?)\s*(?:[+-]\d{1,2}(?::?\d\d){0,2}|[A-Za-z][\w/+-]*)\s*"
)
_UTC = re.compile(r"(?:Z|UTC|GMT|[+-]00(?::?00)?)\s*$", re.IGNORECASE)
_ZONED_FUNCTIONS = {"now", "get_current_timestamp", "transaction_timestamp", "to_timestamp", "make_timestamptz"}
_ZONED_COLUMN = ["current_timestamp"]
_ZONED_TYPES = {"timestamptz", "timestamp with time zone"}
_MIXED = re.compile(r"TIMESTAMP_NS.*TIMESTAMP WITH TIME ZONE|TIMESTAMP WITH TIME ZONE.*TIMESTAMP_NS", re.DOTALL)


def in_utc(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement with every literal that becomes a time in UTC, where it names another zone; texts stay as they are.

    Places in it stay the same where that is possible, so that errors point at the user's own words.

    Raises:
        Refused: A zone is not known, or there are too many of them.
    """
    found = [match for match in _TOKEN.finditer(statement) if _names_zone(match[2])]
    if len(found) > limits.MAX_SQL_ZONES:
        raise Refused(
            "SQL_ERROR",
            f"more than {limits.MAX_SQL_ZONES} times with an offset; write them in UTC, without one",
            _place(statement, found[-1]),
        )
    # From the last to the first: those before keep their places.
    for match in reversed(found):
        if _is_time(connection, statement, match):
            utc = f"'{_converted(connection, match[2], _place(statement, match))}'"
            statement = statement[: match.start()] + utc.ljust(match.end() - match.start()) + statement[match.end() :]
    return statement


def _names_zone(text: str | None) -> bool:
    return text is not None and _WITH_ZONE.fullmatch(text) is not None and not _UTC.search(text)


def _place(statement: str, match: re.Match[str]) -> int:
    return len(statement[: match.start()].encode())


def _is_time(connection: duckdb.DuckDBPyConnection, statement: str, match: re.Match[str]) -> bool:
    """Whether the database makes a time without a zone of a literal: its plan says so of a text that is none."""
    token = f"no time {secrets.token_hex(8)}"
    trial = f"{statement[: match.start()]}'{token}'{statement[match.end() :]}"
    try:
        rows = connection.execute(f"explain (format json) {trial}").fetchall()
    except duckdb.Error:
        # It wants something else in this place, or the statement is wrong: that is said when it runs.
        return False
    kinds = re.findall(rf"CAST\('{token}' AS ([A-Z_ ]+)\)", rows[0][1])
    return any(kind in {"DATE", "DATETIME"} or (kind.startswith("TIMESTAMP") and "ZONE" not in kind) for kind in kinds)


def _converted(connection: duckdb.DuckDBPyConnection, text: str, place: int) -> str:
    for kind in ("timestamptz_ns", "timestamptz"):  # the second reaches beyond 2262
        try:
            # All rows: a result that is not read to its end keeps the connection busy.
            ((found,),) = connection.execute(f"select ($1::varchar)::{kind}::varchar", [text.strip().replace(",", ".")]).fetchall()
        except duckdb.Error:
            continue
        return str(found).removesuffix("+00")
    raise Refused("SQL_ERROR", f"Conversion Error: '{text}' names a zone that is not known; write +02:00 or Europe/Berlin", place)


def unzoned(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement with everything that has a zone in UTC without one, so that it can be compared with the tables' times."""
    rows = connection.execute("select json_serialize_sql($1::varchar, skip_empty := true, skip_null := true)", [statement]).fetchall()
    encoded = statement.encode()
    bounds = [0, *sorted(set(_zoned(json.loads(rows[0][0])))), len(encoded)]
    return "::timestamp".join(encoded[start:end].decode() for start, end in itertools.pairwise(bounds))


def is_about_zones(error: duckdb.Error) -> bool:
    """Whether the database refused to compare a time of the tables with one that has a zone."""
    return _MIXED.search(str(error)) is not None


def _zoned(value: Any) -> Iterator[int]:
    """Where the parts of a statement end that have a zone, in bytes."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if not isinstance(node, dict):
            continue
        if _has_zone(node):
            yield int(node["query_location"]) + int(node["query_location_length"])
        # `AT TIME ZONE` means another thing for a time without a zone: what it is asked of stays as it is.
        waiting += [part for name, part in node.items() if not (name == "arguments" and node.get("function_name") == "timezone")]


def _has_zone(node: dict[str, Any]) -> bool:
    if int(node.get("query_location_length", 0)) == 0:
        return False
    kind = node.get("type_expr") if node.get("class") == "CAST" else None
    return (
        (node.get("class") == "FUNCTION" and str(node.get("function_name")).lower() in _ZONED_FUNCTIONS)
        or (node.get("class") == "COLUMN_REF" and [str(name).lower() for name in node.get("column_names", [])] == _ZONED_COLUMN)
        or (isinstance(kind, dict) and str(kind.get("type_name")).lower() in _ZONED_TYPES)
    )
