"""Odd records beside healthy ones: each kind of text is registered once, gets its vector, and the healthy ones are found by meaning."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from tests.embed.embed_doubles import LOG_ID, Running, running
from tests.odd_messages import GIANTS, HEALTHY, batch, healthy_record, odd_record, unreadable_record, upload
from tests.runtime.plain_columns import plain_rows
from treering.v1.embed_pb2 import GetEmbedStatusRequest, SearchPatternsRequest
from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.application import REGISTRY_FILE
from treering_embed.settings import EmbedSettings
from treering_ingest.admission import check_batch
from treering_runtime.patterns import find_patterns, pattern_id


def frames_of(batches: list[Any]) -> list[DeliveredFrame]:
    frames, first = [], 0
    for number, records in enumerate(batches):
        checked = check_batch(upload(batch(healthy_record(2 * number), *records, healthy_record(2 * number + 1))))
        count, payload = checked.record_count, checked.payload
        frames.append(DeliveredFrame(first_offset=first, record_count=count, arrival_time_unix_nano=9, payload=payload))
        first += count
    return frames


def patterns_of(frames: list[DeliveredFrame]) -> dict[Any, Any]:
    rows = plain_rows(LOG_ID, frames)
    found = find_patterns(*(pa.array([row[name] for row in rows], pa.string()) for name in ("service", "message")))
    return dict(zip(found.distinct_ids.to_pylist(), zip(found.services.to_pylist(), found.texts.to_pylist(), strict=True), strict=True))


async def all_are_registered(service: Running, directory: Path, frames: list[DeliveredFrame]) -> None:
    status = await service.embed.GetEmbedStatus(GetEmbedStatusRequest())
    expected = patterns_of(frames)
    assert (status.pattern_count, status.quarantined_count) == (len(expected), 0)
    with contextlib.closing(sqlite3.connect(directory / REGISTRY_FILE)) as registry:
        assert sorted(registry.execute("select service, text from patterns")) == sorted(expected.values())
    found = await service.embed.SearchPatterns(SearchPatternsRequest(text="order was paid", limit=1))
    assert [hit.pattern_id for hit in found.scores] == [pattern_id(HEALTHY, "order <*> was paid")]


@pytest.mark.parametrize("seed", range(3))
async def test_thousands_of_odd_records_are_registered(settings: EmbedSettings, seed: Callable[[range], int]) -> None:
    random = Random(seed)
    frames = frames_of([[odd_record(random) for _ in range(8)] for _ in range(120)])
    end = frames[-1].first_offset + frames[-1].record_count
    async with running(settings) as service:
        progress = await service.deliver(frames)
        assert (progress.visible_end_offset, progress.releasable_end_offset, progress.quarantined_count) == (end, end, 0)
        await all_are_registered(service, settings.data_dir, frames)
    async with running(settings) as service:
        await all_are_registered(service, settings.data_dir, frames)


async def test_the_largest_records_are_registered(settings: EmbedSettings) -> None:
    frames = frames_of([[make()] for make in GIANTS.values()])
    async with running(settings) as service:
        await service.deliver(frames)
        await all_are_registered(service, settings.data_dir, frames)


async def test_a_record_that_only_ingest_can_read_is_quarantined_alone(settings: EmbedSettings) -> None:
    frames = frames_of([[unreadable_record()], []])
    async with running(settings) as service:
        progress = await service.deliver(frames)
        assert (progress.visible_end_offset, progress.quarantined_count) == (5, 1)
        status = await service.embed.GetEmbedStatus(GetEmbedStatusRequest())
        assert (status.pattern_count, status.quarantined_count) == (1, 1)
