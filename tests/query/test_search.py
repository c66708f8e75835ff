"""SearchLogs on a real store, with an embed service that answers over gRPC what the test tells it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from tests.cancelling import at_each_await
from tests.hostile_requests import within_limits
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
from treering_runtime.patterns import MASK_VERSION, find_patterns
from treering_runtime.server import Server

LOG = 7
MESSAGES = [
    ("sshd", "Failed password for root from 10.250.10.6 port 38926 ssh2"),
    ("sshd", "Failed password for root from 10.250.11.9 port 1022 ssh2"),
    ("sshd", "Accepted password for alice from 10.0.0.5 port 22 ssh2"),
    ("hdfs", "Receiving block blk_-4980916519894289629 src: /10.250.10.6:50010"),
    ("hdfs", "Receiving block blk_17 src: /10.1.1.1:50010"),
    ("disk", "no space left on device sda"),
]


def _pattern_id(service: str, message: str) -> Any:
    return find_patterns(pa.array([service]), pa.array([message])).pattern_ids[0].as_py()


FAILED, ACCEPTED, BLOCK, DISK = (_pattern_id(*MESSAGES[row]) for row in (0, 2, 3, 5))


class CannedEmbed(EmbedServiceServicer):
    """Scores by pattern as told; honours services, restriction and limit as the contract says."""

    def __init__(self, scores: dict[Any, Any]) -> None:
        self.scores = scores
        self.requests = []
        self.error = None
        self.pending = self.known = 0
        self.mask_version = MASK_VERSION

    async def SearchPatterns(
        self, request: SearchPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> SearchPatternsResponse:
        self.requests.append(request)
        if self.error:
            raise self.error
        allowed = set(self.scores)
        if request.HasField("restrict_to"):
            allowed &= set(request.restrict_to.pattern_ids)
        best = sorted(allowed, key=lambda key: -self.scores[key])[: request.limit]
        chosen = dict.fromkeys([*best, *(key for key in request.also_score_ids if key in self.scores)])
        scores = [PatternScore(pattern_id=key, score=self.scores[key]) for key in chosen]
        unknown = set(request.restrict_to.pattern_ids) - set(self.scores)
        return SearchPatternsResponse(
            scores=scores,
            pending_count=self.pending,
            mask_version=self.mask_version,
            pattern_count=self.known,
            unknown_count=len(unknown),
        )


@pytest.fixture
async def embed(tmp_path: Path) -> AsyncIterator[CannedEmbed]:
    canned = CannedEmbed({FAILED: 0.2, ACCEPTED: 0.6, BLOCK: 0.3, DISK: 0.8})
    server = Server(Socket(tmp_path / "embed" / "s", "embed"), (), CollectorRegistry())
    add_EmbedServiceServicer_to_server(canned, server.grpc)
    await server.start()
    canned.address, canned.stop = server.address, lambda: server.stop(0)
    yield canned
    await server.stop(0)


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> AsyncIterator[Store]:
    async with open_store() as store:
        await store.open_log(LOG, 0)
        records = [record(number, service=service, message=message) for number, (service, message) in enumerate(MESSAGES)]
        await store.deliver(LOG, [frame(0, records[:3])], 6)
        await store.seal()
        await store.deliver(LOG, [frame(3, records[3:])], 6)
        yield store


@pytest.fixture
async def searcher(store: Store, embed: CannedEmbed) -> AsyncIterator[Searcher]:
    client = EmbedClient(Peer(embed.address))
    yield Searcher(store, client)
    await client.close()


async def _search(
    searcher: Searcher, text: str, timeout_s: float | LogFilter = 10.0, **fields: pb.SearchMode.ValueType | LogFilter | float | list[Any]
) -> pb.SearchLogsResponse:
    return await searcher.search_logs(pb.SearchLogsRequest(text=text, **fields), timeout_s)


def _ids(response: pb.SearchLogsResponse) -> list[Any]:
    return [result.pattern_id for result in response.results]


def _messages(result: pb.SearchResult) -> list[Any]:
    return [stored.record.message for stored in result.records]


async def test_meaning_orders_what_no_literal_finds(searcher: Searcher) -> None:
    response = await _search(searcher, "a volume that has run completely full")
    assert _ids(response) == [DISK, ACCEPTED, BLOCK, FAILED]
    assert [result.weak for result in response.results] == [False, False, True, True]
    assert list(response.results[0].why) == [pb.SEARCH_REASON_MEANING]
    assert not response.literal_scan.attempted
    assert response.degraded_because == ""
    assert response.seen == [Position(log_id=LOG, offset=6)]


async def test_a_verbatim_hit_leads_and_its_samples_hold_it(searcher: Searcher) -> None:
    response = await _search(searcher, "10.250.10.")
    assert _ids(response)[:2] == [BLOCK, FAILED]
    assert all("10.250.10." in message for result in response.results[:2] for message in _messages(result))
    assert list(response.results[0].why) == [pb.SEARCH_REASON_VERBATIM, pb.SEARCH_REASON_IDENTIFIERS]
    assert response.results[1].count == 2
    assert response.literal_scan.attempted
    assert response.literal_scan.complete
    assert not response.results[1].weak


async def test_an_identifier_amid_words_finds_its_record(searcher: Searcher) -> None:
    response = await _search(searcher, "what happened to blk_-4980916519894289629 on that machine")
    assert _ids(response)[0] == BLOCK
    assert list(response.results[0].why) == [pb.SEARCH_REASON_IDENTIFIERS]
    assert _messages(response.results[0]) == [MESSAGES[3][1]]


async def test_semantic_mode_looks_at_no_letters(searcher: Searcher) -> None:
    response = await _search(searcher, "10.250.10.", mode=pb.SEARCH_MODE_SEMANTIC)
    assert _ids(response) == [DISK, ACCEPTED, BLOCK, FAILED]
    assert not response.literal_scan.attempted


async def test_keyword_mode_asks_embed_nothing(searcher: Searcher, embed: CannedEmbed) -> None:
    response = await _search(searcher, "which password was accepted here", mode=pb.SEARCH_MODE_KEYWORD)
    assert _ids(response) == [ACCEPTED, FAILED]
    assert list(response.results[0].why) == [pb.SEARCH_REASON_WORDS]
    assert embed.requests == []


async def test_a_filter_restricts_patterns_counts_and_literals(searcher: Searcher, embed: CannedEmbed) -> None:
    response = await _search(searcher, "10.250.10.", filter=LogFilter(environments=["dev"]))
    assert _ids(response)[0] == BLOCK
    assert FAILED not in {result.pattern_id for result in response.results if pb.SEARCH_REASON_VERBATIM in result.why}
    assert set(embed.requests[0].restrict_to.pattern_ids) == {FAILED, BLOCK, DISK}
    assert {result.pattern_id: result.count for result in response.results} == {BLOCK: 1, FAILED: 1, DISK: 1}


async def test_services_go_to_embed_as_they_are(searcher: Searcher, embed: CannedEmbed) -> None:
    response = await _search(searcher, "10.250.10.", filter=LogFilter(services=["sshd"]))
    assert list(embed.requests[0].services) == ["sshd"]
    assert not embed.requests[0].HasField("restrict_to")
    assert set(_ids(response)) <= {FAILED, ACCEPTED}


async def test_flat_results_are_records(searcher: Searcher) -> None:
    response = await _search(searcher, "somebody could not enter with a password", flat=True, page_size=5)
    assert [len(result.records) for result in response.results] == [1] * 5
    assert [result.pattern_id for result in response.results] == [DISK, ACCEPTED, BLOCK, BLOCK, FAILED]
    newest_block = response.results[2].records[0].record.message
    assert newest_block == MESSAGES[4][1]


async def test_min_score_leaves_out_what_fits_worse(searcher: Searcher) -> None:
    response = await _search(searcher, "a volume that has run completely full", min_score=0.5)
    assert _ids(response) == [DISK, ACCEPTED]


async def test_samples_may_be_none(searcher: Searcher) -> None:
    response = await _search(searcher, "sda", samples_per_pattern=0)
    assert _ids(response)[0] == DISK
    assert not response.results[0].records


async def test_embed_down_answers_with_literals_and_words_and_says_so(searcher: Searcher, embed: CannedEmbed) -> None:
    await embed.stop()
    response = await _search(searcher, "Failed password")
    assert _ids(response) == [FAILED, ACCEPTED]
    assert response.degraded_because == "embed does not answer: literal hits and shared words only"
    with pytest.raises(ServiceError) as error:
        await _search(searcher, "Failed password", mode=pb.SEARCH_MODE_SEMANTIC)
    assert error.value.reason == ErrorReason.ERROR_REASON_PEER_UNAVAILABLE
    assert error.value.metadata == {"peer": "embed"}


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ErrorReason.ERROR_REASON_STARTING, "embed is still loading its model"),
        (ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, "embed cannot reach its index"),
        (ErrorReason.ERROR_REASON_OVERLOADED, "embed has too much to do"),
    ],
)
async def test_what_keeps_embed_from_answering_is_named(
    searcher: Searcher, embed: CannedEmbed, reason: ErrorReason.ValueType, words: str
) -> None:
    embed.error = ServiceError(reason, "not now")
    response = await _search(searcher, "sda")
    assert _ids(response) == [DISK]
    assert response.degraded_because.startswith(words)


async def test_a_pattern_without_a_vector_is_found_by_its_words_and_says_so(searcher: Searcher, embed: CannedEmbed) -> None:
    del embed.scores[BLOCK]
    embed.known = 3
    found = await _search(searcher, "blk_17")
    assert _ids(found)[0] == BLOCK
    assert [result.words_only for result in found.results] == [True, False, False, False]
    assert found.degraded_because == "1 of 4 patterns have no vector and are found by their words only"


async def test_only_patterns_of_the_selection_count_as_found_by_words_only(searcher: Searcher, embed: CannedEmbed) -> None:
    del embed.scores[BLOCK]
    embed.known = 3
    found = await _search(searcher, "blk_17", filter=LogFilter(message_contains="blk_17"))
    assert found.degraded_because == "1 of 1 patterns have no vector and are found by their words only"
    assert (await _search(searcher, "space", filter=LogFilter(message_contains="space"))).degraded_because == ""


async def test_without_meaning_no_result_is_marked_as_found_by_words_only(searcher: Searcher, embed: CannedEmbed) -> None:
    embed.scores.clear()
    found = await _search(searcher, "blk_17", mode=pb.SEARCH_MODE_KEYWORD)
    assert [result.words_only for result in found.results] == [False]


async def test_pending_patterns_are_told(searcher: Searcher, embed: CannedEmbed) -> None:
    embed.pending = 3
    response = await _search(searcher, "sda")
    assert response.degraded_because.startswith("3 patterns wait for their vector")


async def test_other_masking_rules_are_not_mixed(searcher: Searcher, embed: CannedEmbed) -> None:
    embed.mask_version = MASK_VERSION + 1
    response = await _search(searcher, "sda")
    assert "run one version of both" in response.degraded_because
    assert _ids(response) == [DISK]


async def test_a_position_that_is_not_indexed_is_timed_out(searcher: Searcher, embed: CannedEmbed) -> None:
    embed.error = ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, "no", metadata={"waiting_for": "6"})
    with pytest.raises(ServiceError) as error:
        await _search(searcher, "sda", min_positions=[Position(log_id=LOG, offset=6)])
    assert error.value.reason == ErrorReason.ERROR_REASON_TIMED_OUT
    assert list(embed.requests[0].min_positions) == [Position(log_id=LOG, offset=6)]


async def test_a_position_that_is_not_stored_is_timed_out(searcher: Searcher) -> None:
    with pytest.raises(ServiceError, match="not visible in time"):
        await _search(searcher, "sda", timeout_s=0.05, min_positions=[Position(log_id=LOG, offset=99)])


async def test_patterns_that_the_store_does_not_hold_are_left_out(searcher: Searcher, embed: CannedEmbed) -> None:
    embed.scores[12345] = 1.0
    assert 12345 not in _ids(await _search(searcher, "a volume that has run completely full"))


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("text", {"text": ""}),
        ("text", {"text": " \n\t"}),
        ("text", {"text": "x" * 10_001}),
        ("text", {"text": "a\0b"}),
        ("page_size", {"page_size": 1_001}),
        ("page_size", {"page_size": 10_000_000}),
        ("page_size", {"page_size": 0}),
        ("mode", {"mode": 0}),
        ("filter.min_severity", {"filter": LogFilter(min_severity=0)}),
        ("samples_per_pattern", {"samples_per_pattern": 101}),
        ("min_score", {"min_score": -0.1}),
        ("min_score", {"min_score": 1.5}),
        ("min_score", {"min_score": float("nan")}),
        ("literal_budget_ms", {"literal_budget_ms": 60_001}),
        ("mode", {"mode": 9}),
    ],
)
async def test_bad_values_are_named(
    searcher: Searcher, field: str, fields: dict[str, str] | dict[str, int] | dict[str, LogFilter] | dict[str, float]
) -> None:
    with pytest.raises(ServiceError) as error:
        await searcher.search_logs(within_limits(pb.SearchLogsRequest(**{"text": "disk"} | fields)), 5.0)
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.value.metadata["field"] == field
    assert ";" in error.value.message


@pytest.mark.parametrize("fields", [{"filter": LogFilter(about="x")}])
async def test_what_is_not_served_yet_says_so(searcher: Searcher, fields: dict[str, LogFilter]) -> None:
    with pytest.raises(ServiceError) as error:
        await _search(searcher, "disk", **fields)
    assert error.value.reason == ErrorReason.ERROR_REASON_NOT_IMPLEMENTED


@pytest.mark.parametrize("text", ["x", "🔥", "שגיאה בכונן", "%_\\'\"", "[(*+?", "a" * 10_000, "$f0", "\x01\x02", "İıſẞ", '""'])
async def test_any_text_is_answered(searcher: Searcher, text: str) -> None:
    response = await _search(searcher, text)
    assert len(response.results) == 4


async def test_results_name_the_template_that_they_belong_to(
    store: Store, searcher: Searcher, embed: CannedEmbed, frame: MakeFrame, record: MakeRecord
) -> None:
    names = [("login", "ann"), ("mail", "bob"), ("login", "cyd")]
    messages = [(service, f"session opened for user {name} today") for service, name in names]
    records = [record(6 + number, service=service, message=message) for number, (service, message) in enumerate(messages)]
    await store.deliver(LOG, [frame(6, records)], 9)
    await store.templates.settled()
    embed.scores = {_pattern_id(*message): 0.9 for message in messages} | {DISK: 0.1}
    results = (await _search(searcher, "someone came in", page_size=4)).results
    assert [result.template_id for result in results] == [_pattern_id(*messages[0])] * 3 + [DISK]


async def test_a_search_that_is_cancelled_at_any_await_leaves_nothing_behind(searcher: Searcher, store: Store) -> None:
    async def look(step: int) -> None:
        assert not store._published.held(), f"a snapshot is open after await {step}"
        async with asyncio.timeout(10):
            with store.snapshot() as snapshot:
                await asyncio.gather(*(store.run(snapshot, lambda _: None) for _ in range(store._engine._admission._room)))

    cancelled = await at_each_await(lambda: _search(searcher, "10.250.10.", filter=LogFilter(environments=["dev"])), look)
    assert cancelled >= 3
