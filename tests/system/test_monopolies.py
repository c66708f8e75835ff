"""Whatever one caller takes all of, another one's call of the same kind begins at once, and memory stays bounded."""

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.system.conftest import Up
from tests.system.monopolies import invented
from treering.v1 import embed_pb2, ingest_pb2, query_pb2
from treering.v1.batch_pb2 import LogBatch
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering.v1.query_pb2_grpc import QueryServiceStub

from .conftest import ROOT, START_S, environment, start_up

pytestmark = pytest.mark.system

RECORDS = 60_000
ATTEMPTS = 5
AT_ONCE_S = 5.0
"""On an idle machine each takes below a second. Where turns are not shared, it takes as long as the greedy caller likes, or is refused."""
MOST_GROWN = 200 * 1024 * 1024
"""Of query's memory, bytes."""
WORDS = "the customer's order could not be shipped because the warehouse did not answer in time and nobody asked again"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An instance with records of some hundred bytes, sealed for the most part."""
    up = start_up(tmp_path_factory.mktemp("monopolies") / "data", TREERING_QUERY_HOT_MAX_ROWS="40000")
    lines = (
        json.dumps({"message": f"{WORDS} {number}", "service": f"svc{number % 7}", "number": f"n{number}"}) for number in range(RECORDS)
    )
    up.json("send", "-", "--wait", given="\n".join(lines))
    yield up
    up.kill()


@pytest.fixture
def places(filled: Up) -> dict[Any, Any]:
    inner = json.loads((filled.data_dir / "up.json").read_text())["inner"]
    found = {name: filled.ready[name] for name in ("ingest", "embed", "query")} | {f"inner {name}": place for name, place in inner.items()}
    return found | {"log_id": filled.json("status", "--json")["ingest"]["log_id"]}


@asynccontextmanager
async def greedy(name: str, places: Any) -> AsyncIterator[None]:
    """Another process that has taken all that it gets."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.system.monopolies", name, json.dumps(places)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )
    try:
        async with asyncio.timeout(START_S):
            assert await process.stdout.readline() == b"refused\n"
        yield
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


class Prober:
    """Asks as somebody else would."""

    def __init__(self, ingest: grpc.aio.Channel, embed: grpc.aio.Channel, query: grpc.aio.Channel) -> None:
        self.ingest, self.embed, self.query = IngestServiceStub(ingest), EmbedServiceStub(embed), QueryServiceStub(query)
        self._sequence = 0
        self._new = 0
        # Of its own, also where an earlier prober had the same place in memory.
        self._name = uuid.uuid4().hex

    async def upload(self) -> Position:
        """As a producer that was there before, then as one that is new."""
        self._sequence += 1
        self._new += 1
        for name, sequence in (("victim", self._sequence), (f"new {self._name} {self._new}", 1)):
            record = LogRecord(message="somebody else's", service="prober")
            request = ingest_pb2.UploadLogsRequest(producer_id=f"{name} {self._name}", sequence=sequence, batch=LogBatch(records=[record]))
            answer = await self.ingest.UploadLogs(iter([request]))
            assert answer.accepted_count == 1
        return Position(log_id=answer.log_id, offset=answer.end_offset_exclusive)

    async def visible(self) -> None:
        """Sends, then asks."""
        wanted = await self.upload()
        await self.query.AggregateLogs(query_pb2.AggregateLogsRequest(min_positions=[wanted]))

    async def count(self) -> None:
        answer = await self.query.AggregateLogs(query_pb2.AggregateLogsRequest())
        assert answer.rows[0].values[0].value >= RECORDS

    async def select(self) -> None:
        parts = [part async for part in self.query.ExecuteSql(query_pb2.ExecuteSqlRequest(query="select 1"))]
        assert parts[-1].summary.row_count == 1

    async def export(self) -> None:
        await self._begins(self.query.ExportLogs(query_pb2.ExportLogsRequest(filter=LogFilter(services=["svc1"]))))

    async def tail(self) -> None:
        await self._begins(self.query.TailLogs(query_pb2.TailLogsRequest(backlog=1)))

    async def watch(self) -> None:
        await self._begins(self.query.WatchPatterns(query_pb2.WatchPatternsRequest()))

    async def search(self) -> None:
        answer = await self.query.SearchLogs(query_pb2.SearchLogsRequest(text="which parcel is late", page_size=3))
        assert answer.degraded_because == ""

    async def new_kind(self) -> None:
        """Sends a line of a kind that was never seen, then looks for it by what it says, of everything up to it."""
        word, wanted = await self._sent_new_kind()
        assert await self._is_found(word, [wanted])

    async def new_kind_alone(self) -> None:
        """The same, whatever else is still to be indexed before it."""
        word, _ = await self._sent_new_kind()
        while not await self._is_found(word, ()):  # noqa: ASYNC110 - that is what people do
            await asyncio.sleep(0.05)

    async def _sent_new_kind(self) -> tuple[str, Position]:
        word = invented(time.time_ns())
        record = LogRecord(message=f"the ferry {word} sank in the harbour", service="prober")
        request = ingest_pb2.UploadLogsRequest(batch=LogBatch(records=[record]))
        answer = await self.ingest.UploadLogs(iter([request]))
        return word, Position(log_id=answer.log_id, offset=answer.end_offset_exclusive)

    async def _is_found(self, word: str, positions: list[Any] | tuple[()]) -> bool:
        request = query_pb2.SearchLogsRequest(text="shipwreck", page_size=50, min_positions=positions)
        found = await self.query.SearchLogs(request, timeout=50)
        return any(word in each.record.message for result in found.results if not result.words_only for each in result.records)

    async def about(self) -> None:
        await self.query.AggregateLogs(query_pb2.AggregateLogsRequest(filter=LogFilter(about="which parcel is late")))

    async def patterns(self) -> None:
        request = embed_pb2.SearchPatternsRequest(text="which parcel is late", limit=3)
        assert (await self.embed.SearchPatterns(request)).scores

    async def _begins(
        self,
        call: "grpc.aio.UnaryStreamCall[Any, Any]",
    ) -> None:
        assert await call.read() is not grpc.aio.EOF
        call.cancel()


