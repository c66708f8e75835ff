r"""Rules as they are written in settings.

[redaction]
built_in = true

[redaction.rules.order]
expression = 'order-(\d{4})\d+'
mask = 'order-\1****'
"""

import re
from collections.abc import Mapping
from typing import Any

from treering_formats.redaction.built_in import BUILT_IN
from treering_formats.redaction.redactor import Redactor
from treering_formats.redaction.rule import Rule

_FIELDS = {"built_in", "rules"}
_RULE_FIELDS = {"expression", "mask"}


class RedactionError(ValueError):
    """A rule cannot be applied; the message says which, why, and what to write."""


def redactor(table: Mapping[str, Any], *, built_in: bool = False) -> Redactor | None:
    """The redactor that a table of settings asks for; None when it asks for nothing. Rules of one's own come first.

    Args:
        table: The table `redaction`; empty when there is none.
        built_in: Whether the built-in rules apply in any case.

    Raises:
        RedactionError: A name is unknown, or a rule cannot be applied.
    """
    _refuse_unknown("redaction", table, _FIELDS)
    wanted = table.get("built_in", False)
    if not isinstance(wanted, bool):
        raise RedactionError("redaction.built_in must be true or false")
    rules = table.get("rules", {})
    if not isinstance(rules, Mapping):
        raise RedactionError("redaction.rules must be a table; begin each rule with [redaction.rules.NAME]")
    own = [_rule(name, value) for name, value in rules.items()]
    chosen = [*own, *(BUILT_IN if wanted or built_in else ())]
    return Redactor(chosen) if chosen else None


def _refuse_unknown(place: str, table: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise RedactionError(f"{place}.{unknown[0]} is no setting; there are {', '.join(sorted(known))}")


def _rule(name: str, value: Any) -> Rule:
    place = f"redaction.rules.{name}"
    if not isinstance(value, Mapping):
        raise RedactionError(f"{place} must be a table with expression and mask")
    _refuse_unknown(place, value, _RULE_FIELDS)
    expression, mask = value.get("expression"), value.get("mask")
    if not isinstance(expression, str) or not isinstance(mask, str):
        raise RedactionError(f"{place} needs expression and mask, both texts")
    if name in {rule.name for rule in BUILT_IN}:
        raise RedactionError(f"{place} has the name of a built-in rule; choose another")
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise RedactionError(f"{place}.expression is no regular expression: {error}") from None
    if pattern.match(""):
        raise RedactionError(
            f"{place}.expression finds the empty text, which is everywhere; make it begin with something that must be there"
        )
    try:
        pattern.sub(mask, "")
        re.compile(f"{expression}|").match("").expand(mask)  # type: ignore[union-attr]  # the empty branch matches
    except (re.error, IndexError) as error:
        raise RedactionError(f"{place}.mask names a group that the expression does not have: {error}") from None
    return Rule(name, pattern, mask)
