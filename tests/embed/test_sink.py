import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.embed.embed_doubles import (
    LOG_ID,
    NeverPrepared,
    OneModel,
    Running,
    flooded,
    frame,
    rows,
    running,
    settings_for,
    word_model,
    words,
)
from treering.v1.embed_pb2 import GetEmbedStatusRequest, GetEmbedStatusResponse, SearchPatternsRequest
from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.encoder import Encoded
from treering_embed.engine.choice import index_identity
from treering_embed.index import PatternPoint
from treering_embed.index.opening import open_edge
from treering_embed.limits import LATE_DIMENSION
from treering_embed.settings import EmbedSettings
from treering_runtime.patterns import pattern_id


async def status(service: Running) -> GetEmbedStatusResponse:
    return await service.embed.GetEmbedStatus(GetEmbedStatusRequest())


async def test_delivered_patterns_become_visible_and_are_found(settings: EmbedSettings) -> None:
    async with running(settings) as service:
        progress = await service.deliver([frame(0, ["payment 17 declined", "disk full", "payment 18 declined"])])
        assert (progress.next_offset, progress.releasable_end_offset) == (3, 3)
        found = await service.embed.SearchPatterns(SearchPatternsRequest(text="disk full", limit=2))
        assert [hit.pattern_id for hit in found.scores][:1] != []
        assert found.scores[0].dense > found.scores[1].dense
        assert (found.pending_count, found.seen[0].log_id, found.seen[0].offset) == (0, LOG_ID, 3)
        assert (await status(service)).pattern_count == 2


async def test_a_repeated_delivery_changes_nothing(settings: EmbedSettings) -> None:
    async with running(settings) as service:
        await service.deliver([frame(0, ["a b", "c d"])])
        await service.deliver([frame(0, ["a b", "c d"]), frame(2, ["a b"])])
        assert (await status(service)).pattern_count == 2


async def test_records_are_taken_before_the_model_is_there_and_indexed_after_a_restart(settings: EmbedSettings) -> None:
    async with running(settings, NeverPrepared()) as service:
        progress = await service.deliver([frame(0, ["first", "second"])], reached="releasable_end_offset")
        assert (progress.visible_end_offset, progress.next_offset) == (0, 2)
        found = await status(service)
        assert (found.model_ready, found.pending_count) == (False, 2)
    async with running(settings) as service:
        progress = await service.deliver([frame(0, ["first", "second"])])
        assert progress.visible_end_offset == 2
        assert (await status(service)).pending_count == 0


async def test_a_known_pattern_is_visible_at_once(settings: EmbedSettings) -> None:
    async with running(settings, NeverPrepared()) as service:
        await service.deliver([frame(0, ["first"])], reached="next_offset")
        progress = await service.deliver([frame(0, ["first"]), frame(1, ["first"] * 9)], reached="releasable_end_offset")
        assert progress.visible_end_offset == 0
    async with running(settings) as service:
        assert (await service.deliver([frame(0, ["first"] * 10)])).visible_end_offset == 10


async def test_an_unreadable_frame_is_set_aside_and_the_others_are_kept(settings: EmbedSettings) -> None:
    broken = DeliveredFrame(first_offset=1, record_count=4, payload=b"\xff\xff\xff")
    async with running(settings) as service:
        progress = await service.deliver([frame(0, ["good"]), broken, frame(5, ["also good"])])
        assert (progress.next_offset, progress.quarantined_count) == (6, 4)
        assert (await status(service)).pattern_count == 2
    async with running(settings) as service:
        assert (await service.deliver([frame(0, ["good"])])).quarantined_count == 4


async def test_a_log_that_begins_later_is_taken_from_where_it_begins(settings: EmbedSettings) -> None:
    async with running(settings) as service:
        await service.application.sink.open_log(LOG_ID, 100)
        progress = await service.deliver([frame(100, ["late start"])])
        assert progress.visible_end_offset == 101


async def test_over_the_daily_cap_patterns_are_counted_and_hold_nothing_up(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path / "embed", max_new_patterns_per_day=2)) as service:
        await service.deliver([frame(0, ["one", "two", "three", "four"])])
        found = await status(service)
        assert (found.pattern_count, found.keyword_only_count, found.pending_count) == (2, 2, 0)


async def test_a_clock_that_leaps_does_not_open_the_cap_of_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(settings_for(tmp_path / "embed", max_new_patterns_per_day=2)) as service:
        await service.deliver([frame(0, ["one", "two"])])
        now = time.time_ns()
        for offset, days in ((2, 1), (3, 3650), (4, -3650)):
            monkeypatch.setattr("time.time_ns", lambda days=days: now + days * 86_400 * 10**9)
            await service.deliver([frame(offset, [f"{'abc'[offset - 2]} more"])])
        found = await status(service)
        assert (found.pattern_count, found.keyword_only_count) == (2, 3)


