"""The second half of a search, on the same snapshot: counts and records of what is shown, and the message of the contract."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.patterns.counts import total_counts
from treering_query.reading.records import stored_records, within_bytes
from treering_query.reading.samples import Condition, newest
from treering_query.search.finding import SearchCandidates, identifiers, verbatim
from treering_query.search.page_token import LastRecord, ShownPatterns
from treering_query.search.ranking import BORDER, Ranked, Ranking, Tier
from treering_query.search.request import Search
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.view.snapshot import Snapshot
from treering_runtime.fitting import fitting
from treering_runtime.patterns import MASK_VERSION

_FLAT_PATTERNS = 16
"""Patterns whose records are read together when results are flat: mostly the first ones fill the answer."""

_KIND = ("pattern_id", "service", "text", "template_id")
"""What a result says of its pattern."""


@dataclass(frozen=True)
class Page:
    """What one answer shows, what is shown with it (None at the end), and whether records were left out for want of room."""

    results: Sequence[pb.SearchResult]
    next: ShownPatterns | None
    cut: bool


@dataclass(frozen=True)
class Answer:
    """Everything that an answer is made of."""

    search: Search
    found: SearchCandidates
    ranking: Ranking
    words_only: frozenset[int]
    by_meaning: bool
    degraded_because: str

    def write(self, snapshot: Snapshot) -> pb.SearchLogsResponse:
        """The response. Blocks: runs on a thread of the store."""
        # On a thread, on the snapshot of the first half: counts and records are of the same moment as the hits.
        page = self._flat(snapshot) if self.search.flat else self._grouped(snapshot)
        full = "records were left out because the answer is full; ask for fewer" if page.cut else ""
        return pb.SearchLogsResponse(
            results=page.results,
            next_page_token=page.next.token(self.search.fingerprint) if page.next else "",
            literal_scan=self._literal_scan(),
            seen=snapshot.seen,
            degraded_because="; ".join(filter(None, (self.degraded_because, full))),
            mask_version=MASK_VERSION,
        )

    def _literal_scan(self) -> pb.LiteralScan:
        scan = self.found.scan
        back_to = 0 if scan.complete else scan.scanned_back_to
        return pb.LiteralScan(attempted=scan.attempted, complete=scan.complete, scanned_back_to_unix_nano=back_to)

    def _grouped(self, snapshot: Snapshot) -> Page:
        shown = self.ranking.part(0, self.search.limit)
        counts, kinds = self._counts(snapshot, shown), self._kinds(shown)
        # One read for all of the page, not one for each result.
        whole = self._records(snapshot, shown, self.search.samples)
        table = within_bytes(whole, limits.MAX_ANSWER_RECORD_BYTES)
        records: dict[int, list[StoredRecord]] = {}
        for record in stored_records(table):
            records.setdefault(record.pattern_id, []).append(record)
        # A pattern may be known of which the filter selects no record.
        counted = [place for place in shown if place.pattern_id in counts]
        results = fitting([self._result(place, kinds, counts, records.get(place.pattern_id, [])) for place in counted])
        # The answer is full: the next page begins with the first result that is not in it.
        if len(results) < len(counted):
            return Page(results, self.search.shown.and_also(result.pattern_id for result in results), cut=True)
        more = self.search.shown.and_also(place.pattern_id for place in shown) if len(self.ranking) > len(shown) else None
        return Page(results, more, cut=table.num_rows < whole.num_rows)

    def _flat(self, snapshot: Snapshot) -> Page:
        """Records until the page is full; one more than fits says whether there is another page."""
        wanted = self.search.limit + 1
        tables, rows, places = [], 0, {}
        for run, records in self._runs(snapshot, wanted):
            tables.append(records)
            rows += records.num_rows
            places.update({place.pattern_id: place for place in run})
            # Most flat pages end within the first run of patterns.
            if rows >= wanted:
                break
        whole = pa.concat_tables([LOGS_SCHEMA.empty_table(), *tables])
        table = within_bytes(whole.slice(0, self.search.limit), limits.MAX_ANSWER_RECORD_BYTES)
        # Counts are looked up for what fits only.
        shown = [places[pattern_id] for pattern_id in dict.fromkeys(table.column("pattern_id").to_pylist())]
        counts, kinds = self._counts(snapshot, shown), self._kinds(shown)
        results = fitting([self._result(places[record.pattern_id], kinds, counts, [record]) for record in stored_records(table)])
        shown = [places[pattern_id] for pattern_id in dict.fromkeys(result.pattern_id for result in results)]
        more = self._after(results[-1], shown) if len(results) < whole.num_rows else None
        return Page(results, more, cut=len(results) < min(whole.num_rows, self.search.limit))

    def _runs(self, snapshot: Snapshot, count: int) -> Iterator[tuple[list[Ranked], pa.Table]]:
        """Records in their order: of the pattern in whose midst the last page ended, then of the others, some patterns at a time."""
        # Its place comes from the token: its score may have moved since, and it must not come again elsewhere.
        if last := self.search.shown.last:
            yield [last.place], newest(snapshot, [last.pattern_id], count, self.search.predicate, self._continued(snapshot, last))
        for start in range(0, len(self.ranking), _FLAT_PATTERNS):
            run = self.ranking.part(start, _FLAT_PATTERNS)
            yield run, self._records(snapshot, run, count)

    def _continued(self, snapshot: Snapshot, last: LastRecord) -> Condition:
        """What the records after the last one fulfil: as on its page, records with the literal where there is any."""
        condition = self._conditions()[last.tier]
        # The page before showed records with the literal where there was one; this one has to go on in the same list.
        held = newest(snapshot, [last.pattern_id], 1, self.search.predicate, condition).num_rows
        return condition.and_also(last.older) if held else last.older

    def _conditions(self) -> dict[Tier, Condition]:
        literals = self.search.literals
        return {Tier.VERBATIM: verbatim(literals), Tier.IDENTIFIERS: identifiers(literals), Tier.REST: Condition()}

    def _after(self, result: pb.SearchResult, shown: Sequence[Ranked]) -> ShownPatterns:
        """What is shown after a flat page that ends with `result`."""
        (stored,) = result.records
        place = shown[-1]
        position = stored.position
        last = LastRecord(place.pattern_id, stored.record.time_unix_nano, position.log_id, position.offset, place.tier, place.fit)
        return self.search.shown.and_also([each.pattern_id for each in shown[:-1]], last)

    def _counts(self, snapshot: Snapshot, shown: Sequence[Ranked]) -> dict[int, int]:
        ids = [place.pattern_id for place in shown]
        if self.found.counts is None:
            return total_counts(snapshot.view, ids)
        chosen = self.found.counts.filter(pc.is_in(self.found.counts.column("pattern_id"), pa.array(ids, pa.uint64())))
        return dict(zip(*(chosen.column(name).to_pylist() for name in ("pattern_id", "n")), strict=True))

    def _kinds(self, shown: Sequence[Ranked]) -> dict[int, dict[str, Any]]:
        """What the pattern table says of each."""
        table = self.found.texts.described([place.pattern_id for place in shown]).select(_KIND)
        return {row["pattern_id"]: row for row in table.to_pylist()}

    def _records(self, snapshot: Snapshot, shown: Sequence[Ranked], count: int) -> pa.Table:
        """Records of the shown patterns in their order, newest first within each; hits come with records that hold the literal."""
        tables, bare = [LOGS_SCHEMA.empty_table()], [place.pattern_id for place in shown if place.tier is Tier.REST]
        for tier in (Tier.VERBATIM, Tier.IDENTIFIERS):
            wanted = [place.pattern_id for place in shown if place.tier is tier]
            tables.append(newest(snapshot, wanted, count, self.search.predicate, self._conditions()[tier]))
            # Hits by the pattern's text whose records do not hold the literal themselves are shown with their newest.
            bare += set(wanted) - set(tables[-1].column("pattern_id").to_pylist())
        tables.append(newest(snapshot, bare, count, self.search.predicate))
        return _in_order(pa.concat_tables(tables), [place.pattern_id for place in shown])

    def _result(
        self, place: Ranked, kinds: dict[int, dict[str, Any]], counts: dict[int, int], records: list[StoredRecord]
    ) -> pb.SearchResult:
        kind = kinds[place.pattern_id]
        return pb.SearchResult(
            score=place.score,
            why=list(self._why(place)),
            pattern_id=place.pattern_id,
            pattern=kind["text"],
            service=kind["service"],
            count=counts[place.pattern_id],
            records=records,
            weak=place.weak,
            template_id=kind["template_id"],
            words_only=place.pattern_id in self.words_only,
        )

    def _why(self, place: Ranked) -> Iterator[pb.SearchReason.ValueType]:
        if place.tier is Tier.VERBATIM:
            yield pb.SEARCH_REASON_VERBATIM
        if place.tier is Tier.IDENTIFIERS or (place.tier is Tier.VERBATIM and self.search.literals.identifiers):
            yield pb.SEARCH_REASON_IDENTIFIERS
        if place.tier is Tier.REST or place.fit >= BORDER:
            yield pb.SEARCH_REASON_MEANING if self.by_meaning else pb.SEARCH_REASON_WORDS


def _in_order(table: pa.Table, pattern_ids: list[int]) -> pa.Table:
    places = pc.index_in(table.column("pattern_id"), pa.array(pattern_ids, pa.uint64()))
    # The row number keeps the order within a pattern: Arrow's sort promises no stability.
    keyed = table.append_column("place", places).append_column("row", pa.array(range(table.num_rows)))
    return keyed.sort_by([("place", "ascending"), ("row", "ascending")]).select(table.column_names)
