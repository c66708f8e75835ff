"""One moment of the store, to be asked with SQL."""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from treering.v1.log_pb2 import Position
from treering_query.sealed.damage import Damage
from treering_query.values.predicate import Predicate
from treering_query.values.segment import Segment
from treering_query.view import hot
from treering_query.view.session import Session, names_hot
from treering_query.view.view import View

_EVERYTHING = Predicate()

_IDLE_SESSIONS = 4
"""Sessions that wait for the next question to one view: as many as run at a time unless told otherwise."""


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

    def __init__(self, view: View, connect: Callable[[], duckdb.DuckDBPyConnection], release: Callable[[], None], damage: Damage) -> None:
        self.view = view
        self.damage = damage
        self.seen: list[Position] = view.positions()
        self.last_read: tuple[Segment, ...] = ()
        """The segments that the last statement read: where to look for damage when it failed."""
        self.read_segments: dict[int, Segment] = {}
        """The segments that any statement read, by id."""
        self.has_read_hot = False
        """Whether any statement read what is in memory."""
        self.waited_s = 0.0
        """How long work on it waited for its turn, seconds."""
        self._connect = connect
        self._release = release
        # Held for a whole statement: `close` waits for it, so a file is never given back under a reader.
        self._lock = threading.Lock()
        self._interrupted = False
        self._session: Session | None = None
        self._closed = False

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, within: Predicate = _EVERYTHING) -> pa.Table:
        """Runs one SELECT of ours and returns its rows. Blocks: call it on a thread, through `Store.run`.

        Args:
            sql: The statement. Values from outside are parameters, never part of it.
            parameters: In order for `?`, by name for `$name`; DuckDB wants each of them used. An array of ids is a relation instead, see
                `pattern_ids.relation`.
            within: Segments that cannot fulfil it are left out of `logs`; the statement itself must hold the condition.

        Raises:
            DamagedSegmentError: The statement reads `logs`, and a segment that is left in is known to be damaged.
        """
        with self._lock:
            session = self._opened()
            # An interrupt between two statements of one question: DuckDB forgets it, this flag does not.
            if self._interrupted:
                raise duckdb.InterruptException("stopped before it began")
            self.has_read_hot |= names_hot(sql)
            return session.query(self.view, lambda: self.reads(self.segments(within)), sql, parameters)

    def register(self, name: str, table: pa.Table) -> None:
        """Makes a table of ours joinable under a name, for this snapshot only."""
        with self._lock:
            self._opened().register(name, table)

    def segments(self, within: Predicate = _EVERYTHING) -> tuple[Segment, ...]:
        """The sealed segments that may hold a record that fulfils `within`."""
        return tuple(segment for segment in self.view.segments if segment.may_match(within))

    def hot_records(self) -> pa.Table:
        """What is in memory, to be read by Arrow."""
        self.has_read_hot = True
        return hot.as_table(self.view.hot)

    def reads(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """A statement is about to read these segments; returns them.

        Raises:
            DamagedSegmentError: One of them is known to be damaged.
        """
        # Only what this statement reads: damage elsewhere is no reason to refuse it.
        self.damage.refuse(segments)
        # Before it runs: when it fails, this is where to look.
        self.last_read = segments
        self.read_segments.update((segment.segment_id, segment) for segment in segments)
        return segments

    def interrupt(self) -> None:
        """Stops the running query, if any, and refuses further ones."""
        # The flag first: a session that is opened after this line runs nothing.
        self._interrupted = True
        if session := self._session:
            session.interrupt()

    def close(self) -> None:
        """Gives back segments and memory; a running query is waited for."""
        with self._lock:
            # Twice is allowed: an error path and a `with` may both do it.
            if not self._closed:
                self._closed = True
                # The session first: its relations read files that `_release` allows to be deleted.
                self._part()
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> Session:
        if self._session is None:
            try:
                self._session = self.view.idle.pop()
            except IndexError:
                self._session = Session(self._connect())
        return self._session

    def _part(self) -> None:
        session = self._session
        if session is None:
            return
        # An interrupt may still be on its way in the database; the next question must not get it.
        if self._interrupted or len(self.view.idle) >= _IDLE_SESSIONS:
            session.close()
        else:
            session.part()
            self.view.idle.append(session)
