"""Calls the parts in turn: look for files, read what has come, send it, wait."""

import contextlib
import math
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from treering_cli.choosing import Choice
from treering_cli.following.files import Files, Say
from treering_cli.following.positions import Position, Positions
from treering_cli.following.shipping import MAX_BYTES, MAX_RECORDS, Ref, Shipping, Stopped
from treering_cli.following.tracked import Clock, Taken, Tracked

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogRecord

POLL_S = 0.4
"""How often files are looked at while nothing comes, seconds. With the waiting for joining lines a new record leaves within a second."""

_SHARE_OF_TIME = 20
"""Looking takes at most one part in so many of a processor, however many files there are."""

_LONGEST_POLL_S = 2.0
"""But no less often than this, seconds."""

_CLOSING_S = 30.0
"""How long a file that was renamed is still read, seconds since it last grew: its writer may hold it open."""

_SEARCH_S = 60.0
"""How long the rest of a file that is no longer in its place is looked for, seconds: it may be in the making."""

_AFTER_S = 15.0
"""How long after a rotation files are looked for that came and went behind it, seconds."""

_REST_S = 3_600.0
"""A reader that has been idle for so long is given up: it reads times without a year by the date that it was made at."""

_MOST_ROUNDS = 20
_MAX_RECORD_BYTES = 1024 * 1024


