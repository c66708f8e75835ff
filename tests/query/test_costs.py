"""What answers say of their cost: which segments were read, and where the time went."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.query.conftest import Asking, Fill, MakeRecord, OpenStore, Serving, SnapshotOf
from tests.settling import settled
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import service
from treering_query.reading import slices
from treering_query.store.store import Store
from treering_query.view.cost import Timing

LATE = LogFilter(start_time_unix_nano=1_700_000_000_000_000_000 + 250 * 10**9)
"""Of three segments of 100 records the last one, and 50 records in memory."""


async def last(stream: Any) -> Any | None:
    found = None
    async for part in stream:
        found = part
    return found


QUESTIONS = {
    "AggregateLogs": lambda client: client.aggregate_logs(by=["ms"], filter=LATE),
    "SearchLogs": lambda client: client.search_logs("user 260", mode="keyword", filter=LATE),
    "ListPatterns": lambda client: client.list_patterns(filter=LATE),
    "ComparePatterns": lambda client: client.compare_patterns(LATE, LATE),
    "ListLogs": lambda client: client.list_logs(filter=LATE, page_size=1_000),
    "ListFields": lambda client: client.list_fields(filter=LATE),
    "ListFieldValues": lambda client: client.list_field_values(["ms"], filter=LATE),
}
"""Each reads the last segment and what is in memory."""


@pytest.fixture
async def asking(serving: Serving, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Store, Asking]]:
    monkeypatch.setattr(slices, "SLICE_ROWS", 100)
    async with serving() as (store, client):
        for begin in (0, 100, 200):
            await fill(store, begin, begin + 100)
            await store.seal()
        await fill(store, 300, 350)
        yield store, client


@pytest.mark.parametrize("name", QUESTIONS)
async def test_an_answer_says_what_was_read_for_it(asking: tuple[Store, Asking], name: str) -> None:
    store, client = asking
    cost = (await QUESTIONS[name](client)).cost
    assert (cost.segments_read, cost.segments_skipped, cost.rows_read) == (1, 2, 150)
    assert cost.bytes_read == store.view.segments[-1].size_bytes


async def test_what_the_statistics_answer_reads_no_record(asking: tuple[Store, Asking]) -> None:
    _, client = asking
    for cost in (
        (await client.aggregate_logs(by=["service"])).cost,
        (await client.list_patterns()).cost,
        (await client.list_field_values(["service", "severity", "pattern"])).cost,
    ):
        assert (cost.rows_read, cost.bytes_read, cost.segments_read, cost.segments_skipped) == (0, 0, 0, 3)


async def test_one_pattern_in_depth_and_neighbours_of_a_record_have_a_cost(asking: tuple[Store, Asking]) -> None:
    store, client = asking
    pattern = (await client.list_patterns(page_size=1)).patterns[0]
    cost = (await client.get_pattern(pattern.pattern_id)).cost
    assert (cost.segments_read + cost.segments_skipped, cost.rows_read) == (3, 100 * cost.segments_read + 50)
    cost = (await client.get_log_context(320, before=1, after=1, all_services=True)).cost
    assert (cost.segments_read, cost.rows_read) == (0, 50)
    cost = (await client.get_log_context(120, before=1, after=1, all_services=True)).cost
    assert (cost.segments_read, cost.segments_skipped, cost.bytes_read) == (1, 2, store.view.segments[1].size_bytes)


async def test_sql_and_exports_say_it_at_their_end(asking: tuple[Store, Asking]) -> None:
    store, client = asking
    size = sum(segment.size_bytes for segment in store.view.segments)
    summary = (await last(client.execute_sql("select count(*) from logs"))).summary
    assert (summary.cost.rows_read, summary.cost.bytes_read, summary.cost.segments_read) == (350, size, 3)
    assert summary.cost.wait_ms + summary.cost.work_ms > 0
    summary = (await last(client.execute_sql("select count(*) from patterns"))).summary
    assert (summary.cost.rows_read, summary.cost.segments_read, summary.cost.segments_skipped) == (0, 0, 3)
    summary = (await last(client.export_logs(filter=LATE))).summary
    assert (summary.cost.rows_read, summary.cost.segments_read, summary.cost.segments_skipped) == (150, 1, 2)


def test_every_answer_of_a_question_has_a_cost() -> None:
    methods = pb.DESCRIPTOR.services_by_name["QueryService"].methods
    endless = {"WatchPatterns", "TailLogs", "GetQueryStatus"}
    answers = {method.name: method.output_type for method in methods if method.name not in endless}
    said_in = {"ExecuteSql": pb.SqlSummary.DESCRIPTOR, "ExportLogs": pb.ExportSummary.DESCRIPTOR}
    assert [name for name, kind in answers.items() if "cost" not in said_in.get(name, kind).fields_by_name] == []


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_is_waited_worked_or_that_of_the_caller(snapshot_of: SnapshotOf, record: MakeRecord) -> None:
    clock = Clock()
    timing = Timing(clock)
    with timing.waiting():
        clock.now += 2
    clock.now += 3
    with timing.away():
        clock.now += 40
    with snapshot_of([record(1)]) as snapshot:
        snapshot.waited_s += 1
        clock.now += 1
        cost = timing.cost(snapshot)
    assert (cost.wait_ms, cost.work_ms) == (3_000, 3_000)
    assert (cost.rows_read, cost.segments_read, cost.segments_skipped) == (0, 0, 0)


async def test_the_wait_for_a_position_is_told_apart_from_the_work(
    asking: tuple[Store, Asking], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(service, "Timing", lambda: Timing(clock))
    store, client = asking
    waits = asyncio.create_task(client.list_logs(min_positions=[Position(log_id=7, offset=360)]))
    async with asyncio.timeout(PATIENCE_S):
        while not store.board._waiting[7]:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
    clock.now += 2
    await fill(store, 350, 360)
    cost = (await waits).cost
    assert cost.wait_ms >= 2_000
    assert cost.work_ms == 0


async def test_the_wait_for_a_turn_is_a_wait(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 10)
        done = threading.Event()
        busy = [asyncio.create_task(_asked(store, lambda _: done.wait())) for _ in range(4)]
        await settled()
        waits = asyncio.create_task(_asked(store, lambda taken: taken.query("select count(*) from logs")))
        await settled()
        began = time.monotonic()
        done.set()
        ended = time.monotonic()
        assert await waits > ended - began
        await asyncio.gather(*busy)


async def _asked(store: Store, work: Callable[[Any], bool] | Callable[[Any], Any]) -> float:
    with store.snapshot() as snapshot:
        await store.run(snapshot, work)
        return snapshot.waited_s
