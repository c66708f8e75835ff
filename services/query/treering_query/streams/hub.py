"""One reading of what is new for all who follow.

Each tail and each watch would ask the store the same question after each delivery, differing in nothing but its filter. A hub asks it once:
it stands at one place in each log, and when more is visible it reads from there on with the filters of all its followers, gives each what
it selects, and moves on. A follower that wants what is older reads that by itself and joins when it has come to the hub's place.

What a follower has not taken yet waits in its `Feed`, which is bounded. When a reading fails, all followers are let go: each reads by
itself again from where it stands, so that the one whose filter was at fault meets the error alone, and the others come back.
"""

import asyncio
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog

from treering_query import limits
from treering_query.streams.endless import patiently
from treering_query.streams.feed import Feed
from treering_query.streams.reader import Reader
from treering_query.values.pattern_ids import is_given, relation
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.port import Records
from treering_query.view.snapshot import Snapshot
from treering_runtime import caller

_LOG = structlog.get_logger()

Item = TypeVar("Item")

_VALUE = re.compile(r"\$(f\d+)\b")


class Hub(Generic[Item]):
    """Reads for all feeds that have joined; while there is none it does nothing. For one event loop.

    Args:
        store: What is read.
        reader: Makes the reader, each time that a first follower comes.
        pause_s: Shortest time between two readings, seconds: many small deliveries become one.
    """

    def __init__(self, store: Records, reader: Callable[[], Reader[Item]], pause_s: float = limits.TAIL_PAUSE_S) -> None:
        self._store = store
        self._reader = reader
        self._pause_s = pause_s
        self._round: _Round[Item] | None = None

    def join(self, feed: Feed[Item]) -> None:
        """Feeds it from now on; leave again."""
        # A round that failed is never used again: its place may be in the middle of what it could not read.
        if self._round is None or self._round.over:
            self._round = _Round(self._store, self._reader(), self._pause_s)
        self._round.join(feed)

    def leave(self, feed: Feed[Item]) -> None:
        """Feeds it no more. With the last one, the reading ends."""
        if self._round is not None and self._round.leave(feed):
            self._round = None


