"""Orders of a reindex: repeated under their own id, given up, and what holds of both over a restart."""

import asyncio

import grpc
import pytest
from embed_doubles import WordModels, frame, reason, running, settings_for
from test_reindex import DEFAULT, MESSAGES, Held, directories, ended, found, ids, status

from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering_embed.registry.ended import ReindexOutcome
from treering_embed.registry.ledgers import CurrentLedger, SuccessorLedger
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import Registry


@pytest.fixture
def models():
    return WordModels(dimensions={"wide": 96, "narrow": 16})


async def start(service, model="wide", request_id=""):
    return (await service.admin.StartReindex(admin_pb2.StartReindexRequest(model=model, request_id=request_id))).reindex


async def cancel(service, reindex_id=None):
    return (await service.admin.CancelReindex(admin_pb2.CancelReindexRequest(reindex_id=reindex_id))).reindex


async def stopped(service):
    """How the reindex that ran has ended."""
    async with asyncio.timeout(30):
        while (now := (await status(service)).reindex).phase in (pb.REINDEX_PHASE_PREPARING, pb.REINDEX_PHASE_EMBEDDING):
            pass
        return now


async def test_a_repeated_order_begins_nothing_while_it_runs_after_its_end_and_after_a_restart(settings, models):
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        held = Held(models, "wide", after=0)
        begun = await start(service, "wide", "mine")
        assert (begun.request_id, begun.reindex_id > 0) == ("mine", True)
        assert (await start(service, "wide", "mine")).reindex_id == begun.reindex_id
        assert (await start(service, "", "mine")).reindex_id == begun.reindex_id
        held.let_go()
        await ended(service)
        again = await start(service, "wide", "mine")
        assert (again.reindex_id, again.phase, again.done_count) == (begun.reindex_id, pb.REINDEX_PHASE_DONE, len(MESSAGES))
    async with running(settings, models) as service:
        again = await start(service, "wide", "mine")
        assert (again.reindex_id, again.phase, again.done_count) == (begun.reindex_id, pb.REINDEX_PHASE_DONE, len(MESSAGES))
        other = await start(service, "narrow", "another")
        assert other.reindex_id > begun.reindex_id
        assert (await ended(service)).model == "narrow"
        assert (await start(service, "wide", "mine")).reindex_id == begun.reindex_id


async def test_two_orders_of_one_id_at_the_same_time_are_one(settings, models):
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        both = await asyncio.gather(start(service, "wide", "mine"), start(service, "wide", "mine"))
        assert len({each.reindex_id for each in both}) == 1
        assert (await ended(service)).reindex.reindex_id == both[0].reindex_id


async def test_an_id_that_was_used_for_another_model_is_refused(settings, models):
    async with running(settings, models) as service:
        await start(service, "wide", "mine")
        await ended(service)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await start(service, "narrow", "mine")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(refused.value).metadata["field"] == "request_id"
        assert (await status(service)).model == "wide"


@pytest.mark.parametrize("after", [0, 3], ids=["before the first batch", "in the middle"])
async def test_a_cancelled_one_stops_and_leaves_what_answers_untouched(settings, models, after):
    many = [f"worker {'x' * n} stopped" for n in range(1, 200)]
    async with running(settings, models) as service:
        await service.deliver([frame(0, many)])
        before = directories(settings)
        held = Held(models, "wide", after=after)
        begun = await start(service)
        await held.reached.wait()
        assert (await cancel(service)).reindex_id == begun.reindex_id
        assert (await cancel(service, begun.reindex_id)).reindex_id == begun.reindex_id
        held.let_go()
        now = await stopped(service)
        assert (now.phase, now.problem, now.reindex_id) == (pb.REINDEX_PHASE_CANCELLED, "", begun.reindex_id)
        assert (await cancel(service, begun.reindex_id)).phase == pb.REINDEX_PHASE_CANCELLED
        assert (await status(service)).model == DEFAULT
        assert len(await found(service, "worker", 1_000)) == len(many)
        async with asyncio.timeout(30):
            while directories(settings) != before:
                await status(service)
        await start(service)
        assert (await ended(service)).model == "wide"
        assert len(await found(service, "worker", 1_000)) == len(many)


