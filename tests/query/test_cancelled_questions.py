"""A caller that hangs up at any moment leaves nothing behind: no segment held, no task, no turn taken, no process, no descriptor."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from unittest.mock import Mock

import duckdb
import psutil
import pytest

from tests.cancelling import at_each_await, cancelled_at, drained
from tests.patience import PATIENCE_S
from tests.settling import settled
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query.answers.status import Status
from treering_query.meaning.embed_client import EmbedUnavailable
from treering_query.meaning.meaning import MeaningClient
from treering_query.search.searcher import Searcher
from treering_query.service import QueryServicer
from treering_query.settings import QuerySettings
from treering_query.streams.bounds import StreamBounds
from treering_query.view.interruptible import interruptible
from treering_runtime.errors import ServiceError

LOG = 7


class Away:
    """An embed service that does not answer."""

    async def search(self, query, timeout_s):
        await asyncio.sleep(0)
        raise EmbedUnavailable("embed does not answer")

    async def score(self, texts, min_positions, timeout_s):
        await asyncio.sleep(0)
        raise EmbedUnavailable("embed does not answer")


class Context:
    """What a handler sees of a call without a deadline."""

    def time_remaining(self):
        return None


class Serving:
    """A servicer, and what it holds."""

    def __init__(self, store, sql, bounds):
        self.store, self.sql = store, sql
        self.servicer = QueryServicer(
            store, sql, Status(store, QuerySettings()), Searcher(store, Away()), MeaningClient(Away()), bounds=bounds
        )
        self.tasks = asyncio.all_tasks()
        self.descriptors = psutil.Process().num_fds()

    def held(self):
        """Everything that a call may hold."""
        servicer = self.servicer
        admissions = (servicer._exports.admission, servicer._followers, self.sql._admission, self.store._engine._admission)
        rounds = [hub for hub in (servicer._tails, servicer._watches) if hub._round is not None]
        pinned = [held] if (held := self.store._published.held()) else []
        children = psutil.Process(self.sql._zygote.pid).children()
        tasks = asyncio.all_tasks() - self.tasks - {asyncio.current_task()}
        return [*(admission.present for admission in admissions if admission.present), *pinned, *rounds, *children, *tasks]

    async def nothing_is_left(self, step):
        async with asyncio.timeout(60):
            while self.held() or psutil.Process().num_fds() > self.descriptors:
                gc.collect()  # tables in memory have descriptors, and an error's traceback may hold one in a cycle
                await asyncio.sleep(0)


@pytest.fixture
def serving_alone(open_store, open_sql, fill, tmp_path):
    @asynccontextmanager
    async def opened(**bounds):
        async with open_store() as store, open_sql(store, tmp_path / "store") as sql:
            await fill(store, 0, 100)
            await store.seal()
            await fill(store, 100, 200)
            serving = Serving(store, sql, StreamBounds(**bounds))
            # what is loaded or opened once, and stays
            await drained(serving.servicer.ExportLogs(pb.ExportLogsRequest(), Context()))
            await drained(serving.servicer.ExecuteSql(pb.ExecuteSqlRequest(query="from patterns"), Context()))
            await serving.servicer.AggregateLogs(pb.AggregateLogsRequest(), Context())
            serving.descriptors = psutil.Process().num_fds()
            yield serving
            serving.servicer.close()

    return opened


ENDING = {
    "ExportLogs": lambda servicer: drained(servicer.ExportLogs(pb.ExportLogsRequest(), Context())),
    "ExecuteSql": lambda servicer: drained(servicer.ExecuteSql(pb.ExecuteSqlRequest(query="select service from logs"), Context())),
    "ExecuteSql of patterns": lambda servicer: drained(servicer.ExecuteSql(pb.ExecuteSqlRequest(query="from patterns"), Context())),
    "SearchLogs": lambda servicer: servicer.SearchLogs(pb.SearchLogsRequest(text="user logged in"), Context()),
    "AggregateLogs": lambda servicer: servicer.AggregateLogs(pb.AggregateLogsRequest(), Context()),
    "ListLogs": lambda servicer: servicer.ListLogs(pb.ListLogsRequest(), Context()),
    "ListFieldValues": lambda servicer: servicer.ListFieldValues(
        pb.ListFieldValuesRequest(fields=[pb.FieldRef(attribute="ms")]), Context()
    ),
    "ListPatterns": lambda servicer: servicer.ListPatterns(pb.ListPatternsRequest(), Context()),
}


@pytest.mark.parametrize("name", ENDING)
async def test_a_call_cancelled_at_any_await_leaves_nothing(serving_alone, name):
    async with serving_alone() as serving:
        assert await at_each_await(lambda: ENDING[name](serving.servicer), serving.nothing_is_left) > 0


async def test_a_tail_cancelled_at_any_await_leaves_nothing(serving_alone, fill):
    async with serving_alone() as serving:
        end = 200

        async def old_and_new():
            nonlocal end
            request = pb.TailLogsRequest(start_positions=[Position(log_id=LOG, offset=0)])
            async with aclosing(serving.servicer.TailLogs(request, Context())) as answers:
                count = len((await anext(answers)).records)
                begin, end = end, end + 10
                delivered = asyncio.create_task(fill(serving.store, begin, end))
                serving.tasks.add(delivered)
                while count < end:
                    count += len((await anext(answers)).records)

        assert await at_each_await(old_and_new, serving.nothing_is_left) > 1


async def test_a_watch_cancelled_at_any_await_leaves_nothing(serving_alone, frame, record):
    async with serving_alone() as serving:
        place = 200

        async def old_and_new():
            nonlocal place
            request = pb.WatchPatternsRequest(start_positions=[Position(log_id=LOG, offset=0)])
            async with aclosing(serving.servicer.WatchPatterns(request, Context())) as answers:
                while not (await anext(answers)).HasField("pattern"):
                    pass
                records = [record(place, message=f"{chr(ord('a') + place % 26)}{'xyz'[place % 3]} is new", service=f"of {place}")]
                delivered = asyncio.create_task(serving.store.deliver(LOG, [frame(place, records)], place + 1))
                serving.tasks.add(delivered)
                place += 1
                while (await anext(answers)).pattern.service != f"of {place - 1}":
                    pass

        assert await at_each_await(old_and_new, serving.nothing_is_left) > 1


async def test_too_many_tails_and_watches_are_refused_and_told_when_to_come_back(serving_alone):
    async with serving_alone(followers=2) as serving:
        tailing = serving.servicer.TailLogs(pb.TailLogsRequest(backlog=1), Context())
        watching = serving.servicer.WatchPatterns(pb.WatchPatternsRequest(), Context())
        await anext(tailing)
        await anext(watching)
        for one_more in (
            serving.servicer.TailLogs(pb.TailLogsRequest(backlog=1), Context()),
            serving.servicer.WatchPatterns(pb.WatchPatternsRequest(), Context()),
        ):
            with pytest.raises(ServiceError, match="2 tails and watches run already") as error:
                await anext(one_more)
            assert (error.value.reason, error.value.retry_after_s) == (ErrorReason.ERROR_REASON_OVERLOADED, 1.0)
        await watching.aclose()
        again = serving.servicer.TailLogs(pb.TailLogsRequest(backlog=1), Context())
        assert (await anext(again)).records
        await again.aclose()
        await tailing.aclose()
        await serving.nothing_is_left(0)


async def test_a_query_given_up_while_its_process_is_made_ends_that_process(serving_alone):
    """The second cancellation comes while the first one is still waited for."""
    async with serving_alone() as serving:
        for step in range(1, 12):
            work = drained(serving.servicer.ExecuteSql(pb.ExecuteSqlRequest(query="select count(*) from logs"), Context()))
            task = asyncio.create_task(cancelled_at(step, work))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await serving.nothing_is_left(step)


async def test_a_question_that_is_cancelled_twice_still_waits_for_its_thread():
    begun, go_on = threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait(PATIENCE_S)
        raise duckdb.InterruptException("stopped")

    with ThreadPoolExecutor(1) as threads:
        asking = asyncio.create_task(interruptible(threads, Mock(), work))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        for _ in range(2):  # at its deadline, and because the caller hangs up
            asking.cancel()
            await settled()
        was_done = asking.done()
        go_on.set()
        assert not was_done
        with pytest.raises(asyncio.CancelledError):
            await asking
