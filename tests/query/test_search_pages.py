"""Pages of a search, and records like this one, on a real store with an embed service that answers what the test tells it."""

import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.embed_pb2 import PatternScore, SearchPatternsRequest, SearchPatternsResponse
from treering.v1.embed_pb2_grpc import EmbedServiceServicer, add_EmbedServiceServicer_to_server
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, Position
from treering_query.meaning.embed_client import EmbedClient
from treering_query.search.searcher import Searcher
from treering_query.store.store import Store
from treering_runtime.channels import Peer
from treering_runtime.doors import Socket
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.server import Server

LOG = 7
WORDS = ("disk", "payment", "login", "queue", "cache", "proxy", "backup", "deploy", "mail", "index", "stock", "session")
RECORDS = 96
"""Eight records of each word, each word a pattern."""


class ScoringEmbed(EmbedServiceServicer):
    """Scores patterns by their id, a little differently each time, as a batch of the model does."""

    def __init__(self) -> None:
        self.ids = []
        self.texts = []
        self.scores = None

    async def SearchPatterns(
        self, request: SearchPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> SearchPatternsResponse:
        self.texts.append(request.text)
        drift = 1e-4 * (len(self.texts) % 3)
        allowed = set(self.ids)
        if request.HasField("restrict_to"):
            allowed &= set(request.restrict_to.pattern_ids)
        scores = {key: (key % 997) / 1000 + drift * (key % 7) for key in allowed}
        best = sorted(allowed, key=lambda key: -scores[key])[: request.limit]
        chosen = dict.fromkeys([*best, *(key for key in request.also_score_ids if key in scores)])
        answer = [PatternScore(pattern_id=key, score=min(scores[key], 1.0)) for key in chosen]
        return SearchPatternsResponse(scores=answer, mask_version=MASK_VERSION)


@pytest.fixture
async def embed(tmp_path: Path) -> AsyncIterator[ScoringEmbed]:
    scoring = ScoringEmbed()
    server = Server(Socket(tmp_path / "embed" / "s", "embed"), (), CollectorRegistry())
    add_EmbedServiceServicer_to_server(scoring, server.grpc)
    await server.start()
    scoring.address = server.address
    yield scoring
    await server.stop(0)


def _message(number: int) -> str:
    word = WORDS[number % len(WORDS)]
    return f"{word} has {'failed' if number % 2 else 'finished'} after {number} ms in {word}room"


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame, record: MakeRecord, embed: ScoringEmbed) -> AsyncIterator[Store]:
    async with open_store() as store:
        await store.open_log(LOG, 0)
        records = [record(number, message=_message(number), service="svc") for number in range(RECORDS)]
        await store.deliver(LOG, [frame(0, records[:50])], RECORDS)
        await store.seal()
        await store.deliver(LOG, [frame(50, records[50:])], RECORDS)
        embed.ids = [key for table in store.view.patterns for key in table.column("pattern_id").to_pylist()]
        yield store


@pytest.fixture
async def searcher(store: Store, embed: ScoringEmbed) -> AsyncIterator[Searcher]:
    client = EmbedClient(Peer(embed.address))
    yield Searcher(store, client)
    await client.close()


async def _pages(
    searcher: Searcher, between: Callable[[], Coroutine[Any, Any, None]] | None = None, **fields: str | int | Position
) -> list[list[pb.SearchResult]]:
    pages, token = [], ""
    while True:
        response = await searcher.search_logs(pb.SearchLogsRequest(page_token=token, **fields), 10.0)
        pages.append(list(response.results))
        token = response.next_page_token
        if not token:
            return pages
        if between:
            await between()


@pytest.mark.parametrize("mode", [pb.SEARCH_MODE_HYBRID, pb.SEARCH_MODE_SEMANTIC])
@pytest.mark.parametrize("text", ["failed", "what went wrong in the place where things are kept"])
async def test_pages_hold_each_pattern_once_though_scores_drift(searcher: Searcher, mode: pb.SearchMode.ValueType, text: str) -> None:
    pages = await _pages(searcher, text=text, mode=mode, page_size=5)
    assert [len(page) for page in pages] == [5, 5, 2]
    assert len({result.pattern_id for page in pages for result in page}) == len(WORDS)


async def test_pages_by_words_end_with_the_last_hit(searcher: Searcher) -> None:
    pages = await _pages(searcher, text="failed", mode=pb.SEARCH_MODE_KEYWORD, page_size=4)
    shown = [result for page in pages for result in page]
    assert len({result.pattern_id for result in shown}) == len(shown) == len(WORDS) // 2


