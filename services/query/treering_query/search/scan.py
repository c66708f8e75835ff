"""Looking literals up in the messages themselves: newest first, until all is read, enough is found, or time is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from treering_query.reading.filters import contains, searched
from treering_query.reading.slices import Slice, newest_first
from treering_query.search.literals import Literals
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot

ENOUGH_PATTERNS = 200
"""Distinct patterns after which the scan stops: more than anyone reads."""

MAX_PATTERNS = 10_000
"""Hits that are kept: as many as the embed service scores in one call."""


@dataclass
class Scan:
    """What reading messages found: the patterns with a record that holds the whole query, and with one that holds every identifier."""

    attempted: bool = False
    complete: bool = False
    scanned_back_to: int = 0
    verbatim: set[int] = field(default_factory=set)
    identifiers: set[int] = field(default_factory=set)


def scan_messages(
    snapshot: Snapshot, predicate: Predicate, literals: Literals, budget_s: float, clock: Callable[[], float] = time.monotonic
) -> Scan:
    """Reads the messages that the predicate selects, at least the newest slice of the store.

    The budget is looked at between slices, so it is kept to within the time of one (`slices.SLICE_ROWS`).
    """
    scan = Scan(attempted=True)
    # The budget of the scan, not the deadline of the call: what is not read is said, and the search goes on.
    end = clock() + budget_s
    for part in newest_first(snapshot, predicate):
        _read(scan, snapshot, part, predicate, literals)
        # After each slice, so that the answer says how far back it is true, wherever the loop ends.
        scan.complete = part.older_than == 0
        scan.scanned_back_to = 0 if scan.complete else part.older_than + 1
        # Looked at after a slice: also with a budget of 0 the newest records are read.
        if clock() >= end or len(scan.verbatim | scan.identifiers) >= ENOUGH_PATTERNS:
            break
    return scan


def _read(scan: Scan, snapshot: Snapshot, part: Slice, predicate: Predicate, literals: Literals) -> None:
    condition, parameters = holds(literals)
    whole = contains("$whole", literals.whole)
    # By pattern and in one pass: which of its records it was does not matter here.
    sql = f"""select pattern_id, bool_or({whole}) as verbatim from {part.records}
        where {predicate.sql} and {condition} group by pattern_id limit {MAX_PATTERNS}"""
    found = part.query(snapshot, sql, {**predicate.parameters, **parameters, "whole": searched(literals.whole)})
    for pattern_id, verbatim in zip(found.column("pattern_id").to_pylist(), found.column("verbatim").to_pylist(), strict=True):
        (scan.verbatim if verbatim else scan.identifiers).add(pattern_id)


def holds(literals: Literals) -> tuple[str, dict[str, object]]:
    """The condition that a message holds every identifier, or the whole query where there is none; and its values.

    Every identifier is a piece of the query, so a message that holds all of it fulfils this too.
    """
    # Identifiers are found in any order and place; only the whole query has to stand as it is.
    wanted = {f"i{number}": word for number, word in enumerate(literals.identifiers or (literals.whole,))}
    sql = " and ".join(contains(f"${name}", word) for name, word in wanted.items())
    return sql, {name: searched(word) for name, word in wanted.items()}
