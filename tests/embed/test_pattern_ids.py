"""Ids of patterns that another one has, and ids from before: what embed registers, says and forgets."""

import sqlite3
from typing import Any

import pytest

from tests.colliding import ONE_ID, collide, former
from tests.embed.embed_doubles import LOG_ID, Running, frame, running
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.log_pb2 import Position
from treering_embed.registry.registry import Registry
from treering_embed.settings import EmbedSettings
from treering_runtime.patterns import former_pattern_id, pattern_id

AUTH, EVIL = "failed password for admin", "qzxv brrm"


async def found(service: Running, text: str, **more: pb.PatternIdSet) -> dict[Any, Any]:
    response = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text=text, limit=100, **more))
    return {hit.pattern_id: hit.score for hit in response.scores}


async def registered(service: Running) -> set[Any]:
    parts = [part async for part in service.admin.DigestIndex(admin_pb2.DigestIndexRequest())]
    assert not any(part.missing_ids or part.unknown_ids for part in parts)
    return {number for part in parts for number in (*part.indexed_ids, *part.pending_ids)}


async def status(service: Running) -> pb.GetEmbedStatusResponse:
    return await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())


@pytest.mark.parametrize(("first", "second"), [(AUTH, EVIL), (EVIL, AUTH)])
@pytest.mark.parametrize("deliveries", [1, 2])
async def test_of_two_patterns_of_one_id_the_first_is_found(
    settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch, first: str, second: str, deliveries: int
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    async with running(settings) as service:
        lines = [(first, "one"), (second, "two"), (second, "two")]
        size = -(-len(lines) // deliveries)
        parts = [lines[start : start + size] for start in range(0, len(lines), size)]
        for start, part in zip(range(0, len(lines), size), parts, strict=True):
            await service.deliver([frame(start + at, [text], name) for at, (text, name) in enumerate(part)])
        told = await status(service)
        assert (told.pattern_count, told.without_pattern_count) == (1, 2)
        assert service.application.sink._kept.registry.db.execute("select service, text from patterns").fetchall() == [("one", first)]
        own = await found(service, first)
    async with running(settings) as service:
        await service.deliver([frame(3, [second, first], "two"), frame(5, [first], "one")])
        assert await found(service, first) == own
        assert (await status(service)).without_pattern_count == 2
        request = admin_pb2.ForgetPatternsRequest(pattern_ids=[ONE_ID], below=[Position(log_id=LOG_ID, offset=6)])
        assert (await service.admin.ForgetPatterns(request)).forgotten_count == 1
        await service.deliver([frame(6, [second], "two")])
        assert service.application.sink._kept.registry.db.execute("select service, text from patterns").fetchall() == [("two", second)]


async def test_a_pattern_over_the_cap_leaves_its_id_free(settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch, AUTH, EVIL)
    async with running(settings.model_copy(update={"max_patterns": 1})) as service:
        await service.deliver([frame(0, ["disk full"]), frame(1, [EVIL], "evil")])
        assert (await status(service)).keyword_only_count == 1
        full = pattern_id("shop/checkout", "disk full")
        request = admin_pb2.ForgetPatternsRequest(pattern_ids=[full], below=[Position(log_id=LOG_ID, offset=9)])
        await service.admin.ForgetPatterns(request)
        await service.deliver([frame(2, [AUTH], "auth")])
        assert (await registered(service), (await status(service)).without_pattern_count) == ({ONE_ID}, 0)


OLD = ["user logged in", "disk is full", "order was paid"]


@pytest.fixture
async def from_before(settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch) -> EmbedSettings:
    """A directory whose patterns have the ids of mask version 2."""
    with monkeypatch.context() as then:
        former(then)
        async with running(settings) as service:
            await service.deliver([frame(0, OLD, "shop")])
    return settings


async def test_patterns_from_before_keep_their_ids_and_vectors_and_are_known_by_new_ones(from_before: EmbedSettings) -> None:
    wanted = {pattern_id("shop", text): text for text in OLD}
    async with running(from_before) as service:
        await service.deliver([frame(3, [*OLD, "cable unplugged"], "shop")])
        new = pattern_id("shop", "cable unplugged")
        assert await registered(service) == {*wanted, new}
        assert (await status(service)).pattern_count == 4
        for number, text in wanted.items():
            scores = await found(service, text)
            assert (max(scores, key=scores.get), scores.keys()) == (number, {*wanted, new})
            narrow = await found(service, text, restrict_to=pb.PatternIdSet(pattern_ids=[number, new]))
            assert narrow == pytest.approx({key: scores[key] for key in (number, new)})
            also = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text="cable", limit=1, also_score_ids=[number]))
            assert {hit.pattern_id for hit in also.scores} == {new, number}
            (slices,) = [part async for part in service.admin.ScorePatterns(admin_pb2.ScorePatternsRequest(texts=[text]))]
            assert dict(zip(slices.pattern_ids, slices.texts[0].scores, strict=True)) == pytest.approx(scores)
    registry = Registry(from_before.data_dir / "registry.sqlite")
    assert registry.pattern_ids() == {*(former_pattern_id("shop", text) for text in OLD), new}
    registry.close()


async def test_no_vector_is_made_anew_for_patterns_from_before(from_before: EmbedSettings) -> None:
    with sqlite3.connect(from_before.data_dir / "registry.sqlite") as db:
        before = db.execute("select pattern_id, state, number from patterns order by number").fetchall()
    async with running(from_before) as service:
        await service.deliver([frame(3, OLD, "shop")])
        runs = service.application.sink._kept.metrics.indexed._value.get()
        assert (runs, (await status(service)).reindex.total_count) == (0, 0)
    with sqlite3.connect(from_before.data_dir / "registry.sqlite") as db:
        assert db.execute("select pattern_id, state, number from patterns order by number").fetchall() == before


async def test_a_forgotten_pattern_from_before_comes_back_under_its_new_id(from_before: EmbedSettings) -> None:
    gone = pattern_id("shop", OLD[0])
    async with running(from_before) as service:
        request = admin_pb2.ForgetPatternsRequest(pattern_ids=[gone], below=[Position(log_id=LOG_ID, offset=3)])
        assert (await service.admin.ForgetPatterns(request)).forgotten_count == 1
        assert gone not in await found(service, OLD[0])
        await service.deliver([frame(3, [OLD[0]], "shop")])
        assert gone in await found(service, OLD[0])
    async with running(from_before) as service:
        assert await registered(service) == {pattern_id("shop", text) for text in OLD}