class _Round(Generic[Item]):
    """The reading from the coming of a first follower to the leaving of the last, or to an error. Owns its place in each log."""

    def __init__(self, store: Records, reader: Reader[Item], pause_s: float) -> None:
        self._store = store
        self._reader = reader
        self._pause_s = pause_s
        # The place where it begins: whoever joins reads alone up to here.
        with store.snapshot() as snapshot:
            self._next = {position.log_id: position.offset for position in snapshot.seen}
        self._feeds: dict[Feed[Item], None] = {}
        self._is_reading = False
        self.over = False
        # for all who follow: the turns of whoever came first are not spent on it
        # One task owns the place. Followers may come and go at each of its awaits.
        self._task = asyncio.create_task(self._run(), context=caller.as_ourselves())

    def join(self, feed: Feed[Item]) -> None:
        self._feeds[feed] = None
        # The reading that is under way does not know its filter, and nobody knows where it ends: the feed begins after it.
        if not self._is_reading:
            feed.begin(dict(self._next))

    def leave(self, feed: Feed[Item]) -> bool:
        """Returns whether that was the last one."""
        self._feeds.pop(feed, None)
        # Without a follower nobody would need what it reads.
        if not self._feeds:
            self._task.cancel()
        return not self._feeds

    async def _run(self) -> None:
        board = self._store.board
        try:
            while not board.draining:
                # Before the look: what becomes visible during the look changes it, and the wait below returns at once.
                version = board.version
                if not await self._look():
                    # Only when all is read: while it is behind, it reads on without a pause.
                    await asyncio.sleep(self._pause_s)
                    await board.wait_change(version, limits.TAIL_HEARTBEAT_S)
        except Exception:  # noqa: BLE001 - whatever it is, each follower meets it by itself or does without the hub
            _LOG.warning("reading for several tails or watches failed; each reads by itself", followers=len(self._feeds), exc_info=True)
        finally:
            # First: a follower that is woken by the next line joins a new round.
            self.over = True
            for feed in self._feeds:
                feed.lose()

    async def _look(self) -> bool:
        """Reads the next of what is visible; returns whether there is more."""
        with self._store.snapshot() as snapshot:
            seen = {position.log_id: position.offset for position in snapshot.seen}
            # A log that has become visible since the begin is read from its first record on.
            new = [LogRange(log_id, self._next.get(log_id, 0), end) for log_id, end in seen.items() if self._next.get(log_id, 0) < end]
            # The offsets have moved, but nothing that followers want: they are told the place, and no file is read.
            if new and self._reader.has_nothing(snapshot):
                self._publish((), {}, seen)
            elif new and self._feeds:
                # Those of now: one that joins during the reading has a filter that the reading does not know.
                feeds = tuple(self._feeds)
                found, reached = await self._read(snapshot, new, {_key(feed.predicate): feed.predicate for feed in feeds})
                self._publish(feeds, found, reached)
            # By what this snapshot shows: what came later is for the next look.
            is_behind = any(self._next[log_id] < end for log_id, end in seen.items())
            if not is_behind:
                self._reader.finished(snapshot)
        return is_behind

    async def _read(
        self, snapshot: Snapshot, new: Sequence[LogRange], predicates: Mapping[str, Predicate]
    ) -> tuple[dict[str, list[Item]], dict[int, int]]:
        # Set before the first await of the reading: `join` looks at it.
        self._is_reading = True
        try:
            return await patiently(self._store, snapshot, functools.partial(_all, self._reader, new, predicates))
        finally:
            self._is_reading = False

    def _publish(self, feeds: Sequence[Feed[Item]], found: Mapping[str, Sequence[Item]], reached: Mapping[int, int]) -> None:
        """In one step of the loop: whoever joins sees the hub's place and what has been given out change together."""
        # A new dict: feeds keep the one before as their own place.
        self._next = {**self._next, **reached}
        for feed in feeds:
            # It may have left during the reading.
            if feed in self._feeds:
                for item in found[_key(feed.predicate)]:
                    feed.put(item)
        for feed in self._feeds:
            # It came during the reading: from this place on it misses nothing.
            if feed.start is None:
                feed.begin(self._next)
            feed.reached = self._next


def _all(
    reader: Reader[Item], new: Sequence[LogRange], predicates: Mapping[str, Predicate], snapshot: Snapshot
) -> tuple[dict[str, list[Item]], dict[int, int]]:
    """What each filter selects of all logs, and where the reading came to in each."""
    # By filter and not by follower: many followers with one filter cost one column.
    found: dict[str, list[Item]] = {key: [] for key in predicates}
    reached = {}
    for part in new:
        reached[part.log_id], items = reader.read(snapshot, part, list(predicates.values()))
        for key, some in zip(predicates, items, strict=True):
            found[key] += some
    return found, reached


def _key(predicate: Predicate) -> str:
    """The same for filters that select the same."""
    values = [(name, value.tobytes() if is_given(value) else value) for name, value in predicate.parameters.items()]
    return f"{predicate.sql} {sorted(values)}"  # of an array every byte: its repr leaves out most of a long one


def marks(predicates: Sequence[Predicate]) -> tuple[str, dict[str, object]]:
    """A column for each filter, `s0`, `s1`, ..., that is true where it selects a record; and the values that they name."""
    values: dict[str, object] = {}
    columns = []
    for number, predicate in enumerate(predicates):
        # All filters are in one statement: their parameters get names of their own.
        sql = _VALUE.sub(rf"$p{number}_\1", predicate.sql)
        for name in (name for name, value in predicate.parameters.items() if is_given(value)):
            sql = re.sub(rf"\b{relation(name)}\b", relation(f"p{number}_{name}"), sql)
        # A comparison with null is null, which would be neither selected nor left out.
        columns.append(f"coalesce({sql}, false) as s{number}")
        values |= {f"p{number}_{name}": value for name, value in predicate.parameters.items()}
    return ", ".join(columns), values