async def found_ids(service: Running, text: str) -> set[Any]:
    found = await service.embed.SearchPatterns(SearchPatternsRequest(text=text, limit=100))
    return {hit.pattern_id for hit in found.scores}


async def test_new_kinds_without_end_leave_room_for_another_s_new_kind(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path / "embed", max_patterns=100)) as service:
        await service.deliver([frame(0, ["disk full"], "auth")])
        end = await flooded(service, 1)
        await service.deliver([frame(end, ["fatal engine broken"], "auth")])
        found = await status(service)
        assert found.pattern_count <= 100
        assert found.evicted_count >= 10
        assert found.pending_count == 0
        assert pattern_id("auth", "fatal engine broken") in await found_ids(service, "fatal engine broken")


async def test_a_kind_that_gave_way_is_found_again_when_it_is_seen_again(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path / "embed", max_patterns=100)) as service:
        await service.deliver([frame(0, ["disk full"], "auth")])
        end = await flooded(service, 1)
        key = pattern_id("auth", "disk full")
        assert key not in await found_ids(service, "disk full")
        answer = await service.embed.SearchPatterns(
            SearchPatternsRequest(text="disk full", limit=9, restrict_to={"pattern_ids": [key]}),
        )
        assert (answer.unknown_count, list(answer.scores)) == (1, [])
        await service.deliver([frame(end, ["disk full"], "auth")])
        assert key in await found_ids(service, "disk full")
    async with running(settings_for(tmp_path / "embed", max_patterns=100)) as service:
        assert (await status(service)).evicted_count >= 10
        assert key in await found_ids(service, "disk full")


async def test_a_kind_that_gave_way_leaves_the_index_even_if_the_process_died_in_between(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "embed", max_patterns=100)
    async with running(settings) as service:
        await service.deliver([frame(0, words(50))])
        registry = service.application.sink._kept.registry
        gone = await service.application.sink._kept.registry_thread.run(registry.evict, 10, 0)  # and nothing of what follows it
    async with running(settings) as service:
        held = await found_ids(service, "kind")
        assert len(held) == 40
        assert not held & set(gone)


async def test_what_the_index_lost_is_put_back_and_what_the_registry_lost_is_removed(settings: EmbedSettings) -> None:
    async with running(settings) as service:
        await service.deliver([frame(0, ["one", "two", "three"])])
    identity = index_identity(word_model())
    index = open_edge(settings.data_dir / "index", f"{identity}-1", word_model().encoder.dimension)
    lost, *others = index.all_ids().tolist()
    index.delete([lost])
    stray = next(iter({1, 2, 3, 4} - {lost, *others}))
    index.upsert([_point(stray)])
    index.close()
    async with running(settings) as service:
        await service.deliver([frame(0, ["one", "two", "three"])])
        found = await service.embed.SearchPatterns(SearchPatternsRequest(text="one", limit=10))
        assert {hit.pattern_id for hit in found.scores} == {lost, *others}


def _point(pattern_id: int) -> PatternPoint:
    return PatternPoint(pattern_id, "x", rows(1, 1, 48)[0], rows(2, 2, LATE_DIMENSION))


async def test_a_batch_that_the_model_fails_on_is_tried_again(settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_embed.indexing.indexer.RETRY_MIN_S", 0.01)
    model = word_model()
    encode, failures = model.encoder.encode, iter([True, True])

    def failing(texts: list[str]) -> Encoded:
        if next(failures, False):
            raise RuntimeError("out of memory")
        return encode(texts)

    monkeypatch.setattr(model.encoder, "encode", failing)

    async with running(settings, OneModel(model)) as service:
        assert (await service.deliver([frame(0, ["one"])])).visible_end_offset == 1
        assert next(failures, "used up") == "used up"


async def test_a_vector_that_is_not_finite_leaves_its_pattern_to_keywords(settings: EmbedSettings) -> None:
    model = word_model()
    encode = model.encoder.encode

    def poisoned(texts: list[str]) -> Encoded:
        encoded = encode(texts)
        for row, text in enumerate(texts):
            if "poison" in text:
                encoded.dense[row] = float("nan")
        return encoded

    model.encoder.encode = poisoned

    async with running(settings, OneModel(model)) as service:
        progress = await service.deliver([frame(0, ["healthy", "poison", "sound"])])
        assert progress.visible_end_offset == 3
        found = await service.embed.SearchPatterns(SearchPatternsRequest(text="healthy", limit=10))
        assert len(found.scores) == 2


@pytest.mark.parametrize("times", [1, 3])
async def test_two_logs_at_the_same_time(settings: EmbedSettings, times: int) -> None:
    async with running(settings) as service:
        ends = await asyncio.gather(
            *(service.deliver([frame(n, [f"{'x' * (n + 1)} {log}"]) for n in range(times)], log_id=log) for log in (1, 2))
        )
        assert [end.visible_end_offset for end in ends] == [times, times]
