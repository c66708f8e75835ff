"""Turns are shared between callers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE_S
from tests.query.conftest import OpenSql, OpenStore
from tests.query.query_front import Away, serving_front
from tests.settling import settled
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.query_pb2_grpc import QueryServiceStub
from treering_runtime import caller
from treering_runtime.admission import Admission
from treering_runtime.errors import ServiceError


class Asking:
    """Queries of callers, each a task that holds its slot until it is told to end."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.began: list[tuple[str, int]] = []
        self.running: Counter[str] = Counter()
        self._ends: dict[tuple[str, int], asyncio.Event] = {}
        self._counts: Counter[str] = Counter()

    async def ask(self, name: str, timeout_s: float | None = None) -> "asyncio.Task[None]":
        task = self.begin(name, timeout_s)
        await settled()
        return task

    def begin(self, name: str, timeout_s: float | None = None) -> "asyncio.Task[None]":
        number = self._counts[name]
        self._counts[name] += 1
        self._ends[name, number] = asyncio.Event()
        return asyncio.create_task(self._query(name, number, timeout_s))

    async def _query(self, name: str, number: int, timeout_s: float | None) -> None:
        caller.serve(f"unix:{name}")
        async with self.admission.slot(timeout_s):
            self.began.append((name, number))
            self.running[name] += 1
            await self._ends[name, number].wait()
            self.running[name] -= 1

    async def end(self, name: str, number: int) -> None:
        self._ends[name, number].set()
        await settled()

    async def end_all(self) -> None:
        for end in self._ends.values():
            end.set()
        await settled()


async def test_no_caller_holds_the_last_slot_and_another_one_begins_at_once() -> None:
    asking = Asking(Admission("sql", 3, 8))
    for _ in range(5):
        await asking.ask("greedy")
    assert asking.running == {"greedy": 2}
    await asking.ask("other")
    assert asking.running == {"greedy": 2, "other": 1}
    await asking.end_all()
    assert len(asking.began) == 6
    assert asking.admission.present == 0


async def test_a_single_slot_is_everybodys() -> None:
    asking = Asking(Admission("verify", 1, 2))
    await asking.ask("one")
    assert asking.running == {"one": 1}
    await asking.end_all()


async def test_work_of_the_service_itself_may_hold_every_slot() -> None:
    admission = Admission("store", 2, 0)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(admission.slot(None))
        assert admission.present == 2


async def test_callers_that_wait_take_turns() -> None:
    asking = Asking(Admission("sql", 2, 32))
    for _ in range(6):
        await asking.ask("first")
    await asking.ask("second")
    for _ in range(2):
        await asking.ask("second")
    await asking.ask("third")
    assert asking.began == [("first", 0), ("second", 0)]
    for name, number in (("first", 0), ("first", 1), ("second", 0), ("third", 0)):
        await asking.end(name, number)
    assert asking.began[2:] == [("first", 1), ("third", 0), ("second", 1), ("first", 2)]
    await asking.end_all()


async def test_a_full_line_makes_room_for_a_caller_with_fewer_in_it() -> None:
    asking = Asking(Admission("sql", 2, 4))
    greedy = [await asking.ask("greedy") for _ in range(5)]
    with pytest.raises(ServiceError, match="5 sql queries run or wait already"):
        await await_end(await asking.ask("greedy"))
    assert not any(task.done() for task in greedy)
    other = [await asking.ask("other") for _ in range(2)]  # the first one runs: the last slot is not the greedy one's
    with pytest.raises(ServiceError, match="more of your sql queries than of any other caller wait") as refused:
        await await_end(greedy[-1])
    assert refused.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert not any(task.done() for task in [*greedy[:-1], *other])
    await asking.end_all()
    await asyncio.gather(*greedy[:-1], *other)
    assert asking.admission.present == 0


async def test_whoever_gives_up_in_the_moment_of_its_turn_leaves_the_slot_to_the_next() -> None:
    admission = Admission("sql", 1, 8)
    asking = Asking(admission)
    held = admission.slot(None)
    await held.__aenter__()
    gives_up, _ = await asking.ask("a"), await asking.ask("b")
    await held.__aexit__(None, None, None)  # nothing is waited for in it: the turn is given, and not taken yet
    gives_up.cancel()
    await settled()
    assert asking.began == [("b", 0)]
    await asking.end_all()
    assert admission.present == 0


