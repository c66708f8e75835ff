"""Which pattern is in which index: the part of the registry that speaks of indexes.

There is the index that answers searches, and, while everything is embedded anew, its *successor*. States of the first stand beside each
pattern; those of the successor in a table of their own, where a pattern without a row waits. `promote` makes the successor the first, in
one transaction: the moment of the swap.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Protocol

from treering_embed.registry.database import Transaction, read_meta, signed, unsigned, write_meta
from treering_embed.registry.ended import EndedReindex, ReindexOutcome, add_ended, read_ended
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import RegisteredPattern, State

Outcomes = Mapping[int, str]
"""By pattern id: empty = its vector is in the index, durably; else why it gets none."""

# One statement: the pattern may have been forgotten since it was taken, and a row without a pattern would count as done.
_MARK_IN_SUCCESSOR = "insert or replace into successor select ?, ?, ? where exists (select 1 from patterns where pattern_id = ?)"
_WAITING = (
    "select pattern_id, service, text, example, log_id, first_offset from patterns join"
    " (select number, row_number() over (partition by service order by number) as turn from patterns where state = 0"
    " order by turn, number limit ?) using (number) order by turn, number"
)
"""Services take turns, each with its oldest pattern first: a service with thousands of new ones does not keep the others waiting."""
_WAITING_FOR_SUCCESSOR = (
    "select p.pattern_id, service, text, example, log_id, first_offset from patterns p left join successor s using (pattern_id)"
    " where s.pattern_id is null order by number limit ?"
)
_KEYS = {"note": "index", "frequencies": "frequencies"}
_SUCCESSOR_KEYS = {"note": "successor", "frequencies": "successor_frequencies"}
_DROPPED = "dropped_indexes"
_NUMBER = "index_number"
_CANCELLED = "cancelled_reindex"
"""The number of the index whose making was cancelled last. Numbers are never given again, so it needs no removal."""


class Ledger(Protocol):
    """States of patterns in one index. Belongs to the registry's thread."""

    def note(self) -> IndexNote | None:
        """The index; None where there is none."""

    def pending(self, limit: int) -> list[RegisteredPattern]:
        """Some of the patterns that wait for their vectors in this index, in the order in which they should get them."""

    def mark(self, outcomes: Outcomes, frequencies: bytes) -> list[int]:
        """Sets what became of patterns, and the wordpiece counts that go with it; returns those that are not registered any more."""

    def requeue(self, pattern_ids: Iterable[int]) -> None:
        """Sends patterns back to wait for their vectors."""

    def indexed_ids(self) -> set[int]:
        """The patterns that should be in the index."""

    def frequencies(self) -> bytes:
        """Wordpiece counts as `mark` kept them last; empty before the first time."""


