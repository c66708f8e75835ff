"""Filters with more pattern ids than a statement lists: they are given to the database as relations."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pyarrow as pa
import pytest

from tests.query.conftest import MakeFrame, MakeRecord, Serving
from treering.selection import log_filter
from treering_query.reading import filters
from treering_query.store.store import Store
from treering_query.streams import hub

LETTERS = "abcdefghijklmnop"


def kind(number: int) -> str:
    """A word of its own for each kind of message, without a digit, which would be masked."""
    return "".join(LETTERS[number >> shift & 15] for shift in (8, 4, 0))


async def ids_by_kind(store: Store) -> dict[Any, Any]:
    with store.snapshot() as snapshot:
        rows = snapshot.query("select pattern_id, example from patterns").to_pylist()
    return {row["example"].split()[1]: row["pattern_id"] for row in rows}


@pytest.fixture
def kinds(frame: MakeFrame, record: MakeRecord) -> Callable[..., Coroutine[Any, Any, None]]:
    async def deliver(store: Store, start: int, count: int = 400) -> None:
        await store.open_log(7, 0)
        await store.deliver(7, [frame(start, [record(start + n, service="s", message=f"kind {kind(n)} came") for n in range(count)])], 0)

    return deliver


async def test_an_export_of_many_patterns_has_their_records_from_segments_and_memory(
    serving: Serving, kinds: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async with serving() as (store, client):
        await kinds(store, 0)
        await store.seal()
        await kinds(store, 400)
        ids = await ids_by_kind(store)
        chosen = [ids[kind(number)] for number in range(0, 400, 2)]
        parts = [part.arrow_ipc async for part in client.export_logs(filter=log_filter(pattern_ids=chosen))]
        found = pa.ipc.open_stream(b"".join(parts)).read_all().column("offset").to_pylist()
        assert sorted(found) == [offset for offset in range(800) if offset % 2 == 0]


async def test_tails_of_many_patterns_get_each_its_own(serving: Serving, kinds: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Both lists begin and end alike: a key that looks at the ends alone would take them for one."""
    async with serving() as (store, client):
        await kinds(store, 0)
        ids = sorted((await ids_by_kind(store)).values())
        lists = [[*ids[:5], *ids[5 + half : 395 : 2], *ids[395:]] for half in (0, 1)]
        tails = [client.tail_logs(filter=log_filter(pattern_ids=chosen), backlog=1) for chosen in lists]
        firsts = [await anext(tail) for tail in tails]
        assert all(firsts)
        await kinds(store, 400)
        for tail, chosen in zip(tails, lists, strict=True):
            seen = set()
            async with asyncio.timeout(60):
                while len(seen) < len(chosen):
                    answer = await anext(tail)
                    seen.update(each.pattern_id for each in getattr(answer, "records", [answer]) if each.position.offset >= 400)
            assert seen == set(chosen)
            await tail.aclose()


def test_filters_of_one_statement_name_their_own_values() -> None:
    predicates = [filters.where(log_filter(pattern_ids=range(first, first + 200))) for first in (0, 1000)]
    assert hub._key(predicates[0]) != hub._key(predicates[1])
    columns, values = hub.marks(predicates)
    assert all(f"_given_{name}" in columns for name in values)


def test_filters_by_templates_and_by_patterns_of_the_same_ids_are_two() -> None:
    ids = range(1, 200)
    predicates = [filters.where(log_filter(pattern_ids=ids)), filters.where(log_filter(template_ids=ids))]
    assert hub._key(predicates[0]) != hub._key(predicates[1])
    columns, values = hub.marks(predicates)
    assert len(values) == 2
    assert all(f"_given_{name})" in columns for name in values)