@pytest.mark.parametrize("limit", [1, 7, 8, 40])
@pytest.mark.parametrize("text", ["failed", "diskroom", "what went wrong in the place where things are kept"])
async def test_flat_pages_are_the_one_long_page(searcher: Searcher, text: str, limit: int) -> None:
    whole = await _pages(searcher, text=text, flat=True, page_size=1_000)
    assert len(whole) == 1
    pages = await _pages(searcher, text=text, flat=True, page_size=limit)
    offsets = [result.records[0].position.offset for page in pages for result in page]
    assert len(offsets) == len(set(offsets))
    assert set(offsets) == {result.records[0].position.offset for result in whole[0]}
    assert all(len(page) == limit for page in pages[:-1])


async def test_records_that_arrive_between_pages_repeat_and_hide_nothing(
    searcher: Searcher, store: Store, frame: MakeFrame, record: MakeRecord
) -> None:
    end = RECORDS

    async def arrive() -> None:
        nonlocal end
        await store.deliver(LOG, [frame(end, [record(end, message=_message(end), service="svc")])], end + 1)
        end += 1

    pages = await _pages(searcher, between=arrive, text="failed", flat=True, page_size=9)
    offsets = [result.records[0].position.offset for page in pages for result in page]
    assert len(offsets) == len(set(offsets))
    assert set(range(RECORDS)) <= set(offsets)


async def test_a_page_token_fits_its_own_request_alone(searcher: Searcher) -> None:
    first = await searcher.search_logs(pb.SearchLogsRequest(text="failed", page_size=3), 10.0)
    for other in ({"text": "finished"}, {"text": "failed", "flat": True}, {"text": "failed", "filter": LogFilter(environments=["dev"])}):
        with pytest.raises(ServiceError) as error:
            await searcher.search_logs(pb.SearchLogsRequest(page_token=first.next_page_token, **other), 10.0)
        assert error.value.metadata["field"] == "page_token"
    more = await searcher.search_logs(pb.SearchLogsRequest(text="failed", page_size=9, page_token=first.next_page_token), 10.0)
    assert len(more.results) == 9


def _turned(token: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[-1] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


@pytest.mark.parametrize(
    "forge",
    [lambda _: "x", lambda _: "A" * 400, lambda _: "é", lambda token: token[:-4], _turned, lambda token: token * 500, lambda _: "===="],
)
async def test_a_page_token_that_is_none_is_refused(searcher: Searcher, forge: Any) -> None:
    first = await searcher.search_logs(pb.SearchLogsRequest(text="failed", page_size=3), 10.0)
    with pytest.raises(ServiceError) as error:
        await searcher.search_logs(pb.SearchLogsRequest(text="failed", page_token=forge(first.next_page_token)), 10.0)
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.value.metadata["field"] == "page_token"


@pytest.mark.parametrize("offset", [3, 60])
async def test_like_begins_with_the_records_own_pattern(searcher: Searcher, embed: ScoringEmbed, offset: int) -> None:
    response = await searcher.search_logs(pb.SearchLogsRequest(like=Position(offset=offset)), 10.0)
    assert response.results[0].records[0].record.message.startswith(WORDS[offset % len(WORDS)])
    assert response.results[0].score == 1.0
    assert response.results[0].count == RECORDS // len(WORDS)
    assert len(response.results) == 10
    assert not response.literal_scan.attempted
    assert "<*>" not in embed.texts[-1]
    assert WORDS[offset % len(WORDS)] in embed.texts[-1]


async def test_like_pages_and_filters(searcher: Searcher) -> None:
    pages = await _pages(searcher, like=Position(log_id=LOG, offset=3), page_size=5)
    assert len({result.pattern_id for page in pages for result in page}) == len(WORDS)
    none = await searcher.search_logs(pb.SearchLogsRequest(like=Position(offset=3), filter=LogFilter(services=["other"])), 10.0)
    assert not none.results


async def test_like_by_words_asks_embed_nothing(searcher: Searcher, embed: ScoringEmbed) -> None:
    response = await searcher.search_logs(pb.SearchLogsRequest(like=Position(offset=3), mode=pb.SEARCH_MODE_KEYWORD), 10.0)
    assert response.results[0].score == 1.0
    assert embed.texts == []


@pytest.mark.parametrize("position", [Position(offset=RECORDS), Position(log_id=99, offset=1), Position(offset=2**64 - 1)])
async def test_like_a_record_that_is_not_there_is_not_found(searcher: Searcher, position: Position) -> None:
    with pytest.raises(ServiceError) as error:
        await searcher.search_logs(pb.SearchLogsRequest(like=position), 10.0)
    assert error.value.reason == ErrorReason.ERROR_REASON_NOT_FOUND
    assert error.value.metadata == {"field": "like"}


async def test_like_beside_a_text_is_refused(searcher: Searcher) -> None:
    with pytest.raises(ServiceError) as error:
        await searcher.search_logs(pb.SearchLogsRequest(like=Position(offset=1), text="disk"), 10.0)
    assert error.value.metadata["field"] == "text"
