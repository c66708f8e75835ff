import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore
from tests.settling import settled
from treering.v1.log_pb2 import Position
from treering_query.retention.retention_clock import Clocks
from treering_query.retention.upkeep import Policy, changes
from treering_query.sealed import segment_file
from treering_query.settings import QuerySettings
from treering_query.store.keeper import Keeper
from treering_query.store.store import Store
from treering_query.values.segment import Segment
from treering_runtime.errors import StartError
from treering_runtime.settings import load

SECOND = 10**9
ARRIVAL = 1_800_000_000 * SECOND
DAY = 86_400
MIB = 1024 * 1024


class Told:
    """Stands for the embed service: remembers what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[int] = []
        self.away = False

    async def forget(self, pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
        if self.away:
            raise ConnectionError("embed does not answer")
        assert below
        self.forgotten += pattern_ids


def counted(store: Store) -> dict[str, int]:
    with store.snapshot() as snapshot:
        records = snapshot.query("select service, count(*) n from logs group by 1 order by 1")
        patterns = snapshot.query("select service, sum(count)::bigint n from patterns group by 1 order by 1")
        assert records.to_pylist() == patterns.to_pylist()
        return {row["service"]: row["n"] for row in records.to_pylist()}


@pytest.fixture
def filled(fill: Fill) -> Callable[..., Coroutine[Any, Any, None]]:
    async def make(store: Store, segments: int, rows: int = 100) -> None:
        for number in range(segments):
            await fill(store, number * rows, (number + 1) * rows)
            await store.seal()

    return make


async def test_nothing_is_due_without_a_policy(open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async with open_store() as store:
        await filled(store, 3)
        assert await store.keep_up(Policy(), ARRIVAL + 9_999 * DAY * SECOND, Told().forget) == 0
        assert counted(store) == {f"svc{number}": 60 for number in range(5)}


async def test_old_segments_go_whole_and_their_patterns_are_forgotten(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], frame: MakeFrame, record: MakeRecord, tmp_path: Path
) -> None:
    told = Told()
    async with open_store() as store:
        await filled(store, 2)
        await store.deliver(7, [frame(200, [record(200, service="new")])], 201)
        assert await store.keep_up(Policy(age_s=DAY), ARRIVAL + 2 * DAY * SECOND, told.forget) == 2
        assert counted(store) == {"new": 1}
        assert len(told.forgotten) == 5
        assert len(json.loads((tmp_path / "store" / "manifest.json").read_text())["segments"]) == 0
        await store.keep_up(Policy(), 0, told.forget)
        assert list((tmp_path / "store" / "segments").iterdir()) == []
        await store.deliver(7, [frame(201, [record(200)])], 202)
        await store.seal()
        assert counted(store) == {"new": 1, "svc0": 1}
    async with open_store() as store:
        assert counted(store) == {"new": 1, "svc0": 1}
        assert store.board.get(7).releasable_end == 202


async def test_service_with_its_own_age_is_cut_out(open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async with open_store() as store:
        await filled(store, 2)
        policy = Policy(service_age_s={"svc1": DAY})
        assert await store.keep_up(policy, ARRIVAL + 2 * DAY * SECOND, Told().forget) == 1
        assert counted(store) == {"svc0": 40, "svc2": 40, "svc3": 40, "svc4": 40}
        assert await store.keep_up(policy, ARRIVAL + 2 * DAY * SECOND, Told().forget) == 0


async def test_segments_that_are_cut_and_small_are_not_doubled(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    kept = {"svc0": 100, "svc2": 100, "svc3": 100, "svc4": 100}
    policy = Policy(service_age_s={"svc1": DAY})
    async with open_store() as store:
        await filled(store, 5)
        for changes_made in (1, 0):
            assert await store.keep_up(policy, ARRIVAL + 2 * DAY * SECOND, Told().forget) == changes_made
            assert counted(store) == kept
    async with open_store() as store:
        assert counted(store) == kept


async def test_service_may_be_kept_longer_than_the_others(open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async with open_store() as store:
        await filled(store, 1)
        await store.keep_up(Policy(age_s=DAY, service_age_s={"svc1": 0}), ARRIVAL + 2 * DAY * SECOND, Told().forget)
        assert counted(store) == {"svc1": 20}


async def test_oldest_segments_go_when_all_together_are_too_large(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async with open_store() as store:
        await filled(store, 3)
        newest = store.view.segments[-1]
        await store.keep_up(Policy(size_bytes=newest.size_bytes), ARRIVAL, Told().forget)
        assert store.view.segments == (newest,)


async def test_small_segments_become_one_and_a_query_that_runs_keeps_its_files(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    async with open_store() as store:
        await filled(store, 5)
        before = counted(store)
        with store.snapshot() as running:
            assert await store.keep_up(Policy(), ARRIVAL, Told().forget) == 1
            await store.keep_up(Policy(), ARRIVAL, Told().forget)
            assert len(list((tmp_path / "store" / "segments").iterdir())) == 2 * 6
            assert running.query("select count(*) from logs").column(0)[0].as_py() == 500
        await store.keep_up(Policy(), ARRIVAL, Told().forget)
        assert len(list((tmp_path / "store" / "segments").iterdir())) == 2
        (segment,) = store.view.segments
        assert (segment.row_count, segment.ranges[0].first_offset, segment.ranges[0].end_offset) == (500, 0, 500)
        assert counted(store) == before
    async with open_store() as store:
        assert counted(store) == before


async def test_a_store_that_is_closed_leaves_no_file_that_belongs_to_no_segment(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    async with open_store() as store:
        await filled(store, 5)
        assert await store.keep_up(Policy(), ARRIVAL, Told().forget) == 1
        files = tmp_path / "store" / "segments"
        assert len(list(files.iterdir())) == 2 * 6  # the merged one, and those that a question might still read
        [segment] = store.view.segments
    assert {file.name for file in files.iterdir()} == set(segment.names)


async def test_a_store_that_is_closed_during_a_merge_leaves_no_file_either(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merging, released = threading.Event(), threading.Event()
    write = segment_file.write

    def slow(*arguments: Any, **named: Any) -> int:
        merging.set()
        assert released.wait(PATIENCE_S)
        return write(*arguments, **named)

    async with open_store() as store:
        await filled(store, 5)
        monkeypatch.setattr(segment_file, "write", slow)
        upkeep = asyncio.create_task(store.keep_up(Policy(), ARRIVAL, Told().forget))
        assert await asyncio.to_thread(merging.wait, PATIENCE_S)
        upkeep.cancel()
        await asyncio.wait({upkeep})
        closed = store._maintenance.close

        async def close() -> None:
            closing = asyncio.create_task(closed())
            await settled()
            released.set()  # the merge ends when the store is already closing
            await closing

        monkeypatch.setattr(store._maintenance, "close", close)
    [segment] = store.view.segments
    assert {file.name for file in (tmp_path / "store" / "segments").iterdir()} == set(segment.names)


async def test_pattern_that_embed_was_not_told_of_stays_due(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    told = Told()
    async with open_store() as store:
        await filled(store, 1)
        told.away = True
        with pytest.raises(ConnectionError):
            await store.keep_up(Policy(age_s=1), ARRIVAL + DAY * SECOND, told.forget)
        assert counted(store) == {}
    async with open_store() as store:
        told.away = False
        await store.keep_up(Policy(), ARRIVAL, told.forget)
        assert len(told.forgotten) == 5


@pytest.mark.parametrize(
    "step",
    ["local_segments._sync_file", "local_segments.sync_directory", "segment_file.write", "duckdb_catalog.DuckDbCatalog._insert_table"],
)
async def test_rewrite_that_stops_halfway_loses_and_doubles_nothing(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async with open_store() as store:
        await filled(store, 4)
        before = counted(store)
        with monkeypatch.context() as patch:
            patch.setattr(f"treering_query.sealed.{step}", _stop)
            with pytest.raises(OSError, match="stopped"):
                await store.keep_up(Policy(), ARRIVAL, Told().forget)
        assert counted(store) == before
    async with open_store() as store:
        assert counted(store) == before
        assert len(store.view.segments) == 4


async def test_manifest_that_cannot_be_written_undoes_and_repeats_nothing(
    open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with open_store() as store:
        with monkeypatch.context() as patch:
            patch.setattr("treering_query.sealed.sealing.Sealer._write_manifest", _stop)
            await filled(store, 4)
            assert await store.keep_up(Policy(), ARRIVAL, Told().forget) == 1
        assert await store.keep_up(Policy(), ARRIVAL, Told().forget) == 0
        assert sum(counted(store).values()) == 400
    async with open_store() as store:
        assert sum(counted(store).values()) == 400
        assert len(json.loads((tmp_path / "store" / "manifest.json").read_text())["segments"]) == 1


def test_drops_come_before_rewrites() -> None:
    small = [segment(number, 10) for number in range(5)]
    assert [len(change.segments) for change in changes(small, Policy(), 0)] == [5]
    old = segment(9, 10, arrival=1)
    (drop,) = changes([*small, old], Policy(age_s=1), 5 * SECOND)
    assert drop.drops_all
    assert drop.segments == (old,)


def test_large_segments_are_not_rewritten_again() -> None:
    assert list(changes([segment(number, 400) for number in range(9)], Policy(merge_up_to_rows=500), 0)) == []
    merged = [change.segments for change in changes([segment(number, 100) for number in range(9)], Policy(merge_up_to_rows=500), 0)]
    assert [sum(each.row_count for each in group) for group in merged] == [500, 400]


def test_no_segment_is_in_two_changes() -> None:
    small = [segment(number, 10, arrival=4 * SECOND + number) for number in range(11)]
    small[5] = replace(small[5], services=frozenset({"a", "b"}))
    found = list(changes(small, Policy(service_age_s={"b": 1}), 6 * SECOND))
    assert [[each.segment_id for each in change.segments] for change in found] == [[5], [0, 1, 2, 3, 4], [6, 7, 8, 9, 10]]


def test_neighbours_that_lose_the_same_services_are_rewritten_together() -> None:
    """A second's segments in one rewrite: one for each would hold up seals for as long as records arrive."""
    both = [replace(segment(number, 10, arrival=number), services=frozenset({"a", "b"})) for number in range(20)]
    both[7] = replace(both[7], services=frozenset({"a", "b", "c"}))
    both[12] = replace(both[12], row_count=400)
    found = list(changes(both, Policy(service_age_s={"b": 1, "c": 1}, merge_up_to_rows=500), 6 * SECOND))
    assert [[each.segment_id for each in change.segments] for change in found] == [
        [*range(7)],
        [7],
        [*range(8, 12)],
        [12],
        [*range(13, 20)],
    ]
    assert [set(change.without) for change in found] == [{"b"}, {"b", "c"}, {"b"}, {"b"}, {"b"}]


