"""One greedy caller: takes all that it can get of one thing, by a connection of its own, and goes on until its standard input ends.

python -m tests.system.monopolies NAME ADDRESSES      prints a line when it was refused for the first time: then it has all it gets
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc

from tests.not_reading import not_reading
from treering.inner.channels import connect_async
from treering.v1 import admin_pb2, embed_pb2, ingest_pb2, query_pb2
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub, IngestAdminServiceStub, QueryAdminServiceStub
from treering.v1.batch_pb2 import LogBatch
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering.v1.query_pb2_grpc import QueryServiceStub

ENDLESS = "select count(*) from range(1000000) a, range(1000000) b, range(1000) c"
EVERYTHING = "select * from logs"
TEXTS = [f"payment number {number} was declined by the bank of the customer" for number in range(256)]
NEVER = Position(log_id=7, offset=2**40)
NEW_KINDS = 10_000
PAUSE_S = 0.2
REFUSED = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
"""The second one by query, when embed takes no more."""


class Greedy:
    """Asks with many calls at a time, each again and again."""

    def __init__(self, places: dict[str, str], stack: AsyncExitStack) -> None:
        self.places, self._stack = places, stack
        self.refused = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    async def channel(self, name: str) -> grpc.aio.Channel:
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        return await self._stack.enter_async_context(grpc.aio.insecure_channel(self.places[name], options=own))

    async def inner(self, name: str) -> grpc.aio.Channel:
        return await self._stack.enter_async_context(connect_async(self.places[f"inner {name}"]))

    def ask(self, count: int, once: Callable[[], Awaitable[object]]) -> None:
        self._workers += [asyncio.create_task(self._worker(once)) for _ in range(count)]

    async def _worker(self, once: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await once()
            except grpc.aio.AioRpcError as error:
                if error.code() in REFUSED:
                    self.refused.set()
                await asyncio.sleep(PAUSE_S)

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)


async def unread(call: "grpc.aio.UnaryStreamCall[Any, Any]", messages: int = 1) -> None:
    """Takes the beginning of a stream and no more, until it is over."""
    for _ in range(messages):
        await call.read()
    while not call.done():  # noqa: ASYNC110 - the library tells the end only to those who read
        await asyncio.sleep(PAUSE_S)
    raise grpc.aio.AioRpcError(await call.code(), grpc.aio.Metadata(), grpc.aio.Metadata())


async def drained(call: "grpc.aio.UnaryStreamCall[Any, Any]") -> None:
    async for _ in call:
        pass


async def streams(greedy: Greedy) -> None:
    stub = IngestServiceStub(await greedy.channel("ingest"))

    async def once() -> None:
        await stub.StreamLogs().read()

    greedy.ask(2_200, once)


async def producers(greedy: Greedy) -> None:
    stub, numbers = IngestServiceStub(await greedy.channel("ingest")), itertools.count()

    async def once() -> None:
        name = f"invented {next(numbers)}"
        await stub.UploadLogs(
            iter([ingest_pb2.UploadLogsRequest(producer_id=name, sequence=1, batch=LogBatch(records=[LogRecord(message="x")]))])
        )

    greedy.ask(50, once)


def invented(number: int) -> str:
    """A word without digits, which would be masked."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


async def kinds(greedy: Greedy) -> None:
    """New kinds of line of one service, more than the model is through with in a minute."""
    stub = IngestServiceStub(await greedy.channel("ingest"))
    for first in range(0, NEW_KINDS, 1_000):
        records = [LogRecord(service="greedy", message=f"{invented(first + number)} went wrong") for number in range(1_000)]
        await stub.UploadLogs(iter([ingest_pb2.UploadLogsRequest(batch=LogBatch(records=records))]))
    greedy.refused.set()  # nothing refuses them: they wait


