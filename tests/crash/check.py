"""Compares what the journal says with what SQL and the index say."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.crash.clients import PATIENCE_S
from tests.crash.journal import BatchKey, Journal
from tests.crash.plan import BATCH_RECORDS, FLEETING
from treering import Client, TimedOutError, UnavailableError
from treering.v1.log_pb2 import Position

_T = TypeVar("_T")


@dataclass
class Findings:
    """What was compared and what was wrong; every number below `acknowledged` must stay 0."""

    cycles: int = 0
    acknowledged: int = 0
    """Records."""
    lost: int = 0
    """Acknowledged, and SQL does not count them."""
    repeated: int = 0
    """Counted more than once."""
    never_sent: int = 0
    """Counted, and nobody sent them."""
    patterns_missing: int = 0
    """Of records that are there, and not in the index."""
    differences: int = 0
    """Comparisons of log, store and index that found something."""
    examples: list[str] = field(default_factory=list)
    """The first few ids that were wrong."""

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.lost or self.repeated or self.never_sent or self.patterns_missing or self.differences)

    def __str__(self) -> str:
        """The sums on one line."""
        return (
            f"cycles {self.cycles}, acknowledged {self.acknowledged:,}, lost {self.lost}, repeated {self.repeated},"
            f" never sent {self.never_sent}, patterns missing {self.patterns_missing}, differences {self.differences}"
        )

    def verified(self, what: str, outcome: tuple[int, str]) -> None:
        """Counts a command that compares, by its exit code and its words."""
        code, words = outcome
        if code:
            self.differences += self.wrong(f"{what} ended with {code}:", [words[-500:]])

    def wrong(self, what: str, ids: Sequence[str]) -> int:
        """Notes examples and counts."""
        self.examples += [f"{what} {each}" for each in ids[: max(0, 20 - len(self.examples))]]
        return len(ids)


class Checker:
    """Checks cycle after cycle, the earlier ones again by their counts.

    Args:
        client: A connection to the services.
        journal: What the clients knew.
    """

    def __init__(self, client: Client, journal: Journal) -> None:
        self.findings = Findings()
        self._client, self._journal = client, journal
        self._counted: dict[str, int] = {}

    def check(self, cycle: int, positions: Sequence[Position]) -> None:
        """Compares everything of one cycle, and the number of records of all before."""
        sent, acknowledged = self._journal.read(cycle)
        query = f"select attributes['id'] as id, count(*) as n from logs where attributes['cycle'] = '{cycle}' group by all"
        counted = {row["id"]: row["n"] for row in self._sql(query, positions)}
        found, must, may = self.findings, _ids(acknowledged), _ids(sent)
        found.cycles += 1
        found.acknowledged += len(must)
        found.lost += found.wrong("lost", sorted(must - counted.keys()))
        found.never_sent += found.wrong("never sent", sorted(counted.keys() - may))
        found.repeated += found.wrong("repeated", sorted(each for each, n in counted.items() if n != 1))  # type: ignore[misc]
        self._counted[str(cycle)] = sum(counted.values())
        self._check_earlier()
        self._check_index(f"where attributes['cycle'] = '{cycle}'", positions)

    def check_all_patterns(self, positions: Sequence[Position]) -> None:
        """Every pattern that any record has is in the index."""
        self._check_index(f"where service <> '{FLEETING}'", positions)

    def _check_earlier(self) -> None:
        rows = self._sql(
            "select attributes['cycle'] as cycle, count(*) as n, count(distinct hash(attributes['id'])) as ids from logs group by all"
        )
        counted = {row["cycle"]: row for row in rows}
        for cycle, expected in self._counted.items():
            row = counted.get(cycle, Counter())
            self.findings.lost += max(0, expected - row["ids"])
            self.findings.repeated += row["n"] - row["ids"]

    def _check_index(self, where: str, positions: Sequence[Position]) -> None:
        patterns = {row["pattern_id"] for row in self._sql(f"select distinct pattern_id from logs {where}", positions)}

        def indexed() -> set[int]:
            answer = self._client.search_patterns("order", restrict_to=patterns, limit=len(patterns), min_positions=positions, timeout=60)
            return {score.pattern_id for score in answer.scores}

        missing = patterns - eventually(indexed)
        self.findings.patterns_missing += self.findings.wrong("not indexed", sorted(map(str, missing)))

    def _sql(self, query: str, positions: Sequence[Position] = ()) -> list[dict[str, int]]:
        return eventually(lambda: self._client.sql(query, max_rows=1_000_000, min_positions=tuple(positions), timeout=60).rows())


def eventually(ask: Callable[[], _T]) -> _T:
    """The answer, once whoever was killed can give it.

    Raises:
        TreeringError: It did not come in `PATIENCE_S` seconds.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except (UnavailableError, TimedOutError):
            if time.monotonic() > deadline:
                raise


def _ids(batches: set[BatchKey]) -> set[str]:
    return {f"{key.cycle}.{key.client}.{key.batch}.{index}" for key in batches for index in range(BATCH_RECORDS)}