def test_few_huge_records_are_not_merged_into_more_than_memory_holds() -> None:
    policy = Policy(merge_up_to_bytes=500)
    huge = [replace(segment(number, 1), data_bytes=400) for number in range(9)]
    assert list(changes(huge, policy, 0)) == []
    large = [replace(each, data_bytes=100) for each in huge]
    merged = [change.segments for change in changes(large, policy, 0)]
    assert [sum(each.data_bytes for each in group) for group in merged] == [500, 400]  # type: ignore[misc]
    assert list(changes([replace(each, data_bytes=None) for each in huge], policy, 0)) == []


async def test_bytes_of_a_segment_are_those_of_its_records_and_outlive_a_restart(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord
) -> None:
    message, policy = "x" * MIB, Policy(merge_up_to_bytes=17 * MIB)
    async with open_store() as store:
        for number in range(12):
            await store.deliver(7, [frame(number, [record(number, service="a", message=f"{number} {message}")])], number + 1)
            await store.seal()
        sizes = {segment.segment_id: segment.data_bytes for segment in store.view.segments}
        assert all(MIB < size < MIB + 10_000 for size in sizes.values())
    async with open_store() as store:
        assert {segment.segment_id: segment.data_bytes for segment in store.view.segments} == sizes
        assert await store.keep_up(replace(policy, merge_up_to_bytes=3 * MIB), ARRIVAL, Told().forget) == 0
        assert await store.keep_up(replace(policy, merge_up_to_bytes=7 * MIB), ARRIVAL, Told().forget) == 2
        assert [segment.row_count for segment in store.view.segments] == [6, 6]
        assert await store.keep_up(policy, ARRIVAL, Told().forget) == 0
        assert counted(store) == {"a": 12}


