"""The pattern table in memory, ready to be looked through: 20,000 patterns in a few milliseconds."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.search.bm25 import Bm25
from treering_query.search.literals import Literals
from treering_query.search.ranking import Fits, Flags, LiteralHits, Rows
from treering_query.values.pattern_ids import Ids, has_pattern
from treering_query.values.schemas import LISTED_SCHEMA
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS


class PatternTexts:
    """The patterns of one view: ids, services, masked texts, examples; immutable, what is derived is made once when it is needed.

    Sets of patterns are a flag for each row: there may be hundreds of thousands.
    """

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._table = pa.concat_tables([LISTED_SCHEMA.empty_table(), *tables]).combine_chunks()
        self._columns = {name: _whole(self._table.column(name)) for name in ("service", "text", "example")}
        patterns = _whole(has_pattern(self._table.column("pattern_id")))  # the other row says what it is, which nobody looks for
        self._columns["text"] = pc.if_else(patterns, self._columns["text"], "")
        self.ids: Ids = self._table.column("pattern_id").to_numpy()

    @cached_property
    def bm25(self) -> Bm25:
        """Words of services and texts."""
        return Bm25(pc.binary_join_element_wise(self._columns["service"], self._columns["text"], " "))

    def rows_of(self, pattern_ids: Ids) -> Rows:
        """The row of each pattern, -1 for one that is not here."""
        order, ascending = self._by_id
        if not len(order):
            return np.full(len(pattern_ids), -1, np.int64)
        # `searchsorted` gives the length for what is above all; the comparison below finds that it is another one.
        places = np.minimum(np.searchsorted(ascending, pattern_ids), len(order) - 1)
        return np.where(ascending[places] == pattern_ids, order[places], -1)

    def flagged(self, pattern_ids: Ids) -> Flags:
        """Which rows are of some patterns."""
        # Flags and no sets: hundreds of thousands of Python numbers would take seconds.
        flags = np.zeros(len(self.ids), np.bool_)
        rows = self.rows_of(pattern_ids)
        flags[rows[rows >= 0]] = True
        return flags

    def of_services(self, services: frozenset[str] | None) -> Flags:
        """The patterns of some services; None = all."""
        if services is None:
            return np.ones(len(self.ids), np.bool_)
        chosen: Flags = pc.is_in(self._columns["service"], pa.array(sorted(services))).to_numpy(zero_copy_only=False)
        return chosen

    def described(self, pattern_ids: Sequence[int]) -> pa.Table:
        """The rows of some patterns, in their order: columns of `LISTED_SCHEMA`. Patterns that are not here are left out."""
        rows = self.rows_of(np.array(pattern_ids, np.uint64))
        return self._table.take(pa.array(rows[rows >= 0]))

    def find(self, literals: Literals) -> LiteralHits:
        """The patterns whose masked text or example holds the literals."""
        verbatim = self._holding([literals.whole])
        identifiers = self._holding(literals.identifiers) if literals.identifiers else np.zeros(len(self.ids), np.bool_)
        return LiteralHits(verbatim, identifiers & ~verbatim)

    def find_in_examples_only(self, literals: Literals, hits: LiteralHits) -> Flags:
        """Those hits that hold it in their variable parts: other records of these patterns need not."""
        # The masked text is the same for all records of a pattern, so what it holds all of them hold.
        sure = self._each_holding("text", [literals.whole])
        if literals.identifiers:
            sure |= self._each_holding("text", literals.identifiers) & ~hits.verbatim
        return hits.any & ~sure

    def words(self, text: str, allowed: Flags) -> Fits:
        """BM25 of the allowed patterns that share a word with the text."""
        scores = self.bm25.score(text)
        rows = np.flatnonzero(allowed & (scores > 0))
        return Fits(rows, scores[rows])

    @cached_property
    def _by_id(self) -> tuple[Rows, Ids]:
        """The rows in the order of their ids, and these."""
        order = np.argsort(self.ids)
        return order, self.ids[order]

    @cached_property
    def _lower(self) -> dict[str, pa.StringArray]:
        # Lowered once for the table, and only so far as a pattern's text may reach.
        cut = {name: pc.utf8_slice_codeunits(self._columns[name], 0, MAX_PATTERN_TEXT_CHARACTERS) for name in ("text", "example")}
        return {name: pc.utf8_lower(column) for name, column in cut.items()}

    def _holding(self, wanted: Iterable[str]) -> Flags:
        wanted = list(wanted)
        return self._each_holding("text", wanted) | self._each_holding("example", wanted)

    def _each_holding(self, column: str, wanted: Iterable[str]) -> Flags:
        held = np.ones(len(self.ids), np.bool_)
        for word in wanted:
            # Lowered by the same library as the table: Python's rules differ for some letters.
            pattern = pc.utf8_lower(pa.scalar(word)).as_py()
            held &= pc.match_substring(self._lower[column], pattern).to_numpy(zero_copy_only=False)
        return held


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])
