"""The registry of patterns, in SQLite: what is known, since when, and which of it is in the index.

Progress in the logs and the patterns first seen up to there are committed together, with `synchronous=FULL`: what this service calls
releasable may be deleted from the log, so it must survive a power cut. SQLite keeps integers of 64 bits with a sign; pattern and log
ids have none, and are stored as the same bits.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from treering_embed.limits import SQLITE_BUSY_S
from treering_embed.registry import keyword_only, other_logs
from treering_embed.registry.database import Transaction, read_meta, signed, unsigned, write_meta
from treering_embed.registry.keyword_only import KeywordOnly
from treering_embed.registry.schema import SCHEMA
from treering_runtime.errors import StartError
from treering_runtime.limits import QUARANTINE_ENTRY_BYTES, QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Quarantined, QuarantineSelection

RegistryFault = sqlite3.OperationalError
"""The registry cannot be read or written at the moment (disk, lock): worth another attempt later."""


class State(IntEnum):
    """What has become of a registered pattern."""

    PENDING = 0
    """Waits for its vector."""
    INDEXED = 1
    """Its vector is in the index, durably."""
    UNREADABLE = 2
    """The model gives no vector for it; found by keyword only."""


@dataclass(frozen=True)
class RegisteredPattern:
    """A pattern as registered: its first record's position and message."""

    pattern_id: int
    service: str
    text: str
    example: str
    log_id: int
    first_offset: int


@dataclass
class Refused:
    """Patterns that a cap kept out."""

    pattern_ids: list[int] = field(default_factory=list)
    unnamed: int = 0
    """Further ones that are not remembered, each as often as it was seen."""

    def join(self, newer: "Refused") -> None:
        """Adds what was refused after it."""
        self.pattern_ids += newer.pattern_ids
        self.unnamed += newer.unnamed


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
    established: frozenset[str] = frozenset()
    """Services that had patterns before that day."""
    evicted: int = 0
    """Patterns that ever gave way to new ones."""
    links: dict[int, int] = field(default_factory=dict)
    """The log's chain at the next offset, by log_id; not of progress that an earlier version wrote."""


