import asyncio
import threading

import grpc
import pytest
from embed_doubles import LOG_ID, NeverPrepared, frame, reason, running, settings_for
from prometheus_client import CollectorRegistry

from tests.cancelling import drained
from tests.not_reading import not_reading
from tests.patience import PATIENCE_S
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import Position
from treering_embed import limits
from treering_embed import service as service_module
from treering_embed.indexing import meaning as meaning_module
from treering_embed.indexing import verification
from treering_runtime.limits import MAX_WAITING_DIGESTS
from treering_runtime.patterns import MASK_VERSION, pattern_id

MESSAGES = ["payment declined by bank", "disk is full", "user logged in", "user logged out", "cable unplugged"]


@pytest.fixture
async def service(settings):
    async with running(settings) as started:
        frames = [frame(0, MESSAGES, "shop"), frame(5, MESSAGES[:2], "bank")]
        await started.deliver(frames)
        yield started


def ids(response) -> list[int]:
    return [hit.pattern_id for hit in response.scores]


async def test_the_same_words_rank_first_with_all_scores_in_order(service):
    found = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="shop: disk is full", limit=10))
    assert ids(found)[0] == pattern_id("shop", "disk is full")
    scores = [hit.score for hit in found.scores]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert found.scores[0].late > 0.9
    assert len(found.scores) == 7


async def test_restricted_searches(service):
    wanted = [pattern_id("shop", "user logged in"), pattern_id("bank", "disk is full")]
    request = pb.SearchPatternsRequest(text="disk", limit=10, restrict_to=pb.PatternIdSet(pattern_ids=[*wanted, 5]))
    assert set(ids(await service.embed.SearchPatterns(request))) == set(wanted)
    request.services.append("bank")
    assert ids(await service.embed.SearchPatterns(request)) == wanted[1:]
    request.restrict_to.Clear()
    request.restrict_to.SetInParent()
    assert ids(await service.embed.SearchPatterns(request)) == []


async def test_patterns_to_score_besides_come_wherever_they_rank(service):
    also = pattern_id("shop", "cable unplugged")
    request = pb.SearchPatternsRequest(text="disk is full", limit=1, also_score_ids=[also, 12345])
    found = await service.embed.SearchPatterns(request)
    assert len(ids(found)) == 2
    assert ids(found)[1] == also


async def test_score_patterns_agrees_with_search(service):
    texts = ["disk is full", "somebody logged in"]
    slices = [part async for part in service.admin.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=texts))]
    assert [(seen.log_id, seen.offset) for seen in slices[0].seen] == [(LOG_ID, 7)]
    assert slices[0].mask_version == MASK_VERSION
    for number, text in enumerate(texts):
        found = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text=text, limit=100))
        scored = {key: score for part in slices for key, score in zip(part.pattern_ids, part.texts[number].scores, strict=True)}
        assert scored == pytest.approx({hit.pattern_id: hit.score for hit in found.scores}, abs=1e-5)


async def test_score_patterns_of_an_empty_index_is_one_empty_slice(settings):
    async with running(settings) as service:
        slices = [part async for part in service.admin.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=["a"]))]
        assert [list(part.pattern_ids) for part in slices] == [[]]


async def test_vectors_of_texts_have_unit_length(service):
    found = await service.embed.EmbedTexts(pb.EmbedTextsRequest(texts=["one", "two three"]))
    assert [sum(value * value for value in item.values) for item in found.embeddings] == pytest.approx([1, 1], abs=1e-5)


async def test_forgotten_patterns_are_gone_and_come_back_when_seen_again(service):
    gone = pattern_id("shop", "user logged in")
    request = admin_pb2.ForgetPatternsRequest(pattern_ids=[gone, 99], below=[Position(log_id=LOG_ID, offset=7)])
    assert (await service.admin.ForgetPatterns(request)).forgotten_count == 1
    assert (await service.admin.ForgetPatterns(request)).forgotten_count == 0
    found = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="user logged in", limit=100))
    assert gone not in ids(found)
    await service.deliver([frame(7, ["user logged in"], "shop")])
    found = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="user logged in", limit=100))
    assert gone in ids(found)


async def test_a_pattern_seen_since_is_not_forgotten(service):
    request = admin_pb2.ForgetPatternsRequest(pattern_ids=[pattern_id("bank", "disk is full")], below=[Position(log_id=LOG_ID, offset=6)])
    assert (await service.admin.ForgetPatterns(request)).forgotten_count == 0


async def test_a_search_waits_for_its_position(service):
    request = pb.SearchPatternsRequest(text="late news", limit=1, min_positions=[Position(log_id=LOG_ID, offset=8)])
    waiting = asyncio.ensure_future(service.embed.SearchPatterns(request))
    await service.deliver([frame(7, ["late news"], "shop")])
    assert ids(await waiting) == [pattern_id("shop", "late news")]


