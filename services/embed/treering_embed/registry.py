"""The registry of patterns, in SQLite: what is known, since when, and which of it is in the index.

Progress in the logs and the patterns first seen up to there are committed together, with `synchronous=FULL`: what this service calls
releasable may be deleted from the log, so it must survive a power cut. SQLite keeps integers of 64 bits with a sign; pattern and log
ids have none, and are stored as the same bits.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from treering_embed.limits import SQLITE_BUSY_S
from treering_runtime.errors import StartError
from treering_runtime.limits import QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Quarantined, Selection

_SCHEMA = """
create table if not exists meta (key text primary key, value blob not null) without rowid;
create table if not exists progress (log_id integer primary key, next_offset integer not null);
create table if not exists patterns (
    number integer primary key,          -- order of registration
    pattern_id integer not null unique,
    mask_version integer not null,
    service text not null,
    text text not null,                  -- masked message
    example text not null,               -- message of the first record
    log_id integer not null,
    first_offset integer not null,
    last_offset integer not null,        -- end of the last batch that held it
    day integer not null,                -- of registration, days since 1970
    state integer not null               -- State
);
create index if not exists pending on patterns (number) where state = 0;
create table if not exists quarantine (
    log_id integer not null, first_offset integer not null, record_count integer not null, reason text not null, payload blob not null,
    arrival_time integer not null default 0,  -- nanoseconds since 1970
    primary key (log_id, first_offset)
);
"""


RegistryFault = sqlite3.OperationalError
"""The registry cannot be read or written at the moment (disk, lock): worth another attempt later."""


class State(IntEnum):
    """What has become of a registered pattern."""

    PENDING = 0
    """Waits for its vector."""
    INDEXED = 1
    """Its vector is in the index, durably."""
    UNREADABLE = 2
    """The model gives no finite vector for it; found by keyword only."""


@dataclass(frozen=True)
class Pattern:
    """A pattern as registered: its first record's position and message."""

    pattern_id: int
    service: str
    text: str
    example: str
    log_id: int
    first_offset: int


@dataclass(frozen=True)
class Summary:
    """What a service must know of its registry when it starts; rebuilt by one pass over it."""

    pattern_ids: frozenset[int]
    pending: list[tuple[int, int, int]]
    """(pattern id, log id, first offset), in order of registration."""
    next_offsets: dict[int, int]
    quarantined: dict[int, int]
    registered_today: dict[str, int]
    """New patterns of the given day, by service."""


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _unsigned(number: int) -> int:
    return number & ((1 << 64) - 1)