async def test_whoever_gave_up_just_before_its_turn_takes_none_and_holds_nobody_up() -> None:
    admission = Admission("sql", 1, 8)
    asking = Asking(admission)
    held = admission.slot(None)
    await held.__aenter__()
    gives_up, _ = await asking.ask("a"), await asking.ask("b")
    gives_up.cancel()  # its task has not run since, so its place is in the line still
    await held.__aexit__(None, None, None)
    await settled()
    assert asking.began == [("b", 0)]
    await asking.end_all()
    assert admission.present == 0


async def test_whoever_gave_up_is_not_the_one_that_makes_room() -> None:
    asking = Asking(Admission("sql", 1, 3))
    greedy = [await asking.ask("greedy") for _ in range(4)]
    other = asking.begin("other")  # comes when the newest of the line has given up, and its task has not run since
    greedy[-1].cancel()
    await settled()
    assert [task.done() for task in [*greedy, other]] == [False, False, False, True, False]
    await asking.end_all()


async def test_a_line_that_does_not_move_ends_by_patience_or_deadline() -> None:
    asking = Asking(Admission("export", 1, 4, patience_s=0.01))
    await asking.ask("a")
    with pytest.raises(ServiceError, match="none of the export queries has ended"):
        await await_end(await asking.ask("b"))
    with pytest.raises(ServiceError, match="waited for its turn until its time was over"):
        await await_end(await asking.ask("b", timeout_s=0.001))
    assert asking.admission.present == 1
    await asking.end_all()


async def await_end(task: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(60):
        await task


@given(
    running=st.integers(1, 4), waiting=st.integers(0, 6), steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40)
)
def test_whatever_comes_and_goes_the_bounds_hold_and_nobody_is_forgotten(running: int, waiting: int, steps: list[Any]) -> None:
    asyncio.run(_played(running, waiting, steps))


async def _played(running: int, waiting: int, steps: list[tuple[str, int]]) -> None:
    asking = Asking(Admission("sql", running, waiting))
    tasks = []
    for name, act in steps:
        if act == 0 and tasks:
            tasks[len(asking.began) % len(tasks)].cancel()
            await settled()
        elif act == 1 and asking.began:
            await asking.end(*asking.began[-1])
        else:
            tasks.append(await asking.ask(name))
        assert asking.admission._held.total() <= running
        assert asking.admission._waiting() <= waiting
        assert all(count <= max(1, running - 1) for count in asking.admission._held.values())
        free = running - asking.admission._held.total()
        assert not free or not any(map(asking.admission._may_run, asking.admission._lines))
    await asking.end_all()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, ServiceError | asyncio.CancelledError) for outcome in outcomes)
    assert asking.admission.present == 0


# the inner tables are small: a larger one would reach the limit of memory within a second
ENDLESS = pb.ExecuteSqlRequest(query="select count(*) from range(1000000) a, range(1000000) b, range(1000) c", timeout_ms=600_000)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[QueryServiceStub]:
    """By a connection of its own, as another process would have."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield QueryServiceStub(channel)


async def test_sql_of_others_begins_beside_a_caller_that_takes_all_it_can(open_store: OpenStore, open_sql: OpenSql, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store())
        sql = await stack.enter_async_context(open_sql(store, tmp_path / "store", waiting=4))
        front, _ = await stack.enter_async_context(serving_front(store, sql, Away()))
        greedy, other = [await stack.enter_async_context(connected(front.address)) for _ in range(2)]
        await stack.enter_async_context(asyncio.timeout(PATIENCE_S))
        calls = [greedy.ExecuteSql(ENDLESS) for _ in range(5)]
        while sql._admission.present < len(calls):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        for _ in range(3):
            answer = [part async for part in other.ExecuteSql(pb.ExecuteSqlRequest(query="select 1"))]
            assert answer[-1].summary.row_count == 1
        assert [await call.code() for call in calls if call.done()] == []  # type: ignore[misc]
        for call in calls:
            call.cancel()
