"""How far patterns were seen in other logs than that of their first record: offsets of two logs cannot be compared with each other."""

import sqlite3
from collections.abc import Mapping

from treering_embed.registry.database import signed

_SCHEMA = """
create table other_logs (
    pattern_id integer not null,
    log_id integer not null,             -- not that of its first record
    last_offset integer not null,        -- end of the last batch of this log that held it
    primary key (pattern_id, log_id)
) without rowid
"""


def add_to(write: sqlite3.Connection) -> None:
    """Adds the table to a registry that is without it, in a transaction.

    An earlier version kept one number for all logs. So its patterns count as seen up to the end of each log that was known by then, and in
    the log of their first record no further than this goes.
    """
    # The table is asked for, not made by `if not exists`: its absence says that the numbers are of an earlier version.
    if write.execute("select 1 from sqlite_master where name = 'other_logs'").fetchone():
        return
    write.execute(_SCHEMA)
    write.execute(
        "insert into other_logs select pattern_id, progress.log_id, next_offset from patterns join progress"
        " on progress.log_id <> patterns.log_id"
    )
    write.execute(
        "update patterns set last_offset = min(last_offset, coalesce((select next_offset from progress"
        " where progress.log_id = patterns.log_id), last_offset))"
    )


def note(write: sqlite3.Connection, last_seen: Mapping[tuple[int, int], int]) -> None:
    """Notes where registered patterns were seen: by log id and pattern id, the end of the last batch."""
    rows = [(signed(log_id), end, signed(key)) for (log_id, key), end in last_seen.items()]
    write.executemany("update patterns set last_offset = max(last_offset, ?2) where log_id = ?1 and pattern_id = ?3", rows)
    write.executemany(
        "insert into other_logs select pattern_id, ?1, ?2 from patterns where pattern_id = ?3 and log_id <> ?1"
        " on conflict do update set last_offset = max(last_offset, excluded.last_offset)",
        rows,
    )


FORGET = (
    "delete from patterns where pattern_id in (select value from json_each(:keys)) and exists (select 1 from json_each(:ends) as ends"
    " where ends.value ->> 0 = patterns.log_id and patterns.last_offset <= ends.value ->> 1)"
    " and not exists (select 1 from other_logs where other_logs.pattern_id = patterns.pattern_id and not exists (select 1"
    " from json_each(:ends) as ends where ends.value ->> 0 = other_logs.log_id and other_logs.last_offset <= ends.value ->> 1))"
    " returning pattern_id"
)
"""Deletes those of some patterns, a JSON list `keys`, that no log had at or above its end; `ends` is a JSON list of log id and end."""
