"""A connection on which the relations of one view are registered, each when a statement first names it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import pyarrow as pa

from treering_query.values.pattern_ids import OfTemplates, is_given, relation
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.values.sealed_records import sealed_records
from treering_query.values.segment import in_both_forms
from treering_query.view import hot
from treering_query.view.relation import logs_view

if TYPE_CHECKING:
    from treering_query.values.segment import Segment
    from treering_query.view.view import View

Values: TypeAlias = Sequence[object] | Mapping[str, object]

_COUNTS_VIEW = """
create or replace temp view pattern_counts as
select pattern_id, environment, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from (
    from _sealed_counts
    union all
    from _hot_counts
)
group by all
"""

_PATTERNS_VIEW = """
create or replace temp view patterns as
select pattern_id, service, text, example, count, first_time, last_time, template_id, template_text
from _patterns join (
    select pattern_id, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
    from pattern_counts group by pattern_id
) using (pattern_id)
"""

_NEEDS = {
    "logs": ("_hot",),
    "patterns": ("_patterns", "pattern_counts"),
    "pattern_counts": ("_sealed_counts", "_hot_counts"),
}
"""What the definition of a view names in turn, in the order in which it is made."""

# A word in a text counts as well: then a relation is made in vain. It can never be missing.
_NAMES = re.compile(r"\b(logs|patterns|pattern_counts|_hot|_hot_counts|_sealed_counts|_patterns)\b")


def names_hot(sql: str) -> bool:
    """Whether a statement reads the records in memory."""
    return not {"logs", "_hot"}.isdisjoint(_NAMES.findall(sql))


class Session:
    """One connection and what is registered on it. For one view and one thread at a time.

    Registering everything takes 5 ms, ten times as long as many a question; so each relation waits until it is named, and a session is
    kept for the next question to the same view (`View.idle`).
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self._made: set[str] = set()
        self._guests: list[str] = []
        self._segments: Sequence[Segment] | None = None

    def query(self, view: "View", segments: Callable[[], Sequence["Segment"]], sql: str, parameters: Values) -> pa.Table:
        """Runs one SELECT; `segments` says, where the statement reads `logs`, which of them that is."""
        # Only what the statement names is made.
        names = set(_NAMES.findall(sql))
        for name in sorted(names):
            self._make(name, view)
        if "logs" in names:
            self._view_logs(segments())
        values, given = self._given(view, parameters)
        try:
            return self._cursor.sql(sql, params=values or None).to_arrow_table()
        finally:
            for name in given:
                # Also after an error: the session may serve the next question, with other arrays under the same names.
                self._cursor.unregister(name)

    def stream(self, view: "View", sql: str, parameters: Values, rows: int) -> pa.RecordBatchReader:
        """As `query`, `rows` rows at a time, of anything but `logs`. The next question waits until the reader has ended or is closed."""
        for name in sorted(set(_NAMES.findall(sql))):
            self._make(name, view)
        # what is given as relations stays until the session ends: the reader reads them as long as it lives
        values, _ = self._given(view, parameters)
        return self._cursor.sql(sql, params=values or None).to_arrow_reader(rows)

    def _given(self, view: "View", parameters: Values) -> tuple[Values, list[str]]:
        """What is bound, and the relations that were registered for values that are arrays, or the patterns of templates."""
        values, arrays = _parted(parameters)
        for name, given in arrays.items():
            ids = view.patterns_of(given.template_ids) if isinstance(given, OfTemplates) else given
            # As a relation: thousands of ids as a bound list are much slower to plan than a join.
            self._cursor.register(relation(name), pa.table({"id": ids}))
        return values, [relation(name) for name in arrays]

    def register(self, name: str, table: pa.Table) -> None:
        """Makes a table joinable under a name until `part`."""
        self._cursor.register(name, table)
        self._guests.append(name)

    def part(self) -> None:
        """Forgets what was registered for one snapshot only."""
        # A name may have been registered twice; it can be taken away once.
        for name in dict.fromkeys(self._guests):
            self._cursor.unregister(name)
        self._guests.clear()

    def interrupt(self) -> None:
        """Stops what runs. The session is not to be used again."""
        self._cursor.interrupt()

    def close(self) -> None:
        """Gives back memory."""
        self._cursor.close()

    def _make(self, name: str, view: "View") -> None:
        if name in self._made:
            return
        # First what the definition names: DuckDB binds a view when it is created.
        for needed in _NEEDS.get(name, ()):
            self._make(needed, view)
        match name:
            case "_hot":
                self._cursor.register(name, hot.as_table(view.hot))
            case "_hot_counts":
                self._cursor.register(name, hot.counts(view.hot))
            case "_sealed_counts":
                self._cursor.register(name, view.sealed_counts)
            case "_patterns":
                self._cursor.register(name, view.listed())
            case "pattern_counts":
                self._cursor.execute(_COUNTS_VIEW)
            case "patterns":
                self._cursor.execute(_PATTERNS_VIEW)
        self._made.add(name)

    def _view_logs(self, segments: Sequence["Segment"]) -> None:
        # Questions to one view mostly read the same segments; the view is made again only when they differ.
        if segments != self._segments:
            sealed = sealed_records(*in_both_forms(segments)) if segments else None
            self._cursor.execute(logs_view(sealed, LOGS_SCHEMA.names))
            self._segments = segments


def _parted(parameters: Values) -> tuple[Values, Mapping[str, object]]:
    """What is bound, and what is registered."""
    if not isinstance(parameters, Mapping):
        return parameters, {}
    arrays = {name: value for name, value in parameters.items() if is_given(value)}
    return {name: value for name, value in parameters.items() if name not in arrays}, arrays