@dataclass
class _Batch:
    """What is read and not sent yet."""

    records: "list[LogRecord]" = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it must be sent before more is read."""
        return len(self.records) >= MAX_RECORDS or self.size >= MAX_BYTES


class FileFollower:
    """Reads files from their positions on and sends what is new.

    Args:
        paths: Gives the paths that are to be read, each time anew.
        files: What is known of them.
        positions: Where they are read to.
        shipping: What sends.
        choice: What is left out.
        stop: Ends `follow`.
        say: Is told what a person wants to know.
        clock: Of its waiting, seconds.

    Attributes:
        records: Records that were read.
        by_path: The same by path.
        too_large: Records over the largest that ingest takes.
        problems: What could not be read, in words.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[str]],
        *,
        files: Files,
        positions: Positions,
        shipping: Shipping,
        choice: Choice,
        stop: threading.Event,
        say: Say,
        clock: Clock = time.monotonic,
    ) -> None:
        self._clock = clock
        self._paths = paths
        self._files = files
        self._positions = positions
        self._shipping = shipping
        self._choice = choice
        self._stop = stop
        self._say = say
        self._live: dict[str, Tracked] = {}
        self._closing: list[Tracked] = []
        self._wanted: set[str] = set()
        self._searched_since: dict[int, float] = {}
        self._after: dict[int, tuple[Position, float]] = {}
        self._looked_at = -math.inf
        self._batch = _Batch()
        self.records = self.too_large = 0
        self.by_path: Counter[str] = Counter()
        self.problems: list[str] = []
        _allow_many_files()

    def follow(self) -> None:
        """Reads what is there and what comes, until `stop`."""
        with contextlib.suppress(Stopped):
            self.begin()
            while not self._stop.is_set():
                # Of the processor, not of the clock: on a busy machine a look takes long and costs little.
                started = time.process_time()
                if not self.turn():
                    spent = time.process_time() - started
                    self._stop.wait(min(_LONGEST_POLL_S, max(POLL_S, spent * _SHARE_OF_TIME)))
        for tracked in self._all():
            self._files.closed(tracked)

    def turn(self) -> bool:
        """Looks for files when it is time, reads and sends what has come; False when nothing has.

        Raises:
            Stopped: It was stopped before everything was sent.
        """
        now = self._clock()
        if now - self._looked_at < POLL_S:
            return self._read()
        self._looked_at = now
        self._look(now)
        has_read = self._read()
        # Behind the reading: a packed copy of what was not read yet would not be known as one.
        self._look_for_later_parts(now)
        return has_read

    def read_once(self) -> None:
        """Reads what is there now, to the end of each file."""
        with contextlib.suppress(Stopped):
            self.begin()
            for path in self._paths():
                if not self._stop.is_set() and (tracked := self._files.open(path)):
                    self.problems += [f"{path}: {problem}"] if (problem := tracked.content.problem()) else []
                    self._closing = [tracked]
                    tracked.finish()
                    while self._closing and not self._stop.is_set():
                        self._read()

    def begin(self) -> None:
        """Sends what was on its way when the last run ended.

        Raises:
            Stopped: It was stopped before that was stored.
        """
        # Before the positions are looked at: those of what was on its way hold only when it is stored.
        self._shipping.resume()
        self._files.load()

    def _all(self) -> list[Tracked]:
        """What is open; older parts first, so that records come in the order in which they were written."""
        return [*self._closing, *self._live.values()]

    # What is there

    def _look(self, now: float) -> None:
        """Opens new files, and follows those that were renamed, truncated or taken away."""
        for path in self._paths():
            self._wanted.add(path)
            tracked = self._live.get(path)
            if tracked is not None and self._is_replaced(tracked):
                self._replaced(path, now)
            elif tracked is not None and not tracked.is_intact():
                self._truncated(path, now)
            if path not in self._live and (opened := self._files.open(path)):
                self._live[path] = opened
                self._say(f"{path}: read from byte {opened.start.offset:,} on")
        self._look_for_rests(now)

    def _is_replaced(self, tracked: Tracked) -> bool:
        """Whether the path leads to another file, or to none."""
        try:
            status = Path(tracked.path).stat()
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != (tracked.content.device, tracked.content.inode)

    def _replaced(self, path: str, now: float) -> None:
        tracked = self._live.pop(path)
        tracked.grown_at = max(tracked.grown_at, now)
        self._closing.append(tracked)
        self._after[tracked.start.key] = (tracked.start, now)

    def _truncated(self, path: str, now: float) -> None:
        """The file begins anew. What was in it and not read is in a copy, if there is one."""
        # What was read is sent already; the position behind it is where the copy is read on.
        tracked = self._live.pop(path)
        former = tracked.start
        self._say(f"{path}: truncated, after it was read to byte {tracked.read_to:,}; read from its beginning")
        rest = self._files.rest_of(former) if former.offset else None
        if rest is not None:
            self._files.closed(tracked)
        else:
            tracked.abandon()
        self._closing.append(rest or tracked)
        self._after[former.key] = (former, now)

    def _look_for_rests(self, now: float) -> None:
        for position in self._files.lost(self._wanted):
            since = self._searched_since.setdefault(position.key, now)
            if rest := self._files.rest_of(position):
                self._closing.append(rest)
                self._after[position.key] = (position, now)
            elif now - since > _SEARCH_S:
                self._say(f"{position.path}: the file that was read to byte {position.offset:,} is nowhere; more of it cannot be read")
                self._files.forget(position)

    def _look_for_later_parts(self, now: float) -> None:
        for key, (position, since) in list(self._after.items()):
            self._closing += self._files.came_after(position, self._wanted)
            # Looked for again and again: a file that is being packed is taken when it is whole.
            if now - since > _AFTER_S:
                del self._after[key]

    # What has come

    def _read(self) -> bool:
        """Reads and sends; False when nothing has come."""
        before = self.records
        for tracked in self._all():
            for _ in range(_MOST_ROUNDS):
                taken = tracked.take(MAX_RECORDS - len(self._batch.records), MAX_BYTES - self._batch.size)
                self._take(tracked, taken)
                if self._batch.is_full:
                    self._ship()
                elif not taken and not tracked.release_held(self._clock()):
                    break
        self._ship()
        self._end_closing(self._clock())
        return self.records > before

    def _end_closing(self, now: float) -> None:
        for tracked in self._live.values():
            if now - tracked.grown_at > _REST_S:
                tracked.rest()
        for tracked in list(self._closing):
            if tracked.ended:
                self._closing.remove(tracked)
                self._files.closed(tracked)
            elif now - tracked.grown_at > _CLOSING_S:
                tracked.finish()

    def _take(self, tracked: Tracked, taken: list[Taken]) -> None:
        for line, record, size in taken:
            self.records += 1
            self.by_path[tracked.path] += 1
            if not self._choice.takes(record, line):
                continue
            if size > _MAX_RECORD_BYTES:
                self.too_large += 1
                self._say(f"{tracked.path}:{line}: rejected: the record is over 1 MiB; split it")
                continue
            self._batch.records.append(record)
            self._batch.refs.append((tracked.path, line))
            self._batch.size += size

    def _ship(self) -> None:
        """Sends what was read, and moves the positions of whatever was read further.

        Raises:
            Stopped: It was stopped before; nothing may be sent then.
        """
        # Of every file: a batch holds records of several, and each position must hold for the records that are sent.
        moved = [position for each in self._all() if each.has_moved and (position := each.position()).offset]
        batch, self._batch = self._batch, _Batch()
        if batch.records:
            self._shipping.ship(batch.records, batch.refs, moved)
        elif moved:
            self._positions.move(moved)
        self._files.moved(moved)


def _allow_many_files() -> None:
    """Raises the limit of open files as far as this process may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
