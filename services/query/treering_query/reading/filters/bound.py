"""The values of one filter, each under a name that its SQL uses."""

from collections.abc import Sequence

from treering_query.values.pattern_ids import Ids, OfTemplates, relation

FEW = 100
"""Up to so many alternatives are spelled out, which Parquet statistics can prune by; more are joined."""


class Bound:
    """Names values for a statement."""

    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}

    def bind(self, value: object) -> str:
        """The name of a value, as it stands in SQL."""
        # `hub.marks` relies on this form to give the values of several filters names of their own.
        name = f"f{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def one_of(self, subject: str, values: Sequence[object], kind: str) -> str:
        """The condition that an expression is one of some values of a type of SQL."""
        if len(values) <= FEW:
            chosen = ", ".join(f"{self.bind(value)}::{kind}" for value in values)
        else:
            chosen = f"select unnest({self.bind(list(values))}::{kind}[])"
        return f"{subject} in ({chosen})"

    def one_of_patterns(self, ids: Ids) -> str:
        """The condition that a record is of one of some patterns."""
        # No pattern is meant, which differs from no choice of patterns: nothing is selected.
        if not len(ids):
            return "false"
        if len(ids) <= FEW:
            return self.one_of("pattern_id", ids.tolist(), "ubigint")
        name = self.bind(ids).removeprefix("$")
        return f"pattern_id in (select id from {relation(name)})"

    def of_templates(self, template_ids: Ids) -> str:
        """The condition that a record is of one of some templates."""
        # A name that tells it from patterns with the same ids: hubs know a filter by its SQL and its values.
        name = f"f{len(self.parameters)}_templates"
        self.parameters[name] = OfTemplates(template_ids)
        return f"pattern_id in (select id from {relation(name)})"