class CurrentLedger:
    """Of the index that answers searches."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self) -> IndexNote | None:
        """The index; None before the first."""
        return IndexNote.from_bytes(read_meta(self._db, _KEYS["note"]))

    def next_number(self) -> int:
        """A number that no index of this registry has had."""
        return int(read_meta(self._db, _NUMBER) or b"0") + 1

    def begin(self, note: IndexNote) -> None:
        """Every pattern waits, for an index that is empty; the one before and its successor are given up."""
        with Transaction(self._db) as write:
            # The old index is only noted for removal. Its files go later, so a crash leaves no note of an index that is gone.
            # The successor is given up too: promoted later, it would replace the index that begins here.
            _drop(write, [self.note(), IndexNote.from_bytes(read_meta(write, _SUCCESSOR_KEYS["note"]))])
            write.execute("update patterns set state = 0")
            write.execute("delete from set_aside")
            # Counts of wordpieces belong to the index that they were made with; the new one begins with those of its model.
            write_meta(write, _KEYS["frequencies"], b"")
            write_meta(write, _KEYS["note"], note.to_bytes())
            # Kept apart from the note: a number is never given again, even when the index that had it was given up.
            write_meta(write, _NUMBER, str(note.number).encode())
            _clear_successor(write)

    def rename(self, note: IndexNote) -> None:
        """The same index under another note: its model has another name now, or the setting says something else."""
        with Transaction(self._db) as write:
            write_meta(write, _KEYS["note"], note.to_bytes())

    def pending(self, limit: int) -> list[RegisteredPattern]:
        """Some that wait: services take turns, each with what waits longest."""
        # The partial index `waiting` answers this: its cost is that of the patterns that wait.
        return _patterns(self._db.execute(_WAITING, (limit,)))

    def mark(self, outcomes: Outcomes, frequencies: bytes) -> list[int]:
        """Sets states."""
        gone = []
        # States and wordpiece counts in one transaction: a crash between them would count a text twice, or not at all.
        with Transaction(self._db) as write:
            for key, reason in outcomes.items():
                state = State.UNREADABLE if reason else State.INDEXED
                # No row: the pattern was forgotten while it was encoded. The caller deletes its vector again.
                if not write.execute("update patterns set state = ? where pattern_id = ?", (int(state), signed(key))).rowcount:
                    gone.append(key)
                elif reason:
                    write.execute("insert or replace into set_aside values (?, ?)", (signed(key), reason))
            write_meta(write, _KEYS["frequencies"], frequencies)
        return gone

    def requeue(self, pattern_ids: Iterable[int]) -> None:
        """Sends patterns back."""
        with Transaction(self._db) as write:
            write.executemany("update patterns set state = 0 where pattern_id = ?", ((signed(key),) for key in pattern_ids))

    def indexed_ids(self) -> set[int]:
        """The patterns that should be in the index."""
        return {unsigned(row[0]) for row in self._db.execute("select pattern_id from patterns where state = 1")}

    def frequencies(self) -> bytes:
        """Wordpiece counts."""
        return read_meta(self._db, _KEYS["frequencies"])

    def set_aside(self) -> dict[int, str]:
        """Patterns that get no vector, and why."""
        return {unsigned(key): reason for key, reason in self._db.execute("select pattern_id, reason from set_aside")}

    def dropped(self) -> list[str]:
        """Names of indexes that are given up and may still be there."""
        return _dropped(self._db)

    def forget_dropped(self, names: Iterable[str]) -> None:
        """These are gone."""
        gone = set(names)
        with Transaction(self._db) as write:
            # Read inside the transaction that writes them back: names that were added meanwhile stay on the list.
            write_meta(write, _DROPPED, json.dumps([name for name in _dropped(write) if name not in gone]).encode())


class SuccessorLedger:
    """Of the index that is being made."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self) -> IndexNote | None:
        """The index that is being made; None where none is."""
        return IndexNote.from_bytes(read_meta(self._db, _SUCCESSOR_KEYS["note"]))

    def begin(self, note: IndexNote) -> None:
        """Every pattern waits for this index; one that was being made before is given up."""
        with Transaction(self._db) as write:
            _drop(write, [self.note()])
            _clear_successor(write)
            write_meta(write, _SUCCESSOR_KEYS["note"], note.to_bytes())
            write_meta(write, _NUMBER, str(note.number).encode())

    def rename(self, note: IndexNote) -> None:
        """The same index under another note."""
        with Transaction(self._db) as write:
            write_meta(write, _SUCCESSOR_KEYS["note"], note.to_bytes())

    def abandon(self, outcome: ReindexOutcome | None = None, problem: str = "") -> None:
        """No successor is made any more; with an outcome, that is how its reindex ended."""
        with Transaction(self._db) as write:
            self._note_end(write, outcome, problem)
            _drop(write, [self.note()])
            _clear_successor(write)

    def cancel(self, number: int) -> bool:
        """From here on the successor of this number never answers searches; False where it is not being made."""
        with Transaction(self._db) as write:
            # In one transaction with the look: the swap is one too, so that one of the two comes first and the other sees it.
            note = self.note()
            if note is None or note.number != number:
                return False
            write_meta(write, _CANCELLED, str(number).encode())
            return True

    def is_cancelled(self) -> bool:
        """Whether there is a successor that is not to be made any more."""
        note = self.note()
        return note is not None and int(read_meta(self._db, _CANCELLED) or b"0") == note.number

    def abandon_cancelled(self, configured: str) -> None:
        """The end of a cancelled reindex: the index that answers stays, decided under the setting `model` as it is now."""
        with Transaction(self._db) as write:
            self._note_end(write, ReindexOutcome.CANCELLED, "")
            # The cancel is the last decision on the model: a reindex that the setting asked for must not begin again at the next start.
            if current := IndexNote.from_bytes(read_meta(write, _KEYS["note"])):
                write_meta(write, _KEYS["note"], dataclasses.replace(current, configured=configured).to_bytes())
            _drop(write, [self.note()])
            _clear_successor(write)

    def ended(self) -> list[EndedReindex]:
        """The newest reindexes that have ended, oldest first."""
        return read_ended(self._db)

    def _note_end(self, write: sqlite3.Connection, outcome: ReindexOutcome | None, problem: str = "") -> None:
        note = self.note()
        if note is not None and outcome is not None:
            add_ended(write, EndedReindex(note.number, note.request_id, note.model, outcome, self.done_count(), problem))

    def promote(self) -> list[int] | None:
        """The successor answers searches from here on; returns the patterns that waited before it and do so no more.

        A pattern that the successor does not have yet waits for it. None where its making was cancelled: then nothing is changed.
        """
        settled = "select s.pattern_id from successor s join patterns p using (pattern_id) where p.state = 0"
        with Transaction(self._db) as write:
            # Asked in the transaction of the swap: a cancel that was answered is durable, and must hold whatever the reindexer has seen.
            if self.is_cancelled():
                return None
            self._note_end(write, ReindexOutcome.DONE)
            # Before the update, which overwrites the states that this asks for.
            found = [unsigned(row[0]) for row in write.execute(settled)]
            # A pattern that the successor lacks waits again: it came, or was sent back, while the swap was prepared.
            write.execute(
                "update patterns set state = coalesce((select state from successor s where s.pattern_id = patterns.pattern_id), 0)"
            )
            write.execute("delete from set_aside")
            write.execute("insert into set_aside select pattern_id, reason from successor where state = 2")
            # Before the note of the current index is overwritten: its name is needed for the removal.
            _drop(write, [IndexNote.from_bytes(read_meta(write, _KEYS["note"]))])
            for what, key in _KEYS.items():
                write_meta(write, key, read_meta(write, _SUCCESSOR_KEYS[what]))
            # Last: the values above are copied from here.
            _clear_successor(write)
        return found

    def pending(self, limit: int) -> list[RegisteredPattern]:
        """The patterns that wait longest."""
        return _patterns(self._db.execute(_WAITING_FOR_SUCCESSOR, (limit,)))

    def mark(self, outcomes: Outcomes, frequencies: bytes) -> list[int]:
        """Sets states."""
        gone = []
        with Transaction(self._db) as write:
            for key, reason in outcomes.items():
                state = State.UNREADABLE if reason else State.INDEXED
                row = (signed(key), int(state), reason, signed(key))
                if not write.execute(_MARK_IN_SUCCESSOR, row).rowcount:
                    gone.append(key)
            write_meta(write, _SUCCESSOR_KEYS["frequencies"], frequencies)
        return gone

    def requeue(self, pattern_ids: Iterable[int]) -> None:
        """Sends patterns back."""
        with Transaction(self._db) as write:
            write.executemany("delete from successor where pattern_id = ?", ((signed(key),) for key in pattern_ids))

    def indexed_ids(self) -> set[int]:
        """The patterns that should be in the index."""
        return {unsigned(row[0]) for row in self._db.execute("select pattern_id from successor where state = 1")}

    def frequencies(self) -> bytes:
        """Wordpiece counts."""
        return read_meta(self._db, _SUCCESSOR_KEYS["frequencies"])

    def done_count(self) -> int:
        """Patterns that wait no more."""
        return int(self._db.execute("select count(*) from successor").fetchone()[0])


def _patterns(rows: sqlite3.Cursor) -> list[RegisteredPattern]:
    return [RegisteredPattern(unsigned(row[0]), row[1], row[2], row[3], unsigned(row[4]), row[5]) for row in rows]


def _clear_successor(write: sqlite3.Connection) -> None:
    # Gone together with the note: counts without their index would weigh the words of the next one.
    write.execute("delete from successor")
    for key in _SUCCESSOR_KEYS.values():
        write_meta(write, key, b"")


def _dropped(db: sqlite3.Connection) -> list[str]:
    return [str(name) for name in json.loads(read_meta(db, _DROPPED) or b"[]")]


def _drop(write: sqlite3.Connection, notes: Iterable[IndexNote | None]) -> None:
    # An index whose model was never prepared has no name yet, and there is nothing to remove.
    names = [note.name for note in notes if note and note.identity]
    # The list survives a crash: `_tidy` of the reindexer removes what is on it, and only then takes the names off.
    write_meta(write, _DROPPED, json.dumps([*_dropped(write), *names]).encode())