class Registry:
    """An open registry. Belongs to one thread at a time (its connection is not bound to one).

    Raises:
        StartError: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=SQLITE_BUSY_S)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            self._db.executescript(_SCHEMA)
            self._add_arrival_time()
        except sqlite3.DatabaseError as error:
            raise StartError(f"{path}: {error}; restore the file, or move it away and let it be rebuilt from the log") from error

    def _add_arrival_time(self) -> None:
        """A registry of an earlier version has its quarantine without it."""
        if "arrival_time" not in {row[1] for row in self._db.execute("pragma table_info(quarantine)")}:
            self._db.execute("alter table quarantine add column arrival_time integer not null default 0")

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def summary(self, day: int) -> Summary:
        """What is in the registry; `day` in days since 1970 decides what counts as registered today."""
        rows = self._db.execute
        pending = rows("select pattern_id, log_id, first_offset from patterns where state = 0 order by number")
        return Summary(
            pattern_ids=frozenset(_unsigned(row[0]) for row in rows("select pattern_id from patterns")),
            pending=[(_unsigned(row[0]), _unsigned(row[1]), row[2]) for row in pending],
            next_offsets={_unsigned(row[0]): row[1] for row in rows("select log_id, next_offset from progress")},
            quarantined={_unsigned(row[0]): row[1] for row in rows("select log_id, sum(record_count) from quarantine group by log_id")},
            registered_today=dict(rows("select service, count(*) from patterns where day = ? group by service", (day,))),
        )

    def commit(
        self,
        next_offsets: Mapping[int, int],
        patterns: Sequence[Pattern],
        last_seen: Mapping[int, int],
        quarantined: Sequence[Quarantined],
        *,
        day: int,
        mask_version: int,
        read_again: Sequence[Quarantined] = (),
    ) -> None:
        """Stores progress, new patterns, where known ones were seen, and what could not be read: all or nothing, durable on return.

        What of `read_again` is not in `quarantined` leaves the quarantine in the same step.
        """
        with _Transaction(self._db) as write:
            write.executemany(
                "insert into patterns (pattern_id, mask_version, service, text, example, log_id, first_offset, last_offset, day, state)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, 0) on conflict do nothing",
                (
                    (
                        _signed(p.pattern_id),
                        mask_version,
                        p.service,
                        p.text,
                        p.example,
                        _signed(p.log_id),
                        p.first_offset,
                        p.first_offset,
                        day,
                    )
                    for p in patterns
                ),
            )
            write.executemany(
                "update patterns set last_offset = max(last_offset, ?) where pattern_id = ?",
                ((end, _signed(key)) for key, end in last_seen.items()),
            )
            _set_aside(write, quarantined, read_again)
            write.executemany("insert or replace into progress values (?, ?)", ((_signed(key), end) for key, end in next_offsets.items()))

    def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside above `after`, in the order of (signed) log and offset."""
        log_id, first = (_signed(after[0]), after[1]) if after else (-(1 << 63), -1)
        rows = self._db.execute(
            "select log_id, first_offset, record_count, arrival_time, reason, payload from quarantine"
            " where (log_id, first_offset) > (?1, ?2) and (?3 = 0 or log_id = ?3) and first_offset + record_count > ?4"
            " and (?5 = 0 or first_offset < ?5) order by log_id, first_offset",
            (log_id, first, _signed(selection.log_id), selection.first_offset, selection.end_offset),
        )
        page, size = [], 0
        for key, offset, count, arrival, reason, payload in rows:
            page.append(Quarantined(_unsigned(key), offset, count, _unsigned(arrival), reason, payload))
            size += len(payload) + len(reason)
            if size >= QUARANTINE_PAGE_BYTES:
                break
        rows.close()
        return page

    def pending(self, limit: int) -> list[Pattern]:
        """The patterns that wait longest for their vector."""
        found = self._db.execute(
            "select pattern_id, service, text, example, log_id, first_offset from patterns where state = 0 order by number limit ?",
            (limit,),
        )
        return [Pattern(_unsigned(row[0]), row[1], row[2], row[3], _unsigned(row[4]), row[5]) for row in found]

    def mark(self, states: Mapping[int, State], frequencies: bytes) -> None:
        """Sets states of patterns and keeps the wordpiece counts that go with them."""
        with _Transaction(self._db) as write:
            write.executemany(
                "update patterns set state = ? where pattern_id = ?", ((int(state), _signed(key)) for key, state in states.items())
            )
            write.execute("insert or replace into meta values ('frequencies', ?)", (frequencies,))

    def requeue(self, pattern_ids: Iterable[int]) -> None:
        """Sends patterns back to wait for their vectors."""
        with _Transaction(self._db) as write:
            write.executemany("update patterns set state = 0 where pattern_id = ?", ((_signed(key),) for key in pattern_ids))

    def requeue_all(self, index_identity: str) -> None:
        """Sends every pattern back, for an index of another identity; counts of wordpieces start anew."""
        with _Transaction(self._db) as write:
            write.execute("update patterns set state = 0")
            write.execute("delete from meta where key = 'frequencies'")
            write.execute("insert or replace into meta values ('index_identity', ?)", (index_identity.encode(),))

    def indexed_ids(self) -> set[int]:
        """The patterns that should be in the index."""
        return {_unsigned(row[0]) for row in self._db.execute("select pattern_id from patterns where state = 1")}

    def states(self) -> dict[int, State]:
        """Every registered pattern and what has become of it."""
        return {_unsigned(row[0]): State(row[1]) for row in self._db.execute("select pattern_id, state from patterns")}

    def index_identity(self) -> str:
        """The identity of the index that states speak of; empty before the first one."""
        return self._meta("index_identity").decode()

    def frequencies(self) -> bytes:
        """What `mark` kept last; empty before the first time."""
        return self._meta("frequencies")

    def _meta(self, key: str) -> bytes:
        row = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else b""

    def forget(self, pattern_ids: Sequence[int], below: Mapping[int, int]) -> list[int]:
        """Deletes patterns that were last seen below the given offsets of their logs; returns those that were deleted."""
        gone: list[int] = []
        with _Transaction(self._db) as write:
            for log_id, end in below.items():
                for key in pattern_ids:
                    found = write.execute(
                        "delete from patterns where pattern_id = ? and log_id = ? and last_offset <= ? returning pattern_id",
                        (_signed(key), _signed(log_id), end),
                    ).fetchall()
                    gone += [key for _ in found]
        return gone


def _set_aside(write: sqlite3.Connection, quarantined: Sequence[Quarantined], read_again: Sequence[Quarantined]) -> None:
    write.executemany(
        "delete from quarantine where log_id = ? and first_offset = ?", ((_signed(q.log_id), q.first_offset) for q in read_again)
    )
    write.executemany(
        "insert or replace into quarantine (log_id, first_offset, record_count, arrival_time, reason, payload) values (?, ?, ?, ?, ?, ?)",
        ((_signed(q.log_id), q.first_offset, q.record_count, _signed(q.arrival_time_unix_nano), q.reason, q.payload) for q in quarantined),
    )


class _Transaction:
    """Begin, then commit, or roll back if anything is raised."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("begin immediate")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")
