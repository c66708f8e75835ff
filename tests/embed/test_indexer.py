"""The order of the indexer's steps is what a crash between them may leave."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Never

import pytest

from tests.embed.embed_doubles import frame, running
from treering.v1 import embed_pb2 as pb
from treering_embed.index import IndexFaultError
from treering_embed.index.edge import EdgeIndex
from treering_embed.registry.ledgers import CurrentLedger, Outcomes
from treering_embed.registry.registry import Registry
from treering_embed.settings import EmbedSettings


async def test_patterns_are_flushed_to_disk_before_they_count_as_indexed(settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    for owner, name in ((EdgeIndex, "upsert"), (EdgeIndex, "flush"), (CurrentLedger, "mark")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, noting(steps, name, original))
    async with running(settings) as service:
        steps.clear()
        await service.deliver([frame(0, ["payment declined", "disk full"])])
    since_upsert = steps[steps.index("upsert") :]
    assert "flush" in since_upsert[: since_upsert.index("mark")]


def noting(steps: list[Any], name: str, original: Any) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        steps.append(name)
        return original(*arguments)

    return noted


async def test_a_fault_after_the_mark_leaves_no_pattern_waiting_for_ever(settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pattern is forgotten while it is encoded, and the index cannot delete it; the other one is done all the same."""
    monkeypatch.setattr("treering_embed.indexing.indexer.RETRY_MIN_S", 0.01)
    mark, faults = CurrentLedger.mark, iter([True])

    def one_gone(self: CurrentLedger, outcomes: Outcomes, frequencies: bytes) -> list[Any] | list[int]:
        gone = mark(self, outcomes, frequencies)
        return [next(iter(outcomes))] if next(faults, False) else gone

    def failing(self: EdgeIndex, pattern_ids: Sequence[int]) -> Never:
        raise IndexFaultError("the disk is gone")

    monkeypatch.setattr(CurrentLedger, "mark", one_gone)
    monkeypatch.setattr(EdgeIndex, "delete", failing)
    async with running(settings) as service, asyncio.timeout(60):
        await service.deliver([frame(0, ["payment declined", "disk full"])])
    assert next(faults, "met") == "met"


@pytest.mark.parametrize(
    ("owner", "step", "fault", "words"),
    [
        (
            Registry,
            "commit",
            sqlite3.OperationalError("database or disk is full"),
            "new patterns cannot be registered: database or disk is full",
        ),
        (EdgeIndex, "upsert", IndexFaultError("make room on the disk"), "new patterns cannot be indexed: make room on the disk"),
    ],
)
async def test_the_status_says_what_is_tried_again_until_it_is_done(
    settings: EmbedSettings,
    monkeypatch: pytest.MonkeyPatch,
    owner: type[Registry] | type[EdgeIndex],
    step: str,
    fault: sqlite3.OperationalError | IndexFaultError,
    words: str,
) -> None:
    for module in ("sink.sink", "indexing.indexer"):
        monkeypatch.setattr(f"treering_embed.{module}.RETRY_MIN_S", 0.01)
    original, full = getattr(owner, step), [True]

    def stepping(*arguments: Any, **named: Any) -> Any:
        if full:
            raise fault
        return original(*arguments, **named)

    monkeypatch.setattr(owner, step, stepping)
    async with running(settings) as service, asyncio.timeout(60):

        async def problem() -> str:
            return (await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())).problem

        delivering = asyncio.create_task(service.deliver([frame(0, ["payment declined"])]))
        while await problem() != words:
            pass
        full.clear()
        await delivering
        while await problem():
            pass
