"""The database of positions: where each file was read to, and the batch that is on its way."""

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from treering_cli.following.mark import Mark
from treering_cli.private_files import open_private
from treering_cli.problems import Refusal

_FILE = "positions.sqlite3"
_LOCK = "positions.lock"
_VERSION = 1
_MOST_FILES = 100_000
"""Files that are remembered; of more, those that were read longest ago are forgotten."""

_SCHEMA = """
create table producer (id text not null, next_sequence integer not null);
create table files (
    key integer primary key, path text not null, device integer not null, inode integer not null, offset integer not null,
    head blob not null, tail blob not null, lines integer not null, beyond text not null, since real not null, finished integer not null
);
create table sent (
    producer text not null, key integer not null, offset integer not null, records integer not null, primary key (producer, key)
);
create table pending (
    one integer primary key check (one = 1), sequence integer not null, request blob not null, positions text not null
);
"""


@dataclass(frozen=True)
class Position:
    """Where reading of one content goes on."""

    key: int
    """Of this content, for good; 0 while it is not stored."""
    path: str
    """Where it was last."""
    device: int
    inode: int
    offset: int
    """Everything before it is stored."""
    head: bytes
    tail: bytes
    lines: int
    """Lines before the offset."""
    beyond: tuple[tuple[int, int], ...]
    """Lines from the offset on of which records are stored: where each begins, and how many of its records are."""
    since: float
    """When the content was met first, seconds since 1970."""
    finished: bool
    """Whether its file was rotated away and read to its end."""

    @property
    def mark(self) -> Mark:
        """What knows the content again."""
        return Mark(self.offset, self.head, self.tail)


@dataclass(frozen=True)
class Pending:
    """A batch that may have been sent."""

    sequence: int
    request: bytes


class Positions:
    """Positions in a directory, for one process at a time.

    Args:
        directory: Made, for this user alone, when it is not there.

    Raises:
        Refusal: Another process uses it, or it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._newest = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = open_private(directory / _LOCK, os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(open_private(directory / _FILE, os.O_RDWR | os.O_CREAT))
            self._base = sqlite3.connect(directory / _FILE, isolation_level=None)
            self._prepare()
        except BlockingIOError:
            os.close(self._lock)
            raise Refusal(
                f"another `treering follow` or `treering send --once` uses the positions in {directory}; "
                "give this one its own: --state-dir DIR"
            ) from None
        except (OSError, sqlite3.Error) as error:
            raise Refusal(f"{directory} cannot be used for positions: {error}; give another directory: --state-dir DIR") from None

    def _prepare(self) -> None:
        self._base.execute("pragma journal_mode = wal")
        # Each commit is on disk when it returns: a batch must not leave before that.
        self._base.execute("pragma synchronous = full")
        version = self._base.execute("pragma user_version").fetchone()[0]
        if version > _VERSION:
            raise Refusal(f"the positions in {self._directory} are of a newer version of Treering; use that one, or another --state-dir")
        if version == 0:
            self._base.executescript(f"begin; {_SCHEMA} pragma user_version = {_VERSION}; commit")
        self._base.execute(
            "delete from files where key in (select key from files order by finished, since desc limit -1 offset ?)", [_MOST_FILES]
        )

    def files(self) -> list[Position]:
        """Every content that is known, those that were met first at the beginning."""
        rows = self._base.execute(
            "select key, path, device, inode, offset, head, tail, lines, beyond, since, finished from files order by since, key"
        )
        return [
            Position(key, path, device, inode, offset, head, tail, lines, _pairs(json.loads(beyond)), since, bool(finished))
            for key, path, device, inode, offset, head, tail, lines, beyond, since, finished in rows
        ]

    def producer(self) -> tuple[str, int]:
        """The producer id of this directory, and its next sequence."""
        row = self._base.execute("select id, next_sequence from producer").fetchone()
        if row:
            return str(row[0]), int(row[1])
        name = new_producer_id()
        self.renew_producer(name)
        return name, 1

    def renew_producer(self, name: str, pending: Pending | None = None) -> None:
        """Takes another id, whose first batch is what is pending."""
        # One transaction: a batch under the old id and a sequence of the new one would fit nothing.
        with self._transaction():
            self._base.execute("delete from producer")
            self._base.execute("insert into producer values (?, 1)", [name])
            if pending:
                self._base.execute("update pending set sequence = ?, request = ?", [pending.sequence, pending.request])

    def begin(self, pending: Pending, positions: Iterable[Position]) -> None:
        """Keeps a batch that is about to be sent, and the positions that hold once it is stored; on disk when it returns."""
        with self._transaction():
            # Fails where one is pending still: it would be lost.
            self._base.execute("insert into pending values (1, ?, ?, ?)", [pending.sequence, pending.request, _encoded(positions)])

    def pending(self) -> Pending | None:
        """The batch that was begun and not ended."""
        row = self._base.execute("select sequence, request from pending").fetchone()
        return Pending(*row) if row else None

    def end(self) -> None:
        """The pending batch is stored: its positions hold from now on."""
        with self._transaction():
            sequence, positions = self._base.execute("select sequence, positions from pending").fetchone()
            self._put(_decoded(positions))
            self._base.execute("update producer set next_sequence = ?", [sequence + 1])
            self._base.execute("delete from pending")

    def move(self, positions: Iterable[Position]) -> None:
        """Sets positions where nothing has to be sent."""
        with self._transaction():
            self._put(positions)

    def sent_under(self, producer: str) -> dict[int, tuple[int, int]]:
        """Of each content that was sent under a producer id of the user's: up to which offset, and how many records."""
        rows = self._base.execute("select key, offset, records from sent where producer = ?", [producer])
        return {key: (offset, records) for key, offset, records in rows}

    def note_sent(self, producer: str, sent: Iterable[tuple[int, int, int]]) -> None:
        """Keeps that: key, offset and number of records of each content."""
        with self._transaction():
            self._base.executemany("insert or replace into sent values (?, ?, ?, ?)", [(producer, *each) for each in sent])

    def new_key(self) -> int:
        """A key that no content had."""
        stored = self._base.execute("select coalesce(max(key), 0) from files").fetchone()[0]
        self._newest = max(self._newest, int(stored)) + 1
        return self._newest

    def close(self) -> None:
        """Lets another process use the directory."""
        self._base.close()
        os.close(self._lock)

    def _put(self, positions: Iterable[Position]) -> None:
        rows = [(*list(asdict(each).values())[:8], json.dumps(each.beyond), each.since, each.finished) for each in positions]
        self._base.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._base)


def new_producer_id() -> str:
    """An id that nobody has."""
    return secrets.token_hex(16)


class _Transaction:
    """A transaction that is taken back by an exception."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def __enter__(self) -> None:
        self._base.execute("begin immediate")

    def __exit__(self, kind: object, *_: object) -> None:
        self._base.execute("rollback" if kind else "commit")


def _encoded(positions: Iterable[Position]) -> str:
    return json.dumps(
        [asdict(replace(each, head=b"", tail=b"")) | {"head": each.head.hex(), "tail": each.tail.hex()} for each in positions]
    )


def _decoded(text: str) -> list[Position]:
    return [
        Position(**each | {"head": bytes.fromhex(each["head"]), "tail": bytes.fromhex(each["tail"]), "beyond": _pairs(each["beyond"])})
        for each in json.loads(text)
    ]


def _pairs(values: Iterable[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((place, count) for place, count in values)
