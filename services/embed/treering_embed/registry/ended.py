"""Reindexes that have ended, and how: a caller who lost the answer asks again by its own id, also after a restart."""

import dataclasses
import json
import sqlite3
from dataclasses import dataclass
from enum import Enum

from treering_embed.registry.database import read_meta, write_meta

_KEY = "ended_reindexes"
_MOST = 16
"""Remembered ones, the newest: a request is repeated within minutes."""


class ReindexOutcome(Enum):
    """How a reindex ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class EndedReindex:
    """A reindex that has ended.

    Args:
        number: Of its index; the id of the reindex.
        request_id: As whoever asked for it called it; empty = it was not called anything.
        model: Of its index.
        outcome: How it ended.
        done: Patterns that had their place in its index.
        problem: Why it failed, for people.
    """

    number: int
    request_id: str
    model: str
    outcome: ReindexOutcome
    done: int
    problem: str = ""


def read_ended(db: sqlite3.Connection) -> list[EndedReindex]:
    """The newest ones, oldest first."""
    listed = json.loads(read_meta(db, _KEY) or b"[]")
    return [EndedReindex(**{**each, "outcome": ReindexOutcome(each["outcome"])}) for each in listed]


def add_ended(write: sqlite3.Connection, ended: EndedReindex) -> None:
    """Notes one more; inside the transaction that ends it."""
    listed = [{**dataclasses.asdict(each), "outcome": each.outcome.value} for each in [*read_ended(write), ended]]
    write_meta(write, _KEY, json.dumps(listed[-_MOST:]).encode())
