"""The store's pattern table: which patterns are known, each with its template, and which have no record any more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query.store.intake import unknown
from treering_query.store.pattern_rows import listed
from treering_query.store.published import Published
from treering_query.store.unsealed import Unsealed
from treering_query.templates import Templates
from treering_query.view.view import View

_MOST_TABLES = 16
"""Tables of patterns before they are made one."""

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NewPatterns:
    """Patterns that were not known when they were looked up."""

    rows: pa.Table
    """`PATTERNS_SCHEMA`."""
    listed: pa.Table
    """The same with their templates, `LISTED_SCHEMA`."""
    ids: list[int]
    templates: Templates
    """The templates that `listed` follows."""


@dataclass(frozen=True)
class Leaving:
    """Patterns without a record, and the table before and after they leave."""

    gone: Ids
    before: tuple[pa.Table, ...]
    after: tuple[pa.Table, ...]
    known: set[int]


class PatternTable:
    """The patterns of the view. Changed on the event loop only; what takes long is prepared on a thread and then taken over in one step.

    Args:
        published: The view that shows them.
        unsealed: Keeps the texts of new patterns for the next seal.
        came: Called when new patterns are shown.
    """

    def __init__(self, published: Published, unsealed: Unsealed, came: Callable[[], None]) -> None:
        self._published = published
        self._unsealed = unsealed
        self._came = came
        # Replaced whole by `forget`, added to by `add`: both on the event loop.
        self._known: set[int] = set()

    def open(self, patterns: pa.Table, templates: Templates) -> None:
        """Begins with what the catalog has."""
        self._known = set(patterns.column("pattern_id").to_pylist())
        self._show((listed(patterns, templates),), templates)

    def new_in(self, found: pa.Table) -> NewPatterns | None:
        """Those of `found` (`PATTERNS_SCHEMA`) that are not known; None when all are. Only reads, so any thread may call it."""
        # The templates are remembered with the result: `add` notices when they have changed meanwhile.
        rows, templates = unknown(found, self._known), self._published.view.templates
        if not rows.num_rows:
            return None
        return NewPatterns(rows, listed(rows, templates), rows.column("pattern_id").to_pylist(), templates)

    def add(self, new: NewPatterns | None) -> None:
        """Shows new patterns, if there are any, and gives their texts to the next seal.

        Since they were looked up, others may have added some of them, or templates may have changed: then they are looked up again.
        """
        # A second look-up on the event loop, but only of what was new in one delivery.
        if new and (new.templates is not self._published.view.templates or not self._known.isdisjoint(new.ids)):
            new = self.new_in(new.rows)
        if new is None:
            return
        tables = (*self._published.view.patterns, new.listed)
        # The first one is large and stays; the small ones behind it are joined. So no delivery copies all patterns.
        if len(tables) >= _MOST_TABLES:
            tables = (tables[0], pa.concat_tables(tables[1:]).combine_chunks())
        # Known, kept for the seal, shown: one step, no await. A pattern that is known but not kept would have no text after a restart.
        self._known.update(new.ids)
        self._unsealed.add_patterns(new.rows)
        self._show(tables, self._published.view.templates)
        self._came()

    def show_templates(self, templates: Templates, before: Sequence[pa.Table], after: pa.Table | None) -> bool:
        """Shows templates; see `shelf.Shelf`."""
        now = self._published.view.patterns
        # By identity: the tables are immutable, so the same objects have the same rows.
        if len(now) < len(before) or any(one is not other for one, other in zip(before, now, strict=False)):
            return False
        tables = now if after is None else (after, *(listed(table, templates) for table in now[len(before) :]))
        self._show(tables, templates)
        return True

    def without_record(self, view: View) -> Ids:
        """The patterns of a view that none of its records has, sorted. Blocks: half a second for 200,000 patterns; any thread."""
        # A text that waits for the next seal counts as alive: the seal would store it after it was forgotten.
        held = [view.sealed_counts.column("pattern_id"), *(chunk.table.column("pattern_id") for chunk in view.hot)]
        alive = [np.unique(column.to_numpy()) for column in (*held, *self._unsealed.pattern_columns())]
        known = [table.column("pattern_id").to_numpy() for table in view.patterns]
        return np.setdiff1d(_together(known), _together(alive))

    def left_by(self, candidates: Ids) -> Leaving:
        """Which of some patterns have no record now, and the table without them. Blocks."""
        view = self._published.view
        # The view of now, not the one from which the candidates come: records may have come.
        gone = np.intersect1d(candidates, self.without_record(view))
        whole = pa.concat_tables(view.patterns)
        stays = ~np.isin(whole.column("pattern_id").to_numpy(), gone)
        return Leaving(gone, view.patterns, (whole.filter(pa.array(stays)).combine_chunks(),), self._known.difference(gone.tolist()))

    def forget(self, leaving: Leaving) -> bool:
        """Takes over what `left_by` found: a delivery after it finds the patterns unknown again. False when the table has changed since."""
        # Patterns came while the thread worked. The caller makes the table again.
        if self._published.view.patterns is not leaving.before:
            return False
        self._known = leaving.known
        self._show(leaving.after, self._published.view.templates)
        return True

    def _show(self, tables: tuple[pa.Table, ...], templates: Templates) -> None:
        self._published.view = replace(self._published.view, patterns=tables, templates=templates)


def _together(parts: Sequence[npt.NDArray[np.uint64]]) -> Ids:
    return np.concatenate([np.empty(0, np.uint64), *parts])
