"""Callers that go away in the middle: every rpc that changes state, cancelled at each of its awaits."""

import asyncio
import threading

import pytest
from embed_doubles import LOG_ID, WordModels, frame, running
from prometheus_client import CollectorRegistry

from tests.cancelling import at_each_await, cancelled_at, drained
from treering.v1 import embed_pb2 as pb
from treering.v1 import sink_pb2
from treering.v1.log_pb2 import Position
from treering_embed.encoder.queue import Urgency
from treering_embed.indexing.reindexing import Phase
from treering_embed.registry.kept import Background
from treering_embed.registry.registry import Registry
from treering_embed.sink import sink as sink_module
from treering_runtime.columns import FrameDecoder
from treering_runtime.patterns import pattern_id
from treering_runtime.sink import SinkServicer

PATIENCE_S = 120


def kind(number: int) -> str:
    """A message of a kind of its own; digits would be masked."""
    return "kind " + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def key(number: int) -> int:
    return pattern_id("shop/checkout", kind(number))


class Broken(FrameDecoder):
    """Cannot read one word while `broken` is set."""

    broken = True

    def decode(self, log_id, frames, skip_below=0):
        if self.broken and any(b"unspeakable" in frame.payload for frame in frames):
            raise ValueError("it holds a word that cannot be read")
        return super().decode(log_id, frames, skip_below)


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(sink_module, "FrameDecoder", Broken)
    monkeypatch.setattr(Broken, "broken", True)
    return monkeypatch


@pytest.fixture
def begun(monkeypatch):
    """Work on threads has begun when its caller is cancelled, so that it cannot be taken back: the harder case."""

    async def run(self, function, *arguments):
        started = threading.Event()

        def work():
            started.set()
            return function(*arguments)

        ended = asyncio.get_running_loop().run_in_executor(self._executor, work)
        started.wait(PATIENCE_S)
        return await ended

    monkeypatch.setattr(Background, "run", run)


class Log:
    """What was delivered, from the beginning, as ingest would send it again from where the sink stands."""

    def __init__(self, application):
        self.sink, self.messages = application.sink, []

    @property
    def end(self):
        return len(self.messages)

    async def deliver(self):
        begin = self.sink.board.get(LOG_ID).next_offset
        if messages := self.messages[begin:]:
            await self.sink.deliver(LOG_ID, [frame(begin, messages)], self.end)

    async def visible(self):
        await self.sink.board.wait_visible([Position(log_id=LOG_ID, offset=self.end)], PATIENCE_S)


async def healthy(application, patterns: int) -> None:
    """Book, registry and index say the same, and have so many patterns."""
    await application._kept.tasks.ended()
    async with asyncio.timeout(PATIENCE_S):
        while application._kept.book.pending_count:
            await application._kept.registry_thread.run(list)
    found = await application.meaning.compare()
    assert (found.missing, found.unknown, found.pending) == ([], [], [])
    assert len(found.indexed) == patterns == application._kept.book.pattern_count
    assert all(map(application._kept.book.is_known, found.indexed))


async def test_a_delivery_that_is_cut_off_is_taken_or_is_not(settings, broken, begun):
    async with running(settings) as service:
        log = Log(service.application)

        def one_more():
            log.messages += [kind(log.end), "unspeakable"]
            return log.deliver()

        async def look(step):
            await log.deliver()
            await log.visible()
            assert log.sink.board.get(LOG_ID).quarantined == step
            await healthy(service.application, step)

        assert await at_each_await(one_more, look) >= 1


async def test_a_listing_that_is_cut_off_leaves_nothing_uncommitted_or_unindexed(settings, broken, begun):
    async with running(settings) as service:
        log, servicer = Log(service.application), SinkServicer(service.application.sink, CollectorRegistry())

        async def one_more():
            log.messages += [kind(log.end), "unspeakable"]
            await log.deliver()
            await drained(servicer.ListQuarantine(sink_pb2.ListQuarantineRequest(), None))

        async def look(step):
            await log.deliver()
            await log.visible()
            await service.application.sink.commit()
            progress = log.sink.board.get(LOG_ID)
            assert (progress.releasable_end, progress.quarantined) == (log.end, step)
            await healthy(service.application, step)

        assert await at_each_await(one_more, look) >= 2


async def test_a_retry_that_is_cut_off_reads_each_record_once(settings, broken, begun):
    async with running(settings) as service:
        log, servicer = Log(service.application), SinkServicer(service.application.sink, CollectorRegistry())

        async def look(step):
            await service.application._kept.tasks.ended()
            async for response in servicer.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(), None):
                assert response.quarantined_count == 0
            await log.visible()
            await healthy(service.application, step)

        for step in range(1, 50):
            broken.setattr(Broken, "broken", True)
            log.messages.append(f"unspeakable {kind(step)}")
            await log.deliver()
            broken.setattr(Broken, "broken", False)
            was_cut = await cancelled_at(step, drained(servicer.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(), None)))
            await look(step)
            if not was_cut:
                break
        assert step > 2