async def test_there_is_nothing_to_cancel(settings, models):
    async with running(settings, models) as service:
        for wanted in (None, 0, 99):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await cancel(service, wanted)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        done = await start(service, "wide")
        await ended(service)
        with pytest.raises(grpc.aio.AioRpcError):
            await cancel(service)
        assert (await cancel(service, done.reindex_id)).phase == pb.REINDEX_PHASE_DONE
        assert (await status(service)).model == "wide"


async def test_a_cancel_that_a_crash_followed_is_not_gone_on_with(settings, models):
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        held = Held(models, "wide", after=0)
        begun = await start(service, "wide", "mine")
        await held.reached.wait()
        asyncio.get_running_loop().call_later(0.1, held.let_go)
    registry = Registry(settings.data_dir / "registry.sqlite")
    assert SuccessorLedger(registry.db).cancel(begun.reindex_id)
    registry.close()
    async with running(settings, models) as service:
        after = await status(service)
        assert (after.model, after.reindex.phase) == (DEFAULT, pb.REINDEX_PHASE_IDLE)
        assert (await cancel(service, begun.reindex_id)).phase == pb.REINDEX_PHASE_CANCELLED
        assert (await start(service, "wide", "mine")).phase == pb.REINDEX_PHASE_CANCELLED
        assert await found(service) == ids()


async def test_a_cancel_of_what_the_setting_asked_for_holds_until_the_setting_is_changed(tmp_path, models):
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
    held = Held(models, "wide", after=0)
    async with running(settings_for(path, model="wide", models=DEFAULT), models) as service:
        await held.reached.wait()
        await cancel(service)
        held.let_go()
        assert (await stopped(service)).phase == pb.REINDEX_PHASE_CANCELLED
    async with running(settings_for(path, model="wide", models=DEFAULT), models) as service:
        assert ((await status(service)).model, (await status(service)).reindex.phase) == (DEFAULT, pb.REINDEX_PHASE_IDLE)
    async with running(settings_for(path, model="narrow"), models) as service:
        assert (await ended(service)).model == "narrow"


@pytest.fixture
def ledgers(tmp_path):
    registry = Registry(tmp_path / "registry.sqlite")
    current, successor = CurrentLedger(registry.db), SuccessorLedger(registry.db)
    current.begin(IndexNote("old", "old", 1, identity="a"))
    successor.begin(IndexNote("new", "old", 2, identity="b", request_id="mine"))
    yield current, successor
    registry.close()


def test_after_a_cancel_there_is_no_swap(ledgers):
    current, successor = ledgers
    assert successor.cancel(2)
    assert successor.promote() is None
    assert (current.note().model, successor.note().model) == ("old", "new")
    successor.abandon_cancelled("set")
    assert (current.note().model, current.note().configured, successor.note()) == ("old", "set", None)
    [end] = successor.ended()
    assert (end.number, end.request_id, end.outcome) == (2, "mine", ReindexOutcome.CANCELLED)


def test_after_the_swap_there_is_no_cancel(ledgers):
    current, successor = ledgers
    assert successor.promote() == []
    assert not successor.cancel(2)
    assert current.note().model == "new"
    assert [(end.number, end.outcome) for end in successor.ended()] == [(2, ReindexOutcome.DONE)]


def test_a_cancel_is_for_one_index_only(ledgers):
    _, successor = ledgers
    assert successor.cancel(2)
    successor.abandon_cancelled("old")
    successor.begin(IndexNote("new", "old", 3, identity="b"))
    assert not successor.is_cancelled()
    assert not successor.cancel(2)
    assert successor.promote() == []


def test_the_newest_ends_are_remembered(ledgers):
    _, successor = ledgers
    for number in range(3, 40):
        successor.begin(IndexNote("new", "old", number, request_id=str(number)))
        successor.abandon(ReindexOutcome.FAILED, "no such file")
    assert [end.number for end in successor.ended()] == list(range(24, 40))
    assert successor.ended()[-1].problem == "no such file"
