"""The texts that a statement asks the meaning of: `meaning(pattern_id, 'text')` and `about(pattern_id, 'text')` in its tree.

A text is scored before the statement runs, so it must stand in the statement itself. Whatever else is asked of the two functions is for
the database to say.
"""

from collections.abc import Mapping
from typing import Any

from treering_query import limits
from treering_query.sql.refusal import Refused, location

FUNCTIONS = frozenset({"meaning", "about"})
"""What asks for meaning."""

_HOMES: tuple[list[str], ...] = ([], ["main"], ["memory"], ["memory", "main"])
"""What may stand before a function's name; anything else is the value in `value.function(...)`."""


def text_of(node: Mapping[str, Any]) -> str | None:
    """The text that a node of a statement's tree asks the meaning of; None where it does not ask.

    Raises:
        Refused: SQL_ERROR, when the function is not used as it must be.
    """
    name = str(node.get("function_name", "")).lower()
    if name not in FUNCTIONS:
        return None
    # A macro would drop these words without an error, and the answer would not be what was asked.
    if node.get("type") != "FUNCTION" or node.get("distinct") or "filter" in node or "orders" in node.get("order_bys", {}):
        raise _misused(node, f"{name} is no aggregate: DISTINCT, FILTER, ORDER BY and OVER do not apply to it")
    given = arguments(node)
    # Exactly the form that is scored: whatever passes here has its text in the list.
    if len(given) != 2 or any("name" in argument for argument in given):
        raise _misused(node, f"{name} takes a pattern's id and a text in quotes, for example {name}(pattern_id, 'the disk is full')")
    return _text(name, given[1]["expression"])


def arguments(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A function's arguments; an empty one for the `pattern_id` of `pattern_id.meaning('text')`, which the parser takes for a schema."""
    # `a.f(x)` and `schema.f(x)` look the same to the parser.
    home = node["qualified_name"]["path"][:-1]
    receiver: list[Mapping[str, Any]] = [] if home in _HOMES else [{"expression": {}}]
    return [*receiver, *node.get("arguments", [])]


def _text(name: str, expression: Mapping[str, Any]) -> str:
    literal = expression.get("literal", {})
    # Only a literal can be scored before the statement runs; an expression has no value yet.
    if literal.get("kind") != "STRING":
        quoted = expression.get("type") == "COLUMN_REF"
        hint = "; single quotes, as double ones name a column" if quoted else ""
        raise _misused(expression, f"the second argument of {name} must be a text in quotes{hint}")
    text = str(literal.get("text", ""))
    if not text.strip():
        raise _misused(expression, f"the text of {name} is empty; say in some words what it is about")
    # After the look at blanks: the encoder's cost grows with the text.
    if len(text) > limits.MAX_ABOUT_CHARACTERS:
        raise _misused(expression, f"the text of {name} has {len(text)} characters, over {limits.MAX_ABOUT_CHARACTERS}; shorten it")
    return text


def _misused(node: Mapping[str, Any], message: str) -> Refused:
    return Refused("SQL_ERROR", f"Binder Error: {message}", location(node))
