"""The first half of a search, on one snapshot: which patterns may be found, and which hold the literals."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from treering.v1 import query_pb2 as pb
from treering_query.filters import contains, searched
from treering_query.pattern_counts import selected_counts
from treering_query.search.like import led_by
from treering_query.search.literals import Literals
from treering_query.search.pattern_texts import PatternTexts
from treering_query.search.ranking import Hits, Ranked, rank
from treering_query.search.request import Search
from treering_query.search.samples import Condition, newest
from treering_query.search.scan import MAX_PATTERNS, Scan, holds, scan_messages
from treering_query.store.snapshot import Snapshot


@dataclass(frozen=True)
class Found:
    """What is known before scores are asked for. `counts` is None where the filter does not narrow within a pattern."""

    texts: PatternTexts
    allowed: AbstractSet[int]
    counts: Mapping[int, int] | None
    hits: Hits
    scan: Scan

    @property
    def to_score(self) -> list[int]:
        """Hits that shall have a score, the strongest first when there are too many."""
        return [*sorted(self.hits.verbatim), *sorted(self.hits.identifiers - self.hits.verbatim)][:MAX_PATTERNS]

    def order(self, search: Search, fits: Mapping[int, float]) -> list[Ranked]:
        """What the search has not shown yet, best first."""
        ranked = rank(self.hits, {key: fit for key, fit in fits.items() if key in self.allowed}, search.min_score)
        if search.own_pattern is not None and search.own_pattern in self.allowed:
            ranked = led_by(ranked, search.own_pattern)
        return search.shown.rest(ranked)


def find(snapshot: Snapshot, texts: PatternTexts, search: Search) -> Found:
    """Resolves the filter and looks the literals up: in pattern texts, then in messages where the query is worth it."""
    counts = None if search.predicate.services_only else selected_counts(snapshot, search.predicate)
    allowed = texts.of_services(search.predicate.services) if counts is None else set(counts)
    if search.mode == pb.SEARCH_MODE_SEMANTIC or search.like is not None or not allowed:
        return Found(texts, allowed, counts, Hits(), Scan())
    scan = Scan()
    if search.literals.read_messages:
        scan = scan_messages(snapshot, search.predicate, search.literals, search.literal_budget_s)
    return Found(texts, allowed, counts, _hits(snapshot, texts, search, allowed, scan), scan)


def _hits(snapshot: Snapshot, texts: PatternTexts, search: Search, allowed: AbstractSet[int], scan: Scan) -> Hits:
    """Hits in messages, and hits in pattern texts that hold for a record which the filter selects."""
    listed = texts.find(search.literals)
    unsure = (texts.find_in_examples_only(search.literals, listed) & allowed) - scan.hits.pattern_ids
    if scan.complete:
        refuted = unsure
    elif search.predicate.services_only:
        refuted = set()
    else:
        refuted = unsure - _confirmed(snapshot, search, listed, unsure)
    verbatim = ((listed.verbatim & allowed) - refuted) | scan.hits.verbatim
    identifiers = ((listed.identifiers & allowed) - refuted) | scan.hits.identifiers
    return Hits(frozenset(verbatim), frozenset(identifiers - verbatim))


def _confirmed(snapshot: Snapshot, search: Search, listed: Hits, unsure: AbstractSet[int]) -> set[int]:
    confirmed: set[int] = set()
    for ids, condition in ((listed.verbatim, verbatim(search.literals)), (listed.identifiers, identifiers(search.literals))):
        table = newest(snapshot, sorted(unsure & ids), 1, search.predicate, condition)
        confirmed.update(table.column("pattern_id").to_pylist())
    return confirmed


def verbatim(literals: Literals) -> Condition:
    """A message holds the whole query."""
    return Condition(contains("$whole", literals.whole), {"whole": searched(literals.whole)})


def identifiers(literals: Literals) -> Condition:
    """A message holds every identifier."""
    return Condition(*holds(literals))
