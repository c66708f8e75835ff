"""Which patterns are found by their words only, because a cap refused them or they gave way: so that a check can tell them from lost ones.

Bounded: of the oldest ones only the number is kept, and a check can then say no more than how many it cannot tell apart.
"""

import sqlite3
from collections.abc import Iterable

from treering_embed.limits import MAX_KEYWORD_ONLY_REMEMBERED
from treering_embed.registry.database import read_meta, signed, unsigned, write_meta

# `autoincrement` never gives a number twice, so the numbers are the order even after the newest row was deleted.
SCHEMA = """
create table if not exists keyword_only (
    number integer primary key autoincrement,  -- in the order in which they were kept out last
    pattern_id integer not null unique
);
"""
_FORGOTTEN = "forgotten_keyword_only_patterns"


class KeywordOnly:
    """Belongs to the registry's thread; what changes it is part of a transaction of the registry.

    Args:
        db: The registry.
        limit: How many are remembered.
    """

    def __init__(self, db: sqlite3.Connection, limit: int = MAX_KEYWORD_ONLY_REMEMBERED) -> None:
        self._db = db
        self._limit = limit

    def add(self, pattern_ids: Iterable[int], unnamed: int = 0) -> None:
        """These are not registered, or not any more; `unnamed` more are, whose ids nobody knows."""
        # one that is refused again becomes one of the newest
        self._db.executemany("insert or replace into keyword_only (pattern_id) values (?)", ((signed(key),) for key in pattern_ids))
        (newest,) = self._db.execute("select coalesce(max(number), 0) from keyword_only").fetchone()
        # By number and not by count: one range of the primary key. Rows that left made gaps, so fewer than the limit may stay.
        dropped = self._db.execute("delete from keyword_only where number <= ?", (newest - self._limit,)).rowcount
        if dropped or unnamed:
            write_meta(self._db, _FORGOTTEN, str(self.forgotten_count() + dropped + unnamed).encode())

    def remove(self, pattern_ids: Iterable[int]) -> None:
        """These are registered (again)."""
        self._db.executemany("delete from keyword_only where pattern_id = ?", ((signed(key),) for key in pattern_ids))

    def ids(self) -> list[int]:
        """Those that are remembered."""
        return [unsigned(row[0]) for row in self._db.execute("select pattern_id from keyword_only")]

    def forgotten_count(self) -> int:
        """How many there were at most whose ids are not remembered."""
        # At most: one of them may have been registered since, and nobody can tell.
        return int(read_meta(self._db, _FORGOTTEN) or b"0")