def segment(number: int, rows: int, arrival: int = 4 * SECOND) -> Segment:
    return Segment(number, Path("x"), rows, rows, 0, 0, arrival, arrival, (), frozenset({"a"}), data_bytes=rows, sealed_time=arrival)


def _stop(*_: object, **__: object) -> None:
    raise OSError(5, "stopped")


async def test_keeper_goes_on_after_a_failure(open_store: OpenStore, filled: Callable[..., Coroutine[Any, Any, None]]) -> None:
    told, passed = Told(), [0]
    clocks = Clocks(wall=lambda: ARRIVAL + passed[0], monotonic=lambda: passed[0], boottime=lambda: passed[0])

    async def away_at_first(pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
        told.away = not told.away
        await told.forget(pattern_ids, below)

    async with open_store(clocks=clocks) as store:
        await filled(store, 1)
        passed[0] = DAY * SECOND
        keeper = Keeper(store, Policy(age_s=1), away_at_first, 0.0)
        while len(told.forgotten) < 5:  # noqa: ASYNC110 - the keeper has no event to wait for
            await asyncio.sleep(0)
        await keeper.close()
        assert counted(store) == {}


def test_settings_make_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_QUERY_RETENTION_SERVICE_AGE_S", '{"checkout": 60}')
    assert load(QuerySettings).retention_service_age_s == {"checkout": 60.0}


@pytest.mark.parametrize(
    ("value", "words"), [('{"checkout": -1}', "_S[checkout]: Input should be greater"), ("soon", "_S: is not the JSON"), ("[1]", "_S: ")]
)
def test_ages_that_are_none_are_refused_as_they_would_remove_everything(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    monkeypatch.setenv("TREERING_QUERY_RETENTION_SERVICE_AGE_S", value)
    with pytest.raises(StartError) as refused:
        load(QuerySettings)
    assert f"TREERING_QUERY_RETENTION_SERVICE_AGE{words}" in str(refused.value)
