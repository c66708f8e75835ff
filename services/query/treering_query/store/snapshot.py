"""One moment of the store, to be asked with SQL."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from treering.v1.log_pb2 import Position
from treering_query.filters import Predicate
from treering_query.store import hot
from treering_query.store.damage import Damage
from treering_query.store.relation import logs_view
from treering_query.store.view import LISTED_SCHEMA, Segment, View

_EVERYTHING = Predicate()
_READS_LOGS = re.compile(r"\blogs\b")

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


class Snapshot:
    """An immutable view of everything that was visible at one moment.

    Cheap to take; a context manager, which gives back its segments (a segment's file stays until no snapshot holds it). Relations:

    - `logs`: the columns of `LOGS_SCHEMA`: those of `treering_runtime.columns.SCHEMA` and `pattern_id`; `offset` is a reserved word
      and is written `"offset"`;
    - `patterns` (pattern_id, service, text, example, count, first_time, last_time, template_id, template_text): one row for each pattern
      with a record;
    - `pattern_counts` (pattern_id, environment, severity, count, first_time, last_time): from statistics and memory, no file is read.

    Times are TIMESTAMP_NS, UTC. For one thread at a time; `interrupt` may come from any.
    """

    def __init__(self, view: View, cursor: duckdb.DuckDBPyConnection, release: Callable[[], None], damage: Damage) -> None:
        self.view = view
        self.damage = damage
        self.seen: list[Position] = view.positions()
        self._cursor = cursor
        self._release = release
        self._lock = threading.Lock()
        self._interrupted = False
        self._registered = False
        self._segments: tuple[Segment, ...] | None = None
        self._closed = False

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, within: Predicate = _EVERYTHING) -> pa.Table:
        """Runs one SELECT of ours and returns its rows. Blocks: call it on a thread, through `Store.run`.

        Args:
            sql: The statement. Values from outside are parameters, never part of it.
            parameters: In order for `?`, by name for `$name`; DuckDB wants each of them used.
            within: Segments that cannot fulfil it are left out of `logs`; the statement itself must hold the condition.

        Raises:
            DamagedSegmentError: The statement reads `logs`, and a segment that is left in is known to be damaged.
        """
        with self._lock:
            self._prepare()
            if _READS_LOGS.search(sql):
                self._view_logs(within)
            if self._interrupted:
                raise duckdb.InterruptException("stopped before it began")
            return self._cursor.sql(sql, params=parameters or None).to_arrow_table()

    def register(self, name: str, table: pa.Table) -> None:
        """Makes a table of ours joinable under a name, for this snapshot only."""
        with self._lock:
            self._cursor.register(name, table)

    def segments(self, within: Predicate = _EVERYTHING) -> tuple[Segment, ...]:
        """The sealed segments that may hold a record that fulfils `within`."""
        return tuple(segment for segment in self.view.segments if segment.may_match(within))

    def interrupt(self) -> None:
        """Stops the running query, if any, and refuses further ones."""
        self._interrupted = True
        self._cursor.interrupt()

    def close(self) -> None:
        """Gives back segments and memory; a running query is waited for."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._cursor.close()
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _prepare(self) -> None:
        if not self._registered:
            self._cursor.register("_hot", hot.as_table(self.view.hot))
            self._cursor.register("_hot_counts", hot.counts(self.view.hot))
            self._cursor.register("_sealed_counts", self.view.sealed_counts)
            self._cursor.register("_patterns", pa.concat_tables([LISTED_SCHEMA.empty_table(), *self.view.patterns]))
            self._cursor.execute(_COUNTS_VIEW)
            self._cursor.execute(_PATTERNS_VIEW)
            self._registered = True

    def _view_logs(self, within: Predicate) -> None:
        segments = self.segments(within)
        self.damage.refuse(segments)
        if segments != self._segments:
            self._cursor.execute(logs_view([str(segment.path) for segment in segments], hot.LOGS_SCHEMA.names))
            self._segments = segments