@asynccontextmanager
async def prober(places: Any) -> AsyncIterator[Prober]:
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(places[name], options=own) for name in ("ingest", "embed", "query")]
    yield Prober(*channels)
    for channel in channels:
        await channel.close()


async def taken_s(ask: Any) -> float:
    """Seconds that one call took; each has a minute."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        await ask()
    return time.monotonic() - began


MONOPOLIES = {
    "streams": ("upload",),
    "producers": ("upload",),
    "questions": ("count", "visible"),
    "waiting_questions": ("count", "visible"),
    "sql": ("select",),
    "unread_sql": ("select",),
    "exports": ("export",),
    "exports_not_taken": ("export",),
    "tails": ("tail", "watch"),
    "watches": ("tail", "watch"),
    "unread_answers": ("count",),
    "texts": ("search", "patterns", "new_kind"),
    "pattern_searches": ("search", "patterns", "new_kind"),
    "searches": ("search", "new_kind"),
    "abouts": ("about",),
    "log_digests": ("visible",),
    "store_digests": ("visible", "search"),
    "index_digests": ("about", "search", "new_kind"),
    "scores": ("about", "search"),
    "kinds": ("new_kind_alone",),
}
"""What is taken, and what somebody else asks meanwhile; kinds last, since searches tell of what still waits for its vector."""

LATER_S = {"kinds": 20.0}
"""A new kind waits for the vectors of two batches of others, a second on an idle machine; without turns it waits for ten thousand."""


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("name", MONOPOLIES)
async def test_beside_a_caller_that_takes_all_it_can_another_one_is_answered_at_once(filled: Up, places: dict[Any, Any], name: str) -> None:
    before = filled.service("query").memory_info().rss
    async with prober(places) as other:
        await other.upload()
        async with greedy(name, places):
            for asked in MONOPOLIES[name]:
                took = [await taken_s(getattr(other, asked)) for _ in range(ATTEMPTS)]
                sys.stderr.write(f"{name}: {asked} took {[round(each, 2) for each in took]} s\n")
                assert statistics.median(took) < LATER_S.get(name, AT_ONCE_S)
            grown = filled.service("query").memory_info().rss - before
            sys.stderr.write(f"{name}: query grew by {grown >> 20} MiB\n")
            assert grown < MOST_GROWN
