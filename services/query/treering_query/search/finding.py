"""The first half of a search, on one snapshot: which patterns may be found, and which hold the literals."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering_query.patterns.counts import selected_counts
from treering_query.reading.filters import contains, searched
from treering_query.reading.samples import Condition, newest
from treering_query.search.literals import Literals
from treering_query.search.pattern_texts import PatternTexts
from treering_query.search.ranking import Fits, Flags, LiteralHits, Numbers, Ranking, rank
from treering_query.search.request import Search
from treering_query.search.scan import MAX_PATTERNS, Scan, holds, scan_messages
from treering_query.values.pattern_ids import Ids, as_ids
from treering_query.values.predicate import Predicate
from treering_query.view.snapshot import Snapshot
from treering_runtime.patterns import NO_PATTERN


@dataclass(frozen=True)
class SearchCandidates:
    """What is known before scores are asked for.

    `allowed` and `hits` have a flag for each row of `texts`. `counts` (pattern_id, n) is None where the filter does not narrow within a
    pattern.
    """

    texts: PatternTexts
    allowed: Flags
    counts: pa.Table | None
    hits: LiteralHits
    scan: Scan

    @property
    def to_score(self) -> list[int]:
        """Hits that shall have a score, the strongest first when there are too many."""
        ids = [np.sort(self.texts.ids[flags]) for flags in (self.hits.verbatim, self.hits.identifiers & ~self.hits.verbatim)]
        # As many as embed scores in one call; verbatim hits are in front.
        chosen: list[int] = np.concatenate(ids)[:MAX_PATTERNS].tolist()
        return chosen

    def unscored(self, pattern_ids: Ids) -> frozenset[int]:
        """Hits that were to have a score and are not among these patterns: they have no vector."""
        return frozenset(np.setdiff1d(np.array(self.to_score, np.uint64), pattern_ids).tolist())

    def by_words(self, text: str) -> Fits:
        """Scores by shared words."""
        return self.texts.words(text, self.allowed)

    def by_meaning(self, pattern_ids: Ids, scores: Numbers) -> Fits:
        """Scores of the embed service; of what it knows and this snapshot does not hold, there is none."""
        rows = self.texts.rows_of(pattern_ids)
        # Embed may be ahead: a pattern that this snapshot does not hold has no row.
        known = rows >= 0
        # Within the known ones only: -1 would be taken for the last row.
        known[known] = self.allowed[rows[known]]
        return Fits(rows[known], scores[known])

    def order(self, search: Search, fits: Fits) -> Ranking:
        """What the search has not shown yet, best first."""
        # What was shown is left out last, so the order does not depend on the page.
        ranking = rank(self.texts.ids, self.hits, fits, search.min_score)
        if search.own_pattern is not None and self._allows(search.own_pattern):
            ranking = ranking.led_by(search.own_pattern)
        return search.shown.rest(ranking)

    def _allows(self, pattern_id: int) -> bool:
        return bool((self.texts.flagged(as_ids([pattern_id])) & self.allowed).any())


def find(snapshot: Snapshot, texts: PatternTexts, search: Search) -> SearchCandidates:
    """Resolves the filter and looks the literals up: in pattern texts, then in messages where the query is worth it."""
    # Nearly every search: then no record is counted, and the pattern table alone answers.
    counts = None if _by_service_of_pattern(snapshot, search) else selected_counts(snapshot, search.predicate)
    allowed = texts.of_services(search.predicate.services) if counts is None else texts.flagged(counts.column("pattern_id").to_numpy())
    # Nothing is looked up by letters: asked for so, or there is nothing to find.
    if search.mode == pb.SEARCH_MODE_SEMANTIC or search.like is not None or not allowed.any():
        return SearchCandidates(texts, allowed, counts, LiteralHits.none(len(allowed)), Scan())
    scan = Scan()
    if search.literals.read_messages:
        scan = scan_messages(snapshot, search.predicate, search.literals, search.literal_budget_s)
    elif snapshot.view.has_records_without_pattern:
        # these have no text of a pattern in which their words could be found; there are few, and statistics say in which segments
        scan.verbatim = scan_messages(snapshot, _without_pattern(search.predicate), search.literals, search.literal_budget_s).verbatim
    return SearchCandidates(texts, allowed, counts, _hits(snapshot, texts, search, allowed, scan), scan)


def _without_pattern(predicate: Predicate) -> Predicate:
    """The records of a selection that belong to no pattern."""
    sql = f"({predicate.sql}) and pattern_id = {NO_PATTERN}"
    return replace(predicate, sql=sql, columns=predicate.columns | {"pattern_id"}, patterns=as_ids([NO_PATTERN]))


def _by_service_of_pattern(snapshot: Snapshot, search: Search) -> bool:
    """Whether the filter selects whole patterns."""
    all_services = search.predicate.services is None
    return search.predicate.services_only and (all_services or not snapshot.view.has_records_without_pattern)


def _hits(snapshot: Snapshot, texts: PatternTexts, search: Search, allowed: Flags, scan: Scan) -> LiteralHits:
    """Hits in messages, and hits in pattern texts that hold for a record which the filter selects."""
    listed = texts.find(search.literals)
    read = LiteralHits(texts.flagged(as_ids(scan.verbatim)), texts.flagged(as_ids(scan.identifiers)))
    # An example is one record of its pattern, perhaps not one that the filter selects.
    unsure = texts.find_in_examples_only(search.literals, listed) & allowed & ~read.any
    # All selected messages were read: what they do not hold, no selected record holds.
    if scan.complete:
        refuted = unsure
    elif _by_service_of_pattern(snapshot, search):
        # The filter selects whole patterns, so the example is one of the selected records.
        refuted = np.zeros_like(unsure)
    else:
        refuted = unsure & ~_confirmed(snapshot, texts, search, listed, unsure)
    possible = allowed & ~refuted
    verbatim = (listed.verbatim & possible) | read.verbatim
    return LiteralHits(verbatim, ((listed.identifiers & possible) | read.identifiers) & ~verbatim)


def _confirmed(snapshot: Snapshot, texts: PatternTexts, search: Search, listed: LiteralHits, unsure: Flags) -> Flags:
    confirmed = np.zeros_like(unsure)
    for flags, condition in ((listed.verbatim, verbatim(search.literals)), (listed.identifiers, identifiers(search.literals))):
        # One record each is enough, so the store is read only as far as the first.
        table = newest(snapshot, texts.ids[unsure & flags], 1, search.predicate, condition)
        confirmed |= texts.flagged(table.column("pattern_id").to_numpy())
    return confirmed


def verbatim(literals: Literals) -> Condition:
    """A message holds the whole query."""
    return Condition(contains("$whole", literals.whole), {"whole": searched(literals.whole)})


def identifiers(literals: Literals) -> Condition:
    """A message holds every identifier."""
    return Condition(*holds(literals))
