"""What everything in the registry's file shares: ids as SQLite keeps them, and transactions."""

import sqlite3


def signed(number: int) -> int:
    """An id of 64 bits as SQLite's integers hold it: the same bits."""
    # SQLite's integers have a sign: an id above 2^63 - 1 would raise OverflowError.
    return number - (1 << 64) if number >= 1 << 63 else number


def unsigned(number: int) -> int:
    """The id again."""
    return number & ((1 << 64) - 1)


class Transaction:
    """Begin, then commit, or roll back if anything is raised."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        # `immediate` takes the write lock now: a transaction that reads first and writes later could fail in the middle with "locked".
        self._db.execute("begin immediate")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")


def read_meta(db: sqlite3.Connection, key: str) -> bytes:
    """A value of the table `meta`; empty where there is none."""
    row = db.execute("select value from meta where key = ?", (key,)).fetchone()
    return bytes(row[0]) if row else b""


def write_meta(db: sqlite3.Connection, key: str, value: bytes) -> None:
    """Sets a value of the table `meta`; an empty one removes it."""
    if value:
        db.execute("insert or replace into meta values (?, ?)", (key, value))
    else:
        db.execute("delete from meta where key = ?", (key,))