class Registry:
    """An open registry. Belongs to one thread at a time (its connection is not bound to one).

    Raises:
        StartError: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Autocommit: `Transaction` alone begins transactions. The thread that opens the connection is not the one that uses it later.
            self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=SQLITE_BUSY_S)
            # In WAL mode a person with `sqlite3` reads without holding up commits.
            self.db.execute("pragma journal_mode=wal")
            # In WAL mode `normal` does not sync at a commit: the last commits could be lost in a power cut.
            self.db.execute("pragma synchronous=full")
            self.db.execute("pragma fullfsync=on")  # as `treering_runtime.fsync`; SQLite ignores it outside of macOS
            self.db.executescript(SCHEMA)
            # All tables first: the additions below ask for their columns.
            self._add_columns()
            self.keyword_only = KeywordOnly(self.db)
            self._add_keyword_only()
            # One step: a table that is there but empty would say that its patterns were seen in one log each.
            with Transaction(self.db) as write:
                other_logs.add_to(write)
        # Includes `OperationalError`: at the start nothing can be tried again later, and the operator is present.
        except sqlite3.DatabaseError as error:
            raise StartError(f"{path}: {error}; restore the file, or move it away and let it be rebuilt from the log") from error

    def _add_columns(self) -> None:
        """A registry of an earlier version is without them."""
        self._add_column("quarantine", "arrival_time", "integer not null default 0")
        self._add_column("progress", "link", "integer")
        # One step: after a crash between the two, old patterns would pass for never seen and give way first.
        with Transaction(self.db):
            # The best guess for old rows: seen on the day of their registration.
            if self._add_column("patterns", "last_seen", "integer not null default 0"):
                self.db.execute("update patterns set last_seen = day * 86400")

    def _add_keyword_only(self) -> None:
        """An earlier version kept no ids of the patterns that gave way."""
        # The table is asked for, not made by `if not exists` in the schema: its absence says that this file is of an earlier version.
        if not self.db.execute("select 1 from sqlite_master where name = 'keyword_only'").fetchone():
            # One step: the table says that the count is in it.
            with Transaction(self.db):
                self.db.execute(keyword_only.SCHEMA)
                self.keyword_only.add((), unnamed=_evicted(self.db))

    def _add_column(self, table: str, column: str, kind: str) -> bool:
        # SQLite has no `add column if not exists`.
        if column in {row[1] for row in self.db.execute(f"pragma table_info({table})")}:
            return False
        self.db.execute(f"alter table {table} add column {column} {kind}")
        return True

    def close(self) -> None:
        """Closes the file."""
        self.db.close()

    def summary(self, day: int) -> Summary:
        """What is in the registry; `day` in days since 1970 decides what counts as registered today."""
        rows = self.db.execute
        pending = rows("select pattern_id, log_id, first_offset from patterns where state = 0 order by number")
        return Summary(
            pattern_ids=self.pattern_ids(),
            pending=[(unsigned(row[0]), unsigned(row[1]), row[2]) for row in pending],
            next_offsets={unsigned(row[0]): row[1] for row in rows("select log_id, next_offset from progress")},
            quarantined={unsigned(row[0]): row[1] for row in rows("select log_id, sum(record_count) from quarantine group by log_id")},
            registered_today=dict(rows(_REGISTERED, (day, day))),
            established=self.established(day),
            evicted=_evicted(self.db),
            links={unsigned(row[0]): unsigned(row[1]) for row in rows("select log_id, link from progress where link is not null")},
        )

    def established(self, day: int) -> frozenset[str]:
        """Services that had patterns before a day, in days since 1970."""
        return frozenset(row[0] for row in self.db.execute("select distinct service from patterns where day < ?", (day,)))

    def pattern_ids(self) -> frozenset[int]:
        """Every registered pattern."""
        return frozenset(unsigned(row[0]) for row in self.db.execute("select pattern_id from patterns"))

    def kinds(self) -> Iterator[tuple[int, str, str]]:
        """Id, service and text of every registered pattern."""
        return ((unsigned(key), service, text) for key, service, text in self.db.execute("select pattern_id, service, text from patterns"))

    def commit(
        self,
        next_offsets: Mapping[int, int],
        patterns: Sequence[RegisteredPattern],
        last_seen: Mapping[tuple[int, int], int],
        quarantined: Sequence[Quarantined],
        *,
        day: int,
        now: int,
        mask_version: int,
        read_again: Sequence[Quarantined] = (),
        links: Mapping[int, int] | None = None,
        refused: Refused | None = None,
    ) -> None:
        """Stores progress, new patterns and refused ones, where known ones were seen, and what could not be read: all or nothing, durable.

        What of `read_again` is not in `quarantined` leaves the quarantine in the same step. `last_seen` has, by log id and pattern id, the
        end of the last batch.
        """
        # Progress and patterns in one transaction: the records below the progress never come again, nor do the patterns in them.
        with Transaction(self.db) as write:
            # A batch may be written twice: when its write is cancelled, it goes back to what is uncommitted.
            write.executemany(
                "insert into patterns (pattern_id, mask_version, service, text, example, log_id, first_offset, last_offset, day, state,"
                " last_seen) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) on conflict do nothing",
                (
                    (
                        signed(p.pattern_id),
                        mask_version,
                        p.service,
                        p.text,
                        p.example,
                        signed(p.log_id),
                        p.first_offset,
                        p.first_offset,
                        day,
                        now,
                    )
                    for p in patterns
                ),
            )
            # After the insert: patterns of this batch are in `last_seen`, too.
            other_logs.note(write, last_seen)
            # `max`, as a clock may be set back between two runs.
            write.executemany(
                "update patterns set last_seen = max(last_seen, ?) where pattern_id = ?", ((now, signed(key)) for _, key in last_seen)
            )
            if refused:
                self.keyword_only.add(refused.pattern_ids, refused.unnamed)
            # after: one that was refused and then found room in the same batch is registered
            self.keyword_only.remove(pattern.pattern_id for pattern in patterns)
            _set_aside(write, quarantined, read_again)
            # A log whose link is not known keeps none: an old one would belong to another offset.
            known = {key: signed(link) for key, link in (links or {}).items()}
            rows = ((signed(key), end, known.get(key)) for key, end in next_offsets.items())
            write.executemany("insert or replace into progress (log_id, next_offset, link) values (?, ?, ?)", rows)

    def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside above `after`, in the order of (signed) log and offset."""
        # The page begins above `after` by primary key: rows that leave between two pages shift nothing.
        log_id, first = (signed(after[0]), after[1]) if after else (-(1 << 63), -1)
        rows = self.db.execute(
            "select log_id, first_offset, record_count, arrival_time, reason, payload from quarantine"
            " where (log_id, first_offset) > (?1, ?2) and (?3 = 0 or log_id = ?3) and first_offset + record_count > ?4"
            " and (?5 = 0 or first_offset < ?5) order by log_id, first_offset",
            (log_id, first, signed(selection.log_id), selection.first_offset, selection.end_offset),
        )
        # At least one row goes into a page, also one that is larger than a page: an empty page means the end.
        page, size = [], 0
        for key, offset, count, arrival, reason, payload in rows:
            page.append(Quarantined(unsigned(key), offset, count, unsigned(arrival), reason, payload))
            size += len(payload) + len(reason) + QUARANTINE_ENTRY_BYTES
            if size >= QUARANTINE_PAGE_BYTES:
                break
        # An open statement keeps its snapshot, and SQLite cannot reset its write-ahead log below a snapshot.
        rows.close()
        return page

    def states(self) -> dict[int, State]:
        """Every registered pattern and what has become of it."""
        return {unsigned(row[0]): State(row[1]) for row in self.db.execute("select pattern_id, state from patterns")}

    def forget(self, pattern_ids: Sequence[int], below: Mapping[int, int]) -> list[int]:
        """Deletes patterns that were last seen below the given offset of each log that had them; returns those that were deleted."""
        # One host parameter each, whatever the number of ids and of logs: SQLite limits how many a statement has.
        keys = json.dumps([signed(key) for key in pattern_ids])
        # An offset over 2^63 - 1 would become a floating-point number in SQLite's JSON.
        ends = json.dumps([(signed(log_id), min(end, _LARGEST)) for log_id, end in below.items()])
        with Transaction(self.db) as write:
            # one statement: one for each pattern and log would hold the only thread of the registry for hours
            found = write.execute(other_logs.FORGET, {"keys": keys, "ends": ends}).fetchall()
            return _all_gone(write, found)

    def evict(self, count: int, proven_places: int) -> list[int]:
        """Deletes patterns that were not seen for longest; returns those that were deleted, `count` if there are as many.

        Patterns that were seen on one day only go first, as long as they fill more than what `proven_places` leaves them: however many new
        patterns a sender makes, those that come back keep their places. A clock that jumps changes at most which go first.
        """
        with Transaction(self.db) as write:
            # Counted inside the transaction, so that the deletes below meet the same rows.
            (total,) = write.execute("select count(*) from patterns").fetchone()
            (fleeting,) = write.execute(_COUNT_FLEETING).fetchone()
            first = min(count, max(0, fleeting - max(0, total - proven_places)))
            # Fleeting ones first, as far as they exceed their part; then whatever was not seen for longest.
            found = write.execute(_EVICT.format(_FLEETING), (first,)).fetchall()
            found += write.execute(_EVICT.format("true"), (count - len(found),)).fetchall()
            # In the same transaction: after a crash the number of evicted patterns is that of the deletes.
            write_meta(write, _EVICTED, str(_evicted(write) + len(found)).encode())
            gone = _all_gone(write, found)
            self.keyword_only.add(gone)
            return gone