async def test_forgetting_that_is_cut_off_forgets_everywhere_or_nowhere(settings, begun):
    async with running(settings) as service:
        log = Log(service.application)

        async def fresh():
            log.messages.append(kind(log.end))
            await log.deliver()
            await log.visible()
            await service.application.meaning.forget([key(log.end - 1)], {LOG_ID: log.end})

        async def look(step):
            await log.deliver()
            await log.visible()
            await service.application._kept.tasks.ended()
            await healthy(service.application, service.application._kept.book.pattern_count)
            log.messages.append(kind(log.end - 1))
            await log.deliver()
            await log.visible()
            assert service.application._kept.book.is_known(key(log.end - 2))
            await healthy(service.application, step)

        assert await at_each_await(fresh, look) >= 3


async def test_a_delivery_during_forgetting_registers_its_patterns(settings, monkeypatch):
    deleted, go, forget = threading.Event(), threading.Event(), Registry.forget

    def slow(self, pattern_ids, below):
        gone = forget(self, pattern_ids, below)
        deleted.set()
        go.wait(PATIENCE_S)
        return gone

    async with running(settings) as service:
        log, application = Log(service.application), service.application
        log.messages.append(kind(0))
        await log.deliver()
        await log.visible()
        monkeypatch.setattr(Registry, "forget", slow)
        forgetting = asyncio.create_task(application.meaning.forget([key(0)], {LOG_ID: 1}))
        await asyncio.to_thread(deleted.wait, PATIENCE_S)
        log.messages.append(kind(0))
        delivering = asyncio.create_task(log.deliver())
        for _ in range(20):  # a delivery that did not wait would be taken by now: its thread has done twenty other things
            await application.sink._decoding.run(list)
        go.set()
        assert await forgetting == 1
        await delivering
        await log.visible()
        await healthy(application, 1)


async def test_a_pattern_that_is_registered_again_while_it_is_forgotten_keeps_its_vector(settings):
    async with running(settings) as service:
        log, application = Log(service.application), service.application
        log.messages.append(kind(0))
        await log.deliver()
        await log.visible()
        # the index deletes late: only when the same pattern could be indexed again, if nothing held that up
        index, late = application.meaning.engine().index, threading.Event()
        delete, going = index.delete, asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(pattern_ids):
            loop.call_soon_threadsafe(going.set)
            late.wait(PATIENCE_S)
            delete(pattern_ids)

        index.delete = slow
        forgetting = asyncio.create_task(application.meaning.forget([key(0)], {LOG_ID: 1}))
        await going.wait()
        log.messages.append(kind(0))
        await log.deliver()
        await application.sink.commit()
        for _ in range(20):
            await application.meaning.engine().encoder.encode(["others"], Urgency.TEXTS)
            await application._kept.registry_thread.run(list)
        late.set()
        await forgetting
        await log.visible()
        await healthy(application, 1)


async def test_an_order_to_reindex_that_is_cut_off_goes_on_by_itself_or_does_not_begin(settings, begun):
    models = WordModels(dimensions={"wide": 96, "narrow": 16})
    async with running(settings, models) as service:
        log, application = Log(service.application), service.application
        log.messages += [kind(number) for number in range(3)]
        await log.deliver()
        await log.visible()
        names = ["wide", "narrow"]

        async def look(step):
            names.reverse()
            await application._kept.tasks.ended()
            async with asyncio.timeout(PATIENCE_S):
                while application.reindexer.progress.running:
                    await application._kept.registry_thread.run(list)
            assert await application._kept.registry_thread.run(application._kept.successor.note) is None
            began = application.reindexer.progress.phase is Phase.DONE
            assert not began or application.meaning.note.model == application.reindexer.progress.model
            await healthy(application, 3)

        assert await at_each_await(lambda: application.reindexer.request(names[0]), look) >= 1
        status = await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert status.reindex.phase == pb.REINDEX_PHASE_DONE


async def test_of_two_orders_at_the_same_time_one_is_refused(settings):
    async with running(settings, WordModels(dimensions={"wide": 96, "narrow": 16})) as service:
        orders = [service.application.reindexer.request(model) for model in ("wide", "narrow")]
        done = await asyncio.gather(*orders, return_exceptions=True)
        assert [type(each).__name__ for each in done] == ["ReindexProgress", "ServiceError"]
