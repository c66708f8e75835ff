"""Every rpc that filters, through a real server, against a plain evaluation of the same tree: records, segments and trees by chance."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.query.conftest import MakeFrame, OpenSql, OpenStore
from tests.query.plain_filter import Placed, selects
from tests.query.query_front import asking_front
from tests.query.random_filters import ABOUTS, ARRIVAL, LOG, Trees, records
from treering import AsyncClient, calls
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering_query.meaning.embed_client import EmbedUnavailable, PatternScores
from treering_query.meaning.meant import Meant
from treering_query.reading import filters
from treering_query.store.store import Store
from treering_query.streams import tail, watch
from treering_query.streams.hub import Hub
from treering_query.streams.tail import Tail
from treering_query.streams.tail_news import TailReader
from treering_query.streams.watch import Watch
from treering_query.streams.watch_news import WatchReader
from treering_query.values.segment import LogRange
from treering_runtime.patterns import MASK_VERSION

TREES = int(os.environ.get("TREERING_TEST_TREES", "300"))
A_STORE = 50
RPCS_A_TREE = 2
"""Each tree is asked of so many rpcs, in turn, and of the statement that all who follow share: planning it takes most of the time."""
TOGETHER = 10
"""Trees in that statement."""
RECORDS = 60
BEGIN = [Position(log_id=LOG, offset=0)]


class Canned:
    """A pattern is about what its id says."""

    def __init__(self) -> None:
        self.ids = np.empty(0, np.uint64)

    @staticmethod
    def texts_of(pattern_id: int) -> frozenset[Any]:
        return frozenset(text for place, text in enumerate(ABOUTS) if pattern_id >> place & 1)

    async def score(self, texts: list[str], min_positions: tuple[()], timeout_s: int) -> PatternScores:
        scores = [np.array([text in self.texts_of(number) for number in self.ids.tolist()], np.float32) for text in texts]
        return PatternScores.ascending(self.ids, scores, MASK_VERSION)

    async def search(self, query: Any, timeout_s: float) -> None:
        raise EmbedUnavailable("embed does not answer")


async def filled(store: Store, frame: MakeFrame, some: list[LogRecord]) -> list[Any]:
    """Three segments and records in memory; what the store knows of each record."""
    await store.open_log(LOG, 0)
    for first in range(0, RECORDS, 15):
        await store.deliver(LOG, [frame(first, some[first : first + 15])], RECORDS)
        if first < 45:
            await store.seal()
    await store.templates.settled()
    with store.snapshot() as snapshot:
        sql = 'select "offset", pattern_id, template_id from logs join _patterns using (pattern_id) order by "offset"'
        ids = [tuple(row.values()) for row in snapshot.query(sql).to_pylist()]
    return [
        Placed(some[offset], LOG, offset, ARRIVAL + offset // 15 * 15, pattern, template, Canned.texts_of(pattern))
        for offset, pattern, template in ids
    ]


class Rpcs:
    """Asks each rpc for what a filter selects."""

    def __init__(self, client: AsyncClient, store: Store, everything: list[Any]) -> None:
        self.client = client
        self.store = store
        self.everything = everything
        self.rpcs = (
            self.aggregated,
            self.exported,
            self.searched,
            self.listed,
            self.one_pattern,
            self.compared,
            self.tailed,
            self.watched,
        )

    async def agree(self, chosen: LogFilter, expected: list[Any], number: int) -> None:
        """Asks some of the rpcs, others for the next tree."""
        for place in range(number * RPCS_A_TREE, (number + 1) * RPCS_A_TREE):
            await self.rpcs[place % len(self.rpcs)](chosen, expected)

    async def aggregated(self, chosen: LogFilter, expected: Any) -> None:
        found = await self.client.aggregate_logs(by=["service"], filter=chosen)
        counts = {row.groups[0].value: int(row.values[0].value) for row in found.rows}
        assert counts == Counter(placed.record.service for placed in expected), "AggregateLogs"

    async def exported(self, chosen: Any, expected: Any) -> None:
        raw = b"".join([part.arrow_ipc async for part in self.client.export_logs(filter=chosen)])
        assert sorted(pa.ipc.open_stream(raw).read_all().column("offset").to_pylist()) == offsets_of(expected), "ExportLogs"

    async def searched(self, chosen: Any, expected: Any) -> None:
        found = await self.client.search_logs("zz", mode="keyword", filter=chosen, flat=True, page_size=1_000, literal_budget_ms=60_000)
        assert sorted(record.position.offset for result in found.results for record in result.records) == offsets_of(expected), "SearchLogs"

    async def listed(self, chosen: Any, expected: Any) -> None:
        found = await self.client.list_patterns(filter=chosen, page_size=1_000)
        assert {pattern.pattern_id: pattern.count for pattern in found.patterns} == patterns_of(expected), "ListPatterns"

    async def one_pattern(self, chosen: Any, expected: Any) -> None:
        patterns = patterns_of(expected)
        pattern_id = next(iter(patterns), self.everything[0].pattern_id)
        found = await self.client.get_pattern(pattern_id, filter=chosen, samples=0)
        assert found.pattern.count == patterns[pattern_id], "GetPattern"

    async def compared(self, chosen: Any, expected: Any) -> None:
        patterns = patterns_of(expected)
        found = await self.client.compare_patterns(chosen, LogFilter(none_of=[chosen]), page_size=1_000)
        assert (found.total_count, found.baseline_total_count) == (patterns.total(), RECORDS - patterns.total()), "ComparePatterns"
        new = {each.pattern.pattern_id: each.pattern.count for each in found.differences if each.change == pb.PATTERN_CHANGE_NEW}
        others = patterns_of(self.everything) - patterns
        assert new == {pattern_id: count for pattern_id, count in patterns.items() if not others[pattern_id]}, "ComparePatterns"

    async def tailed(self, chosen: Any, expected: Any) -> None:
        if not filters.abouts(chosen):
            request = calls.tail_logs(filter=chosen, start=BEGIN).request
            responses = await reached(Tail(self.store, Hub(self.store, TailReader), tail.plan(request), 0.0))
            assert [stored.position.offset for response in responses for stored in response.records] == offsets_of(expected), "TailLogs"

    async def watched(self, chosen: Any, expected: Any) -> None:
        if not filters.abouts(chosen):
            request = calls.watch_patterns(filter=chosen, start=BEGIN).request
            responses = await reached(Watch(self.store, Hub(self.store, WatchReader), watch.plan(request), 0.0))
            found = [response.first_record.position.offset for response in responses if response.HasField("pattern")]
            assert found == self.firsts(offsets_of(expected)), "WatchPatterns"

    def firsts(self, offsets: list[Any]) -> list[Any]:
        """Of the patterns whose first record is selected, where that is."""
        first = {}
        for placed in self.everything:
            first.setdefault(placed.pattern_id, placed.offset)
        return sorted(offset for offset in first.values() if offset in offsets)


def offsets_of(some: list[Any]) -> list[Any]:
    return sorted(placed.offset for placed in some)


def patterns_of(some: Any) -> Counter[Any]:
    return Counter(placed.pattern_id for placed in some)


async def reached(follower: Tail | Watch) -> list[pb.TailLogsResponse | pb.WatchPatternsResponse]:
    """What a follower sends until it has come to the end of the records."""
    responses = []
    async with aclosing(follower.run()) as sent:
        async for response in sent:
            responses.append(response)
            if any(position.offset >= RECORDS for position in response.resume_from):
                break
    return responses


def check_facts(chosen: LogFilter, meant: Meant, expected: list[Any]) -> None:
    """What is said to hold for every selected record does."""
    predicate = filters.where(chosen, meant)
    for placed in expected:
        record = placed.record
        assert predicate.services is None or record.service in predicate.services
        assert record.service not in predicate.without_services
        assert predicate.patterns is None or placed.pattern_id in predicate.patterns
        assert predicate.start_time <= record.time_unix_nano < predicate.end_time
        assert predicate.arrival_start_time <= placed.arrival < predicate.arrival_end_time


def check_together(store: Store, trees: list[LogFilter], selected: list[Any]) -> None:
    """One statement for several trees, as tails have it."""
    predicates = [filters.where(chosen) for chosen in trees]
    for first in range(0, len(trees), TOGETHER):
        with store.snapshot() as snapshot:
            _, found = TailReader().read(snapshot, LogRange(LOG, 0, RECORDS), predicates[first : first + TOGETHER])
        offsets = [sorted(int(offset) for part in parts for offset in part.offsets) for parts in found]
        assert offsets == selected[first : first + TOGETHER], f"{trees[first : first + TOGETHER]}"


@pytest.mark.time_limit(900)
@pytest.mark.parametrize("seed", range(TREES // A_STORE))
async def test_every_rpc_selects_what_the_plain_evaluation_does(
    seed: Callable[[range], int], open_store: OpenStore, open_sql: OpenSql, frame: MakeFrame, tmp_path: Path
) -> None:
    random, canned = Random(seed), Canned()
    async with open_store() as store, open_sql(store, tmp_path / "store") as sql, asking_front(store, sql, canned) as client:
        everything = await filled(store, frame, records(random, RECORDS))
        canned.ids = np.unique(np.array([placed.pattern_id for placed in everything], np.uint64))
        meant = Meant(tuple(ABOUTS), *((scores := await canned.score(ABOUTS, (), 0)).pattern_ids, scores.scores))
        trees = Trees(random, RECORDS, canned.ids.tolist(), sorted({placed.template_id for placed in everything}))
        rpcs, followed, selected = Rpcs(client, store, everything), [], []
        for number in range(A_STORE):
            chosen = trees.tree()
            expected = [placed for placed in everything if selects(chosen, placed)]
            try:
                await rpcs.agree(chosen, expected, number)
                check_facts(chosen, meant, expected)
            except Exception as error:
                raise AssertionError(f"tree {number} of seed {seed}: {error}\n{chosen}") from error
            if not filters.abouts(chosen):
                followed.append(chosen)
                selected.append(offsets_of(expected))
        check_together(store, followed, selected)