async def questions(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.AggregateLogsRequest(group_by=[query_pb2.FieldRef(attribute="number")], limit=1_000)
    greedy.ask(100, lambda: stub.AggregateLogs(request))


async def waiting_questions(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.AggregateLogsRequest(min_positions=[NEVER])
    greedy.ask(4_200, lambda: stub.AggregateLogs(request, timeout=3_600))


async def sql(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.ExecuteSqlRequest(query=ENDLESS, timeout_ms=600_000)
    greedy.ask(60, lambda: drained(stub.ExecuteSql(request)))


async def unread_sql(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.ExecuteSqlRequest(query=EVERYTHING, max_rows=10**6)
    greedy.ask(60, lambda: unread(stub.ExecuteSql(request)))


async def exports(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    greedy.ask(40, lambda: unread(stub.ExportLogs(query_pb2.ExportLogsRequest())))


async def exports_of_many(greedy: Greedy) -> None:
    for _ in range(8):
        stub = QueryServiceStub(await greedy.channel("query"))
        greedy.ask(5, lambda stub=stub: unread(stub.ExportLogs(query_pb2.ExportLogsRequest())))  # type: ignore[misc]


async def exports_not_taken(greedy: Greedy) -> None:
    """By a caller that takes nothing from the wire."""
    caller = await greedy._stack.enter_async_context(not_reading(greedy.places["query"]))
    for _ in range(40):
        caller.call("treering.v1.QueryService/ExportLogs")
    greedy.refused.set()  # it reads no refusal


async def tails(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.TailLogsRequest(backlog=10_000)
    greedy.ask(200, lambda: unread(stub.TailLogs(request)))


async def watches(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    request = query_pb2.WatchPatternsRequest(since_unix_nano=1)
    greedy.ask(200, lambda: unread(stub.WatchPatterns(request)))


async def unread_answers(greedy: Greedy) -> None:
    """Single answers of several MiB, by a caller that takes nothing from the wire."""
    caller = await greedy._stack.enter_async_context(not_reading(greedy.places["query"]))
    request = query_pb2.AggregateLogsRequest(group_by=[query_pb2.FieldRef(attribute="number")], limit=100_000)
    for _ in range(40):
        caller.call("treering.v1.QueryService/AggregateLogs", request.SerializeToString())
    greedy.refused.set()  # it reads no refusal


async def texts(greedy: Greedy) -> None:
    stub = EmbedServiceStub(await greedy.channel("embed"))
    greedy.ask(60, lambda: stub.EmbedTexts(embed_pb2.EmbedTextsRequest(texts=TEXTS)))


async def pattern_searches(greedy: Greedy) -> None:
    stub, ids = EmbedServiceStub(await greedy.channel("embed")), embed_pb2.PatternIdSet(pattern_ids=range(1, 50_000))
    greedy.ask(100, lambda: stub.SearchPatterns(embed_pb2.SearchPatternsRequest(text=TEXTS[0], limit=10_000, restrict_to=ids)))


async def searches(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    greedy.ask(100, lambda: stub.SearchLogs(query_pb2.SearchLogsRequest(text=TEXTS[0], page_size=100)))


async def abouts(greedy: Greedy) -> None:
    stub = QueryServiceStub(await greedy.channel("query"))
    groups = [query_pb2.FieldRef(about=text) for text in TEXTS[:8]]
    greedy.ask(100, lambda: stub.AggregateLogs(query_pb2.AggregateLogsRequest(group_by=groups, filter=LogFilter(about=TEXTS[9]))))


async def log_digests(greedy: Greedy) -> None:
    stub = IngestAdminServiceStub(await greedy.inner("ingest"))
    greedy.ask(60, lambda: stub.DigestLog(admin_pb2.DigestLogRequest(end_offset_exclusive=200_000, step=50_000)))


async def store_digests(greedy: Greedy) -> None:
    stub, log_id = QueryAdminServiceStub(await greedy.inner("query")), int(greedy.places["log_id"])
    greedy.ask(60, lambda: stub.DigestStore(admin_pb2.DigestStoreRequest(log_id=log_id, end_offset_exclusive=200_000, step=50_000)))


async def index_digests(greedy: Greedy) -> None:
    stub = EmbedAdminServiceStub(await greedy.inner("embed"))
    greedy.ask(60, lambda: drained(stub.DigestIndex(admin_pb2.DigestIndexRequest())))


async def scores(greedy: Greedy) -> None:
    stub = EmbedAdminServiceStub(await greedy.inner("embed"))
    greedy.ask(60, lambda: drained(stub.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=TEXTS[:16]))))


async def main(name: str, places: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)
    async with AsyncExitStack() as stack:
        greedy = Greedy(places, stack)
        await globals()[name](greedy)
        refused = asyncio.create_task(greedy.refused.wait())
        over = asyncio.create_task(ended.wait())
        await asyncio.wait({refused, over}, return_when=asyncio.FIRST_COMPLETED)
        sys.stdout.write("refused\n")
        sys.stdout.flush()
        await over
        await greedy.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
