"""After a restart questions wait until what was visible before it is visible again."""

import asyncio

import grpc
import pyarrow as pa
import pytest

from tests.patience import PATIENCE_S
from tests.settling import settled
from treering.v1 import admin_pb2
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import limits
from treering_query.store import shown as shown_module
from treering_query.store.shown import ShownEnds
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import find_patterns
from treering_runtime.progress import ProgressBoard

FOREVER_S = 3_600


@pytest.fixture
def board():
    return ProgressBoard()


@pytest.fixture
def after_restart(tmp_path, board):
    """What a process finds whose predecessor, killed, had shown these ends."""

    def made(ends: dict[int, int], patience_s: float = FOREVER_S) -> ShownEnds:
        before = ShownEnds(tmp_path / "shown", ProgressBoard())
        for log_id, end in ends.items():
            before.note(log_id, end // 2)
            before.note(log_id, end)
        return ShownEnds(tmp_path / "shown", board, patience_s)

    return made


async def test_nothing_is_waited_for_where_nothing_was_shown(tmp_path, board):
    shown = ShownEnds(tmp_path / "shown", board)
    await shown.watch()
    await shown.returned(0)


async def test_waits_for_every_log_and_for_the_last_record(after_restart, board):
    shown = after_restart({1: 10, 2: 20})
    watching, waiting = asyncio.create_task(shown.watch()), asyncio.create_task(shown.returned(None))
    for log_id, end in ((1, 10), (2, 19)):
        shown.note(log_id, end)
        board.update(log_id, visible_end=end)
        await settled()
        assert not waiting.done()
    with pytest.raises(ServiceError, match="1 records that were visible before the restart are not yet again; ask again with more time"):
        await shown.returned(0)
    shown.note(2, 20)
    board.update(2, visible_end=20)
    await asyncio.gather(watching, waiting)


async def test_a_process_that_dies_while_it_waits_leaves_the_same_to_the_next(after_restart, tmp_path):
    shown = after_restart({1: 10})
    shown.note(1, 4)
    again = ShownEnds(tmp_path / "shown", ProgressBoard(), FOREVER_S)
    with pytest.raises(ServiceError, match=r"^10 records"):
        await again.returned(0)


async def test_a_log_that_delivers_nothing_is_given_up_once(after_restart, tmp_path, board):
    shown = after_restart({1: 10, 2: 20}, patience_s=0.05)
    board.update(1, visible_end=10)
    await shown.watch()
    await shown.returned(0)
    again = ShownEnds(tmp_path / "shown", board, FOREVER_S)
    await again.watch()
    again.note(2, 20)  # it comes after all
    third = ShownEnds(tmp_path / "shown", ProgressBoard(), 0)
    with pytest.raises(ServiceError, match="30 records"):
        await third.returned(0)


async def test_a_log_that_delivers_slowly_is_waited_for(after_restart, board, monkeypatch):
    now = 0.0
    monkeypatch.setattr(shown_module.time, "monotonic", lambda: now)
    shown = after_restart({1: 1_000}, patience_s=100)
    watching = asyncio.create_task(shown.watch())
    for end in range(0, 1_001, 50):
        await settled()
        assert not watching.done()
        now += 99
        board.update(1, visible_end=end)
    await watching
    await shown.returned(0)


async def test_more_logs_than_there_are_slots_are_served_and_not_waited_for(tmp_path, board):
    shown = ShownEnds(tmp_path / "shown", board)
    for log_id in range(1, limits.MAX_SHOWN_LOGS + 3):
        shown.note(log_id, 1)
    again = ShownEnds(tmp_path / "shown", ProgressBoard(), FOREVER_S)
    with pytest.raises(ServiceError, match=f"^{limits.MAX_SHOWN_LOGS} records"):
        await again.returned(0)
    again.note(limits.MAX_SHOWN_LOGS + 1, 1)
    again.note(1, 2)


PATTERN = find_patterns(pa.array(["svc1"]), pa.array(["user 1 logged in"])).pattern_ids[0].as_py()
HALF = Position(log_id=7, offset=250)
QUESTIONS = {
    "AggregateLogs": pb.AggregateLogsRequest(),
    "ExecuteSql": pb.ExecuteSqlRequest(query="select count(*) as n from logs"),
    "SearchLogs": pb.SearchLogsRequest(text="user", mode=pb.SEARCH_MODE_KEYWORD),
    "ListPatterns": pb.ListPatternsRequest(),
    "GetPattern": pb.GetPatternRequest(pattern_id=PATTERN),
    "ComparePatterns": pb.ComparePatternsRequest(filter=LogFilter(services=["svc1"]), baseline=LogFilter(services=["svc2"])),
    "GetLogContext": pb.GetLogContextRequest(position=HALF),
    "TailLogs": pb.TailLogsRequest(backlog=1),
    "WatchPatterns": pb.WatchPatternsRequest(),
    "ExportLogs": pb.ExportLogsRequest(),
    "ListLogs": pb.ListLogsRequest(),
    "ListFields": pb.ListFieldsRequest(),
    "ListFieldValues": pb.ListFieldValuesRequest(fields=[pb.FieldRef(attribute="ms")]),
    "DigestStore": admin_pb2.DigestStoreRequest(log_id=7, end_offset_exclusive=300, step=100),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_after_a_restart_has_what_was_visible_before_it(serving, fill, question):
    async with serving() as (store, _):
        await fill(store, 0, 200)
        await store.seal()
        await fill(store, 200, 300)
    async with serving() as (store, client):
        await fill(store, 200, 299)
        with pytest.raises(grpc.aio.AioRpcError) as too_soon:
            await answered(client, question, 0.3)
        assert too_soon.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        asking = asyncio.create_task(answered(client, question, PATIENCE_S))
        await fill(store, 299, 300)
        await asking


async def answered(client, question, timeout_s):
    """The first response."""
    call = getattr(client._stubs["query"], question)(QUESTIONS[question], timeout=timeout_s)
    return await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read())


async def test_the_status_is_given_at_once(serving, fill):
    async with serving() as (store, _):
        await fill(store, 0, 100)
    async with serving() as (_, client):
        assert (await client.get_query_status()).record_count == 0