async def test_a_position_that_does_not_come_ends_with_the_deadline(service):
    request = pb.SearchPatternsRequest(text="x", limit=1, min_positions=[Position(log_id=LOG_ID, offset=999)])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.embed.SearchPatterns(request, timeout=0.2)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SearchPatternsRequest(text=" ", limit=1), "text"),
        (pb.SearchPatternsRequest(text="x" * 10_001, limit=1), "text"),
        (pb.SearchPatternsRequest(text="x", limit=0), "limit"),
        (pb.SearchPatternsRequest(text="x", limit=10_001), "limit"),
        (pb.SearchPatternsRequest(text="x", limit=1, also_score_ids=range(10_001)), "also_score_ids"),
    ],
)
async def test_wrong_fields_are_named(service, request_, field):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.embed.SearchPatterns(request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (reason(refused.value).reason, reason(refused.value).metadata["field"]) == ("INVALID_FIELD", field)


@pytest.mark.parametrize("text", ["x", "😀 🔥", "\u202eright to left مرحبا", "\x00\x01\x02", "ß" * 10_000, "漢字 日本語", "a\n\n\tb"])
async def test_odd_texts_are_answered(service, text):
    assert len(ids(await service.embed.SearchPatterns(pb.SearchPatternsRequest(text=text, limit=3)))) == 3


async def test_questions_are_refused_as_starting_until_the_model_is_there(tmp_path):
    async with running(settings_for(tmp_path / "embed"), NeverPrepared()) as service:
        calls = (
            service.embed.SearchPatterns(pb.SearchPatternsRequest(text="x", limit=1)),
            service.embed.EmbedTexts(pb.EmbedTextsRequest(texts=["x"])),
            service.admin.ForgetPatterns(admin_pb2.ForgetPatternsRequest()),
        )
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason(refused.value).reason == "STARTING"


async def test_what_grows_with_the_patterns_is_not_made_on_the_event_loop(settings, monkeypatch):
    made = []

    def noted(name, original):
        def note(*arguments):
            made.append((name, threading.current_thread() is threading.main_thread()))
            return original(*arguments)

        return note

    for module, name in (
        (service_module, "_slice"),
        (service_module, "_selection"),
        (service_module, "_scores"),
        (meaning_module, "compare"),
        (verification, "_held"),
    ):
        monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
    async with running(settings) as service:
        await service.deliver([frame(0, ["one", "two"])])
        await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="one", limit=2))
        assert [len(part.pattern_ids) async for part in service.admin.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=["one"]))] == [2]
        assert [len(part.indexed_ids) async for part in service.admin.DigestIndex(admin_pb2.DigestIndexRequest())] == [2, 0]
    assert {name for name, _ in made} == {"_slice", "_selection", "_scores", "compare", "_held"}
    assert not any(on_loop for _, on_loop in made)


def digests(service):
    return drained(service.admin.DigestIndex(admin_pb2.DigestIndexRequest()))


def scores(service):
    return drained(service.admin.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=["disk"])))


@pytest.mark.parametrize(
    ("work", "flooded", "others", "words"),
    [
        ((meaning_module.EngineLifecycle, "compare"), digests, scores, "17 digests of the whole index run or wait already"),
        ((service_module.EmbedServicer, "_rankings"), scores, digests, "17 passes over the whole index run or wait already"),
    ],
)
async def test_passes_that_wait_are_bounded_and_hold_up_nothing_else(service, monkeypatch, work, flooded, others, words):
    may_go_on, done = asyncio.Event(), getattr(*work)

    async def stuck(self, *arguments):
        await may_go_on.wait()
        return await done(self, *arguments)

    monkeypatch.setattr(*work, stuck)
    flood = {asyncio.create_task(flooded(service)) for _ in range(60)}
    async with asyncio.timeout(PATIENCE_S):
        while len(flood) > MAX_WAITING_DIGESTS + 1:
            refused, flood = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            assert {each.exception().code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert all(each.exception().details().startswith(words) for each in refused)
        await others(service)
        assert ids(await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="disk", limit=1)))
        may_go_on.set()
        await asyncio.gather(*flood)


async def test_searches_that_run_and_wait_are_bounded_and_another_caller_is_answered(service, monkeypatch):
    may_go_on, found = asyncio.Event(), service_module.EmbedServicer._found

    async def stuck(self, request):
        if request.text == "greedy":
            await may_go_on.wait()
        return await found(self, request)

    monkeypatch.setattr(service_module.EmbedServicer, "_found", stuck)
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(service.application.server.address, options=own) as channel, asyncio.timeout(PATIENCE_S):
        greedy = EmbedServiceStub(channel)
        flood = {asyncio.ensure_future(greedy.SearchPatterns(pb.SearchPatternsRequest(text="greedy", limit=1))) for _ in range(100)}
        while len(flood) > limits.MAX_WAITING_SEARCHES + limits.MAX_RUNNING_SEARCHES // 2:
            refused, flood = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            assert {each.exception().code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        for _ in range(3):
            assert ids(await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="disk", limit=1)))
        assert not any(each.done() for each in flood)
        may_go_on.set()
        await asyncio.gather(*flood)


@pytest.mark.parametrize("method", ["DigestIndex", "ScorePatterns"])
async def test_a_stream_of_the_index_that_nobody_takes_is_given_up(settings, monkeypatch, method):
    monkeypatch.setattr(service_module, "_digest_slices", lambda found: large_slices())
    monkeypatch.setattr(service_module, "_slices", lambda rankings, seen: large_slices())
    collector = CollectorRegistry()
    async with running(settings, collector=collector) as service, asyncio.timeout(PATIENCE_S):
        inner = service.application.planes.inner
        monkeypatch.setattr(inner.answers, "_patience_s", 0.2)
        async with not_reading(inner.address) as stranger:
            labels = {"method": f"treering.v1.EmbedAdminService/{method}", "code": "RESOURCE_EXHAUSTED"}
            request = admin_pb2.ScorePatternsRequest(texts=["disk"]) if method == "ScorePatterns" else admin_pb2.DigestIndexRequest()
            stranger.call(labels["method"], request.SerializeToString())
            while not collector.get_sample_value("treering_rpc_handled_total", labels):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)


def large_slices():
    while True:
        yield admin_pb2.DigestIndexResponse(indexed_ids=range(2**60, 2**60 + 20_000))