_FLEETING = "last_seen / 86400 <= day"
"""A pattern that was not seen on a later day than that of its registration."""

_COUNT_FLEETING = "select count(*) from patterns where last_seen / 86400 <= day"

_EVICT = (
    "delete from patterns where number in (select number from patterns where {} order by last_seen, number limit ?) returning pattern_id"
)


_REGISTERED = (
    "select service, sum(count) from (select service, count(*) as count from patterns where day = ? group by service"
    " union all select service, count from gone where day = ?) group by service"
)
"""How many patterns of a service were registered on a day, those that are gone again included."""

_EVICTED = "evicted_patterns"


def _evicted(db: sqlite3.Connection) -> int:
    return int(read_meta(db, _EVICTED) or b"0")


def _all_gone(write: sqlite3.Connection, found: Sequence[tuple[int]]) -> list[int]:
    """The ids of patterns that were deleted; deletes what else was known of them."""
    # No foreign keys do this. A row left in `successor` would mark the pattern as done there when it is registered again.
    for table in ("successor", "set_aside", "other_logs"):
        write.executemany(f"delete from {table} where pattern_id = ?", found)  # noqa: S608
    # Caps are of a day: what went of an earlier one counts no more.
    write.execute("delete from gone where day < (select max(day) from gone)")
    return [unsigned(key) for (key,) in found]


_LARGEST = 2**63 - 1
"""The largest number that SQLite holds; no log gets there."""


def _set_aside(write: sqlite3.Connection, quarantined: Sequence[Quarantined], read_again: Sequence[Quarantined]) -> None:
    # Delete before insert: what could not be read again is in both lists, and must stay.
    write.executemany(
        "delete from quarantine where log_id = ? and first_offset = ?", ((signed(q.log_id), q.first_offset) for q in read_again)
    )
    write.executemany(
        "insert or replace into quarantine (log_id, first_offset, record_count, arrival_time, reason, payload) values (?, ?, ?, ?, ?, ?)",
        ((signed(q.log_id), q.first_offset, q.record_count, signed(q.arrival_time_unix_nano), q.reason, q.payload) for q in quarantined),
    )
