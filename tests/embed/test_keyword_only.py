"""Patterns that are found by their words only are told from lost ones."""

import contextlib
import sqlite3

import pytest
from embed_doubles import flooded, frame, running, settings_for, words

from treering.v1 import admin_pb2
from treering_embed.registry.book import PatternBook
from treering_embed.registry.database import Transaction
from treering_embed.registry.keyword_only import KeywordOnly
from treering_embed.registry.registry import Refused, RegisteredPattern, Registry, Summary
from treering_runtime.patterns import pattern_id

HUGE = 2**64 - 1
SERVICE = "shop/checkout"


@pytest.fixture
def registry(tmp_path):
    with contextlib.closing(Registry(tmp_path / "registry.sqlite")) as opened:
        yield opened


def pattern(number: int) -> RegisteredPattern:
    return RegisteredPattern(number, "api", "t", "e", 1, 0)


def commit(registry, patterns=(), refused=None):
    registry.commit({1: 10}, patterns, {}, [], day=1, now=86_400, mask_version=1, refused=refused)


async def named(service) -> tuple[set[int], int]:
    """The ids that DigestIndex says are found by words only, and how many more it no longer names."""
    parts = [part async for part in service.admin.DigestIndex(admin_pb2.DigestIndexRequest())]
    return {key for part in parts for key in part.keyword_only_ids}, parts[-1].forgotten_keyword_only_count


def test_what_a_cap_refuses_is_handed_over_once():
    book = PatternBook(Summary(frozenset(), [], {}, {}, {}), 100, 1)
    book.admit([pattern(1), pattern(2), pattern(3), pattern(2)])
    book.admit([pattern(3)])
    assert book.take_refused() == Refused([2, 3])
    book.admit([pattern(2)])
    assert book.take_refused() == Refused()


def test_what_is_not_remembered_is_counted(monkeypatch):
    monkeypatch.setattr("treering_embed.registry.book.MAX_REFUSED_REMEMBERED", 1)
    book = PatternBook(Summary(frozenset(), [], {}, {}, {}), 100, 1)
    book.admit([pattern(1), pattern(2), pattern(3), pattern(4)])
    assert book.take_refused() == Refused([2], unnamed=2)


def test_refused_patterns_are_kept_until_they_are_registered(registry):
    commit(registry, refused=Refused([HUGE, 5, 5]))
    commit(registry, refused=Refused([5]))
    assert set(registry.keyword_only.ids()) == {HUGE, 5}
    commit(registry, [pattern(5)])
    assert (registry.keyword_only.ids(), registry.keyword_only.forgotten_count()) == ([HUGE], 0)


def test_a_pattern_that_gives_way_is_kept_in_the_same_step(registry):
    commit(registry, [pattern(1), pattern(2)])
    gone = registry.evict(1, proven_places=0)
    assert registry.keyword_only.ids() == gone


def test_so_many_ids_are_kept_and_of_older_ones_the_number(registry):
    kept = KeywordOnly(registry.db, limit=3)
    with Transaction(registry.db):
        kept.add([1, 2, 3, 4])
        kept.add([5], unnamed=10)
        assert (sorted(kept.ids()), kept.forgotten_count()) == ([3, 4, 5], 12)
        kept.add([3, 6])
    assert (sorted(kept.ids()), kept.forgotten_count()) == ([3, 5, 6], 13)


def test_what_gave_way_under_an_earlier_version_is_a_number(tmp_path):
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as older:
        commit(older, [pattern(1), pattern(2)])
        older.evict(2, proven_places=0)
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as db:
        db.execute("drop table keyword_only")
    for _ in range(2):
        with contextlib.closing(Registry(tmp_path / "r.sqlite")) as reopened:
            assert (reopened.keyword_only.ids(), reopened.keyword_only.forgotten_count()) == ([], 2)


async def test_patterns_over_the_cap_are_named_after_a_restart_and_until_they_are_registered(tmp_path):
    settings = settings_for(tmp_path / "embed", max_new_patterns_per_day=2)
    over = {pattern_id(SERVICE, text) for text in ("three", "four")}
    async with running(settings) as service:
        await service.deliver([frame(0, ["one", "two", "three", "four"])])
        assert await named(service) == (over, 0)
    async with running(settings) as service:
        assert await named(service) == (over, 0)
    async with running(settings_for(tmp_path / "embed")) as service:
        await service.deliver([frame(4, ["four"])])
        assert await named(service) == ({pattern_id(SERVICE, "three")}, 0)


async def test_patterns_that_gave_way_are_named(tmp_path):
    async with running(settings_for(tmp_path / "embed", max_patterns=100)) as service:
        await service.deliver([frame(0, ["disk full"], "auth")])
        await flooded(service, 1)
        held = service.application.sink._kept.book._known
        kinds = {pattern_id("auth", "disk full")} | {pattern_id("flood", text) for text in words(150, 1)}
        assert await named(service) == (kinds - held, 0)
