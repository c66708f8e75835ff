"""The pattern table ready to be looked through, made once for all searches that meet the same patterns."""

import threading

import pyarrow as pa

from treering_query.search.pattern_texts import PatternTexts
from treering_query.view.view import View


class PatternTextsCache:
    """The last `PatternTexts` that was made: most searches meet the same patterns. For any threads: one makes it, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[tuple[pa.Table, ...], PatternTexts] = ((), PatternTexts(()))

    def of(self, view: View) -> PatternTexts:
        """The texts of a view. Blocks: for a thread of the store, as a new table of 200,000 patterns is copied."""
        # While one thread makes the table, the others wait: they would each make the same, at the same time.
        with self._lock:
            # By identity: the tuple is replaced whole when a pattern comes or goes.
            if self._last[0] is not view.patterns:
                self._last = (view.patterns, PatternTexts(view.patterns))
            return self._last[1]
