"""The pattern table in memory, ready to be looked through: 20,000 patterns in a few milliseconds."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering_query.search.bm25 import Bm25
from treering_query.search.literals import Literals
from treering_query.search.ranking import Hits
from treering_query.store.view import LISTED_SCHEMA, View
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS


class PatternTexts:
    """The patterns of one view: ids, services, masked texts, examples; immutable, what is derived is made once when it is needed."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        table = pa.concat_tables([LISTED_SCHEMA.empty_table(), *tables]).combine_chunks()
        self._columns = {name: _whole(table.column(name)) for name in table.column_names}
        self.ids: npt.NDArray[np.uint64] = self._columns["pattern_id"].to_numpy()

    @cached_property
    def rows(self) -> dict[int, int]:
        """The row of each pattern."""
        return {pattern_id: row for row, pattern_id in enumerate(self.ids.tolist())}

    @cached_property
    def bm25(self) -> Bm25:
        """Words of services and texts."""
        return Bm25(pc.binary_join_element_wise(self._columns["service"], self._columns["text"], " "))

    def of_services(self, services: frozenset[str] | None) -> set[int]:
        """The patterns of some services; None = all."""
        if services is None:
            return set(self.ids.tolist())
        return set(self.ids[pc.is_in(self._columns["service"], pa.array(sorted(services))).to_numpy(zero_copy_only=False)].tolist())

    def describe(self, pattern_id: int) -> tuple[str, str]:
        """Service and masked text of a pattern."""
        row = self.rows[pattern_id]
        return self._columns["service"][row].as_py(), self._columns["text"][row].as_py()

    def template(self, pattern_id: int) -> int:
        """The template of a pattern."""
        template_id: int = self._columns["template_id"][self.rows[pattern_id]].as_py()
        return template_id

    def find(self, literals: Literals) -> Hits:
        """The patterns whose masked text or example holds the literals."""
        verbatim = self._holding([literals.whole])
        identifiers = self._holding(literals.identifiers) if literals.identifiers else np.zeros(len(self.ids), np.bool_)
        return Hits(frozenset(self.ids[verbatim].tolist()), frozenset(self.ids[identifiers & ~verbatim].tolist()))

    def find_in_examples_only(self, literals: Literals, hits: Hits) -> set[int]:
        """Those hits that hold it in their variable parts: other records of these patterns need not."""
        sure = self._each_holding("text", [literals.whole])
        if literals.identifiers:
            sure |= self._each_holding("text", literals.identifiers) & ~np.isin(self.ids, _ids(hits.verbatim))
        return hits.pattern_ids - set(self.ids[sure].tolist())

    def words(self, text: str, allowed: Iterable[int]) -> dict[int, float]:
        """BM25 of the allowed patterns that share a word with the text."""
        scores = self.bm25.score(text)
        found = np.isin(self.ids, _ids(allowed)) & (scores > 0)
        return dict(zip(self.ids[found].tolist(), scores[found].tolist(), strict=True))

    @cached_property
    def _lower(self) -> dict[str, pa.StringArray]:
        cut = {name: pc.utf8_slice_codeunits(self._columns[name], 0, MAX_PATTERN_TEXT_CHARACTERS) for name in ("text", "example")}
        return {name: pc.utf8_lower(column) for name, column in cut.items()}

    def _holding(self, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        wanted = list(wanted)
        return self._each_holding("text", wanted) | self._each_holding("example", wanted)

    def _each_holding(self, column: str, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        held = np.ones(len(self.ids), np.bool_)
        for word in wanted:
            pattern = pc.utf8_lower(pa.scalar(word)).as_py()
            held &= pc.match_substring(self._lower[column], pattern).to_numpy(zero_copy_only=False)
        return held


@dataclass
class PatternTextsCache:
    """The last `PatternTexts` that was made: most searches meet the same patterns. Replaced whole, so threads may share it."""

    _last: tuple[tuple[pa.Table, ...], PatternTexts] | None = None

    def of(self, view: View) -> PatternTexts:
        """The texts of a view."""
        last = self._last
        if last is not None and last[0] is view.patterns:
            return last[1]
        texts = PatternTexts(view.patterns)
        self._last = (view.patterns, texts)
        return texts


def _ids(pattern_ids: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.array(list(pattern_ids), np.uint64)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])
