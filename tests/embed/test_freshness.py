"""Freshness by meaning of what was never seen before, as Prometheus is told it."""

import time
from typing import Any

from prometheus_client import CollectorRegistry

from tests.embed.embed_doubles import NeverPrepared, frame, running
from treering.v1.sink_pb2 import DeliveredFrame
from treering_embed.limits import MAX_TIMED_PATTERNS
from treering_embed.registry.metrics import EmbedMetrics
from treering_embed.settings import EmbedSettings

COUNT = "treering_embed_new_pattern_freshness_seconds_count"


def arrived(offset: int, messages: list[Any], age_s: float = 0.0) -> DeliveredFrame:
    delivered = frame(offset, messages)
    delivered.arrival_time_unix_nano = time.time_ns() - int(age_s * 1e9)
    return delivered


async def test_a_new_pattern_counts_once_from_its_arrival_until_it_is_found(settings: EmbedSettings) -> None:
    collector = CollectorRegistry()
    async with running(settings, collector=collector) as service:
        await service.deliver([arrived(0, ["payment declined", "disk full"], age_s=40)])
        await service.deliver([arrived(2, ["disk full"] * 5)])
    bucket = "treering_embed_new_pattern_freshness_seconds_bucket"
    assert [collector.get_sample_value(bucket, {"le": le}) for le in ("30.0", "300.0", "+Inf")] == [0, 2, 2]


async def test_a_pattern_that_still_waits_is_not_counted(settings: EmbedSettings) -> None:
    collector = CollectorRegistry()
    async with running(settings, NeverPrepared(), collector=collector) as service:
        await service.deliver([arrived(0, ["payment declined"])], reached="releasable_end_offset")
    assert collector.get_sample_value(COUNT) == 0


def test_a_forgotten_pattern_is_not_counted() -> None:
    collector = CollectorRegistry()
    metrics = EmbedMetrics(collector)
    metrics.admitted([1, 2], time.time_ns())
    metrics.forgotten([1, 3])
    metrics.settled([1, 2])
    assert collector.get_sample_value(COUNT) == 1


def test_a_burst_is_timed_by_its_first_patterns() -> None:
    collector = CollectorRegistry()
    metrics = EmbedMetrics(collector)
    metrics.admitted(range(MAX_TIMED_PATTERNS + 5), time.time_ns())
    metrics.settled(range(MAX_TIMED_PATTERNS + 5))
    assert collector.get_sample_value(COUNT) == MAX_TIMED_PATTERNS
