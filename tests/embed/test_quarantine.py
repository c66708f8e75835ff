from collections.abc import Sequence
from typing import Any

import pytest

from tests.embed.embed_doubles import LOG_ID, NeverPrepared, Running, frame, running
from treering.v1 import sink_pb2
from treering.v1.embed_pb2 import GetEmbedStatusRequest, SearchPatternsRequest
from treering.v1.log_pb2 import Position
from treering_embed.registry import registry
from treering_embed.settings import EmbedSettings
from treering_embed.sink import sink as sink_module
from treering_runtime import fitting
from treering_runtime.columns import FrameDecoder


class Squeamish(FrameDecoder):
    """A decoder with a fault: it cannot read one word."""

    def decode(self, log_id: int, frames: Sequence[sink_pb2.DeliveredFrame], skip_below: int = 0) -> Any:
        if any(b"unspeakable" in frame.payload for frame in frames):
            raise ValueError("it holds a word that cannot be read")
        return super().decode(log_id, frames, skip_below)


@pytest.fixture
def squeamish(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sink_module, "FrameDecoder", Squeamish)
    return monkeypatch


async def entries(service: Running, **selection: int) -> list[Any]:
    call = service.sink.ListQuarantine(sink_pb2.ListQuarantineRequest(**selection))
    return [entry async for response in call for entry in response.entries]


async def retry(service: Running, **selection: int) -> tuple[int, int, int]:
    *_, last = [response async for response in service.sink.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(**selection))]
    return last.tried_count, last.stored_count, last.quarantined_count


FRAMES = [frame(0, ["good", "unspeakable thing", "fine"]), frame(3, ["well"]), frame(4, ["unspeakable deed", "unspeakable thing"])]


async def test_a_record_that_cannot_be_read_is_set_aside_listed_and_counted(settings: EmbedSettings, squeamish: pytest.MonkeyPatch) -> None:
    async with running(settings) as service:
        progress = await service.deliver(FRAMES)
        assert (progress.next_offset, progress.quarantined_count) == (6, 3)
        found = await entries(service, with_payload=True)
        assert [(each.log_id, each.first_offset, each.record_count) for each in found] == [(LOG_ID, offset, 1) for offset in (1, 4, 5)]
        assert {each.reason for each in found} == {"it holds a word that cannot be read"}
        assert found[0].payload == frame(1, ["unspeakable thing"]).payload
        assert [each.first_offset for each in await entries(service, log_id=LOG_ID, first_offset=2, end_offset_exclusive=5)] == [4]
        assert await entries(service, log_id=1) == []
        status = await service.embed.GetEmbedStatus(GetEmbedStatusRequest())
        assert (status.quarantined_count, status.pattern_count) == (3, 3)


async def test_many_entries_come_in_several_messages(
    settings: EmbedSettings, squeamish: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as service:
        await service.deliver(FRAMES)
        for owner, name, most, expected in (
            (registry, "QUARANTINE_PAGE_BYTES", 250, [[1, 4], [5]]),  # small entries count for what they take
            (fitting, "MAX_ANSWER_BYTES", 100, [[1], [4], [5]]),
        ):
            monkeypatch.setattr(owner, name, most)
            call = service.sink.ListQuarantine(sink_pb2.ListQuarantineRequest())
            assert [[entry.first_offset for entry in response.entries] async for response in call] == expected


async def test_what_is_read_again_is_registered_indexed_and_leaves(settings: EmbedSettings, squeamish: pytest.MonkeyPatch) -> None:
    async with running(settings) as service:
        await service.deliver(FRAMES)
        assert await retry(service) == (3, 0, 3)
    squeamish.undo()
    async with running(settings) as service:
        progress = await service.deliver([*FRAMES, frame(6, ["later"])])
        assert progress.quarantined_count == 3
        assert await retry(service, first_offset=4) == (2, 2, 1)
        assert [each.first_offset for each in await entries(service)] == [1]
        assert await retry(service) == (1, 1, 0)
        assert await retry(service) == (0, 0, 0)
        wait = [Position(log_id=LOG_ID, offset=7)]
        found = await service.embed.SearchPatterns(SearchPatternsRequest(text="unspeakable deed", limit=10, min_positions=wait))
        assert len(found.scores) == 6
        assert found.scores[0].dense > 0.9
    async with running(settings) as service:
        assert (await service.deliver([frame(6, ["later"])])).quarantined_count == 0
        assert (await service.embed.GetEmbedStatus(GetEmbedStatusRequest())).pattern_count == 6


async def test_what_is_visible_does_not_fall_back_when_an_old_record_is_read_at_last(
    settings: EmbedSettings, squeamish: pytest.MonkeyPatch
) -> None:
    async with running(settings, NeverPrepared()) as service:
        await service.deliver(FRAMES, reached="releasable_end_offset")
        before = service.application.sink.board.get(LOG_ID).visible_end
    squeamish.undo()
    async with running(settings) as service:
        await service.deliver([frame(6, ["later"])])
        assert service.application.sink.board.get(LOG_ID).visible_end == 7
        assert await retry(service) == (3, 3, 0)
        await service.application.sink.settled()
        assert service.application.sink.board.get(LOG_ID).visible_end >= 7 > before
