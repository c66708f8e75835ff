"""What some texts mean in terms of patterns: the score of each pattern for each text."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering_query.values.pattern_ids import Ids, among
from treering_runtime.patterns import NO_PATTERN

ABOUT = 0.5
"""The least score of a pattern that is about a text."""


@dataclass(frozen=True)
class Meant:
    """The scores of some texts: `pattern_ids` ascending, and for each text a float32 of each of them."""

    texts: tuple[str, ...]
    pattern_ids: Ids
    scores: tuple[npt.NDArray[np.float32], ...]

    def about(self, text: str) -> Ids:
        """The patterns that are about one of the texts, ascending."""
        # Ids ascend and the mask keeps their order, so this ascends too.
        return self.pattern_ids[self.scores[self.texts.index(text)] >= ABOUT]

    def table(self) -> pa.Table:
        """The ids, then the scores of each text in a column of its own."""
        # Column names do not matter: whoever reads it goes by position.
        return pa.table([self.pattern_ids, *self.scores], names=["pattern_id", *(str(number) for number in range(len(self.scores)))])

    def missing_in(self, patterns: Iterable[pa.Table]) -> str:
        """That some patterns of a view have no score, in words for people; empty when all have one, or no text was asked about."""
        if not self.texts:
            return ""
        known = np.concatenate([np.empty(0, np.uint64), *(table.column("pattern_id").to_numpy() for table in patterns)])
        # That row is no pattern and can have no vector.
        known = known[known != NO_PATTERN]
        missing = len(known) - int(np.count_nonzero(among(known, self.pattern_ids)))
        return f"{missing:,} of {len(known):,} patterns have no vector yet: they score 0 for every text" if missing else ""


NOTHING = Meant((), np.empty(0, np.uint64), ())
"""No text was asked about."""
