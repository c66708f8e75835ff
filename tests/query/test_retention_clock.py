"""A wrong clock deletes nothing: what becomes of records when the clocks of machines leap."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cancelling import at_each_await
from tests.hostile import ALL, SEED, chance
from tests.query.conftest import OpenStore
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord, Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.answers.status import Status
from treering_query.retention.clock_order import CLOCK_ORDER_FILE, write_clock_order
from treering_query.retention.retention_clock import Clocks, KeptTime, RetentionClock
from treering_query.retention.upkeep import Policy
from treering_query.settings import QuerySettings
from treering_query.store import keeper
from treering_query.store.store import Store
from treering_runtime.limits import MAX_TIME_UNIX_NANO

SECOND = 10**9
HOUR = 3600 * SECOND
DAY = 24 * HOUR
YEAR = 365 * DAY
START = 1_800_000_000 * SECOND
A_WEEK = Policy(age_s=7 * 86_400)


class Machine:
    """The clocks of a machine."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.boottime = START, 5 * DAY, 6 * DAY
        self.clocks = Clocks(lambda: max(1, min(self.wall, MAX_TIME_UNIX_NANO)), lambda: self.monotonic, lambda: self.boottime)

    def runs(self, nanoseconds: int) -> None:
        self.monotonic += nanoseconds
        self.sleeps(nanoseconds)

    def sleeps(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.boottime += nanoseconds

    def leaps(self, nanoseconds: int) -> None:
        self.wall += nanoseconds

    def boots_anew(self) -> None:
        self.monotonic = self.boottime = SECOND


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def opened(open_store: OpenStore, machine: Machine) -> Callable[[], AbstractAsyncContextManager[Store, bool | None]]:
    return lambda: open_store(clocks=machine.clocks)


async def take(store: Any, offset: int, arrival: int, service: str = "a") -> None:
    """Seals one record."""
    record = LogRecord(service=service, message=f"record {offset} of {service}")
    await store.open_log(7, 0)
    frame = DeliveredFrame(first_offset=offset, record_count=1, arrival_time_unix_nano=arrival, payload=_payload(record))
    await store.deliver(7, [frame], offset + 1)
    await store.seal()


def _payload(record: LogRecord) -> bytes:
    return LogBatch(records=[record]).SerializeToString()


def offsets(store: Any) -> list[int]:
    with store.snapshot() as snapshot:
        return [row["offset"] for row in snapshot.query('select "offset" from logs order by 1').to_pylist()]


async def forget(pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
    del pattern_ids, below


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def turn(store: Any, policy: Policy = A_WEEK) -> None:
    await keeper.turn(store, policy, forget)


def order(store: Any) -> None:
    write_clock_order(store.clock._directory, store.clock._clocks.wall())


@pytest.mark.parametrize("leap", [10 * YEAR, 2 * HOUR, -2 * HOUR, -55 * YEAR, 235 * YEAR, 272 * YEAR])
async def test_a_clock_that_leaps_and_comes_back_deletes_nothing(opened: Any, machine: Machine, leap: int) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(DAY)
        await turn(store)
        machine.leaps(leap)
        await turn(store)
        await take(store, 1, min(machine.wall, 2**63 - 2))
        await turn(store)
        machine.leaps(-leap)
        machine.runs(30 * DAY)
        await turn(store)
        assert offsets(store) == [0, 1]
        assert "accept-clock" in store.clock.problem


FAR = (2 * HOUR, DAY, 8 * DAY, YEAR, 10 * YEAR, 60 * YEAR, 235 * YEAR, 300 * YEAR)


@pytest.mark.parametrize("number", range(25 if ALL else 3))
async def test_whatever_the_clocks_do_no_record_goes_before_it_has_been_there_for_its_time(
    opened: Any, machine: Machine, number: Callable[[range], int]
) -> None:
    random, passed, sealed = chance("clocks", number), 0, []
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened())
        for _ in range(40 if ALL else 20):
            hours = random.randrange(1, 40) * HOUR
            match random.randrange(8):
                case 0:
                    machine.leaps(random.choice((1, -1)) * (random.choice(FAR) + random.randrange(HOUR)))
                case 1:
                    machine.sleeps(hours)
                    passed += hours
                case 2:
                    await stack.aclose()
                    if random.random() < 0.5:
                        machine.boots_anew()
                    store = await stack.enter_async_context(opened())
                case 3:
                    order(store)
                case 4:
                    arrival = random.choice((1, machine.clocks.wall(), MAX_TIME_UNIX_NANO, random.getrandbits(62)))
                    await take(store, len(sealed), arrival, random.choice("ab"))
                    sealed.append(passed)
                case _:
                    machine.runs(hours)
                    passed += hours
            await turn(store, random.choice((A_WEEK, Policy(age_s=7 * 86_400, service_age_s={"b": 8 * 86_400}))))
            young = {offset for offset, since in enumerate(sealed) if passed - since < 7 * DAY - HOUR}
            assert young <= set(offsets(store)), SEED


async def test_deletion_waits_over_restarts_until_the_clock_is_accepted(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.leaps(10 * YEAR)
        await turn(store)
        assert "+3,650.0 days" in store.clock.problem
    machine.leaps(-10 * YEAR)
    machine.boots_anew()
    async with opened() as store:
        machine.runs(8 * DAY)
        await turn(store)
        assert offsets(store) == [0]
        assert store.clock.leapt
        order(store)
        await turn(store)
        assert offsets(store) == []
        assert store.clock.problem == ""
    async with opened() as store:
        assert not store.clock.leapt


async def test_a_start_before_the_last_known_time_is_a_leap(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(6 * DAY)
        await turn(store)
    machine.leaps(-2 * HOUR)
    machine.boots_anew()
    async with opened() as store:
        machine.runs(2 * DAY)
        await turn(store)
        assert store.clock.leapt
        assert offsets(store) == [0]


async def test_a_start_seconds_before_the_last_known_time_is_none(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await turn(store)
    machine.leaps(-30 * SECOND)
    async with opened() as store:
        await turn(store)
        assert not store.clock.leapt


async def test_while_the_service_or_the_machine_stands_still_records_do_not_age(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.sleeps(30 * DAY)
        await turn(store)
        assert (offsets(store), store.clock.leapt) == ([0], False)
    machine.sleeps(30 * DAY)
    machine.boots_anew()
    async with opened() as store:
        await turn(store)
        assert (offsets(store), store.clock.leapt) == ([0], False)
        assert machine.wall - store.clock.now() == 60 * DAY
        machine.runs(7 * DAY + HOUR)
        await turn(store)
        assert offsets(store) == []


async def test_a_machine_that_resumes_or_starts_with_a_clock_years_ahead_deletes_nothing(opened: Any, machine: Machine) -> None:
    """The kernel takes the length of a suspend from the battery's clock: wall clock and boot time are wrong together."""
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.sleeps(10 * YEAR)
        await turn(store)
        assert offsets(store) == [0]
    machine.boots_anew()
    async with opened() as store:
        await turn(store)
        assert offsets(store) == [0]


async def test_an_accepted_clock_ends_the_lag_and_deletes_nothing_by_itself(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(6 * DAY)
        machine.sleeps(30 * DAY)
        await take(store, 1, machine.wall)
        order(store)
        await turn(store)
        assert store.clock.now() == machine.wall
        for day, left in ((0, [0, 1]), (2, [1]), (4, [1]), (2, [])):
            machine.runs(day * DAY)
            await turn(store)
            assert offsets(store) == left


@pytest.mark.parametrize("starts_anew", [False, True])
@pytest.mark.parametrize("wrong_by", [-55 * YEAR, 10 * YEAR, 240 * YEAR])
async def test_records_of_a_first_start_with_a_wrong_clock_keep_their_age_when_it_is_set_right(
    opened: Any, machine: Machine, wrong_by: int, starts_anew: bool
) -> None:
    """A machine without a battery starts in 1970, and the network sets its clock right: before the next turn, or before the next start."""
    machine.leaps(wrong_by)
    async with opened() as store:
        await take(store, 0, machine.clocks.wall())
        machine.runs(HOUR)
        if not starts_anew:
            machine.leaps(-wrong_by)
            await turn(store)
            order(store)
            await turn(store)
            await still_a_week(store, machine)
    if starts_anew:
        machine.leaps(-wrong_by)
        async with opened() as store:
            await turn(store)
            order(store)
            await turn(store)
            await still_a_week(store, machine)


async def still_a_week(store: Any, machine: Machine) -> None:
    assert (store.clock.leapt, store.clock.now(), offsets(store)) == (False, machine.wall, [0])
    machine.runs(6 * DAY)
    await turn(store)
    assert offsets(store) == [0]
    machine.runs(DAY + HOUR)
    await turn(store)
    assert offsets(store) == []


@pytest.mark.parametrize("wrong_by", [-55 * YEAR, 10 * YEAR])
async def test_what_is_sealed_while_an_order_is_carried_out_moves_with_the_clock(opened: Any, machine: Machine, wrong_by: int) -> None:
    machine.leaps(wrong_by)
    async with opened() as store:
        machine.leaps(-wrong_by)
        order(store)
        await asyncio.gather(turn(store), take(store, 0, machine.wall))
        await asyncio.gather(take(store, 1, machine.wall), turn(store))
        assert [segment.sealed_time for segment in store.view.segments] == [machine.wall] * 2


async def test_ages_move_once_also_when_the_commit_of_an_order_seems_to_fail(
    opened: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.leaps(10 * YEAR)
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.leaps(-10 * YEAR)
        order(store)
        with monkeypatch.context() as patch:
            patch.setattr("treering_query.retention.retention_clock.RetentionClock.restart", full)
            await turn(store)
            assert (store.clock.leapt, offsets(store)) == (True, [0])
        await turn(store)
        assert not store.clock.leapt
        assert [segment.sealed_time for segment in store.view.segments] == [machine.wall]


@pytest.mark.parametrize("wrong_by", [-55 * YEAR, -8 * DAY, 10 * YEAR])
async def test_records_that_another_machine_dated_wrongly_age_from_their_sealing(opened: Any, machine: Machine, wrong_by: int) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall + wrong_by)
        machine.runs(6 * DAY)
        await turn(store)
        assert offsets(store) == [0]
        machine.runs(2 * DAY)
        await turn(store)
        assert offsets(store) == []


@pytest.mark.parametrize("wrong_by", [-55 * YEAR, 0, 10 * YEAR])
async def test_the_oldest_go_when_all_are_too_large_whatever_their_dates(opened: Any, machine: Machine, wrong_by: int) -> None:
    async with opened() as store:
        for number in range(3):
            await take(store, number, machine.wall + (wrong_by if number == 1 else 0))
            machine.runs(HOUR)
        largest = max(segment.size_bytes for segment in store.view.segments)
        for left in ([1, 2], [2]):
            await turn(store, Policy(size_bytes=largest * len(left)))
            assert offsets(store) == left


async def test_the_bound_of_size_holds_while_deletion_by_age_waits(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(HOUR)
        machine.leaps(10 * YEAR)
        await take(store, 1, machine.wall)
        newest = store.view.segments[-1]
        await turn(store, Policy(age_s=86_400, size_bytes=newest.size_bytes))
        assert offsets(store) == [1]
        assert store.clock.leapt


async def test_merged_segments_are_as_old_as_the_newest_of_them(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        for number in range(4):
            await take(store, number, machine.wall)
            machine.runs(2 * DAY)
        sealed = max(segment.sealed_time for segment in store.view.segments)
        await turn(store, Policy())
        [merged] = store.view.segments
        assert (merged.row_count, merged.sealed_time) == (4, sealed)


def made_by_an_earlier_version(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "store" / "logs.duckdb")) as old:
        old.execute("alter table segments drop column sealed_time")
        old.execute("drop table retention_clock")


@pytest.mark.parametrize("wrong_by", [-55 * YEAR, 0, 10 * YEAR, 230 * YEAR])
async def test_records_of_an_earlier_version_were_sealed_when_they_arrived_but_not_later_than_now(
    opened: Any, machine: Machine, tmp_path: Path, wrong_by: int
) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        await take(store, 1, machine.wall + wrong_by)
    made_by_an_earlier_version(tmp_path)
    async with opened() as store:
        assert [segment.sealed_time for segment in store.view.segments] == [START, START + min(wrong_by, 0)]
        order(store)
        await turn(store, Policy())
        machine.runs(8 * DAY)
        await turn(store)
        assert offsets(store) == []


@pytest.mark.parametrize(("wrong_by", "leapt"), [(10 * YEAR, False), (-2 * DAY, True)])
async def test_a_store_of_an_earlier_version_goes_on_from_its_newest_record(
    opened: Any, machine: Machine, tmp_path: Path, wrong_by: int, leapt: bool
) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
    made_by_an_earlier_version(tmp_path)
    machine.leaps(wrong_by)
    machine.boots_anew()
    async with opened() as store:
        await turn(store)
        assert (offsets(store), store.clock.leapt) == ([0], leapt)
        machine.runs(8 * DAY)
        await turn(store)
        assert offsets(store) == ([0] if leapt else [])


async def test_a_first_start_with_a_clock_ahead_is_put_right_by_the_operator(opened: Any, machine: Machine) -> None:
    machine.leaps(10 * YEAR)
    async with opened() as store:
        await take(store, 0, machine.wall)
    machine.leaps(-10 * YEAR)
    machine.boots_anew()
    async with opened() as store:
        assert store.clock.leapt
        order(store)
        await turn(store)
        assert (offsets(store), store.clock.leapt) == ([0], False)
        machine.runs(8 * DAY)
        await turn(store)
        assert offsets(store) == []


async def test_an_order_is_carried_out_once_and_accepts_no_other_leap(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        order(store)
        await turn(store)
        machine.leaps(10 * YEAR)
        await turn(store)
        assert store.clock.leapt
    async with opened() as store:
        await turn(store)
        assert store.clock.leapt


async def test_an_order_that_was_carried_out_does_not_accept_a_leap_back_to_its_time(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        order(store)
        await turn(store)
        machine.runs(3 * HOUR // 2)
        machine.leaps(-2 * HOUR)
        await turn(store)
        assert store.clock.leapt


async def test_an_order_from_before_the_leap_is_not_carried_out(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        order(store)
        machine.leaps(10 * YEAR)
        await turn(store)
        assert (store.clock.leapt, store.clock.now()) == (True, START)
        machine.leaps(-10 * YEAR)
        await turn(store)
        assert store.clock.leapt
        assert offsets(store) == [0]


@pytest.mark.parametrize("content", ["{", "[]", '{"order_id": "a"}', '{"order_id": "a", "time_unix_nano": "soon"}'])
async def test_a_damaged_order_is_none(opened: Any, machine: Machine, tmp_path: Path, content: str) -> None:
    async with opened() as store:
        machine.leaps(10 * YEAR)
        (tmp_path / "store" / CLOCK_ORDER_FILE).write_text(content)
        await turn(store)
        assert store.clock.leapt


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_an_order_that_cannot_be_read_is_none(opened: Any, machine: Machine, tmp_path: Path) -> None:
    async with opened() as store:
        machine.leaps(10 * YEAR)
        (tmp_path / "store" / CLOCK_ORDER_FILE).touch(mode=0)
        await turn(store)
        assert store.clock.leapt


async def test_an_accepted_clock_is_accepted_wherever_the_turn_is_cancelled(opened: Any, machine: Machine, tmp_path: Path) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)

        async def look(step: int) -> None:
            del step
            await turn(store)  # the next turn of the keeper
            assert not store.clock.leapt
            assert abs(store.clock.now() - machine.wall) < SECOND
            assert offsets(store) == [0]
            again()

        def again() -> None:
            machine.leaps(2 * HOUR)
            store.clock._clock.look()
            assert store.clock.leapt
            order(store)

        again()
        assert await at_each_await(store.clock.turn, look) >= 1


async def test_a_time_that_cannot_be_kept_keeps_nothing_from_deletion_nor_a_leap_from_notice(
    opened: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(8 * DAY)
        with monkeypatch.context() as patch:
            patch.setattr("treering_query.sealed.clock_row.ClockRow.keep", full)
            machine.leaps(10 * YEAR)
            await turn(store)
            assert (offsets(store), store.clock.leapt) == ([0], True)
        order(store)
        with monkeypatch.context() as patch:
            patch.setattr("treering_query.sealed.clock_row.ClockRow.set", full)
            await turn(store)
            assert (offsets(store), store.clock.leapt) == ([0], True)
    async with opened() as store:
        assert store.clock.leapt


async def test_a_full_disk_that_keeps_no_time_is_emptied_all_the_same(
    opened: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treering_query.sealed.clock_row.ClockRow.keep", full)
    async with opened() as store:
        await take(store, 0, machine.wall)
        machine.runs(8 * DAY)
        await turn(store)
        assert offsets(store) == []


async def test_status_says_what_waits_only_where_an_age_is_set(opened: Any, machine: Machine) -> None:
    async with opened() as store:
        machine.leaps(10 * YEAR)
        await turn(store)
        for settings, waits in (({"retention_age_s": 60}, True), ({"retention_service_age_s": {"a": 60}}, True), ({}, False)):
            answer = await Status(store, QuerySettings(**settings)).answer()
            assert ("treering store accept-clock" in answer.retention_problem) is waits
            assert answer.retention_time_unix_nano == START


def test_a_clock_beyond_2262_is_the_last_time_there_is(machine: Machine) -> None:
    machine.wall = 2**63 + YEAR
    clock = RetentionClock(machine.clocks, None)
    machine.runs(DAY)
    assert clock.now() == 2**63 - 2
    assert clock.kept == KeptTime(2**63 - 2)


def test_many_small_steps_of_a_clock_are_a_leap_in_the_end(machine: Machine) -> None:
    clock = RetentionClock(machine.clocks, None)
    for _ in range(3):
        machine.leaps(HOUR // 2)
        clock.look()
    assert clock.leap_s == 5400


@pytest.mark.parametrize("step", [SECOND, -SECOND])
def test_a_second_each_day_is_no_leap_after_twenty_years(machine: Machine, step: int) -> None:
    """Neither of a process that runs on nor of one that starts each month: the clock follows what drift explains."""
    clock = RetentionClock(machine.clocks, None)
    for day in range(20 * 365):
        machine.runs(DAY)
        machine.leaps(step)
        clock.look()
        if day % 30 == 0:
            assert RetentionClock(machine.clocks, clock.kept).leap_s == 0
    assert clock.leap_s == 0
    assert abs(clock.now() - machine.wall) < 2 * SECOND


def test_a_clock_that_leapt_is_not_followed(machine: Machine) -> None:
    clock = RetentionClock(machine.clocks, None)
    machine.leaps(10 * YEAR)
    for day in range(1, 100):
        clock.look()
        machine.runs(DAY)
        assert clock.now() == START + day * DAY
