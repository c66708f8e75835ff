import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.query.conftest import Fill, MakeFrame, MakeRecord, OpenStore
from tests.settling import settled
from treering.v1.log_pb2 import LogFilter, Position
from treering_query.reading import filters
from treering_query.store.store import Store
from treering_query.values.segment import Segment
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError, StartError


def offsets(snapshot: Snapshot) -> list[int]:
    return snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()


async def until_sealed(store: Store, end: int) -> None:
    async with asyncio.timeout(60):
        while store.board.get(7).releasable_end < end:
            await store.board.wait_change(store.board.version, 10)


async def test_records_are_visible_at_once_and_releasable_when_sealed(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 250)
        progress = store.board.get(7)
        assert (progress.next_offset, progress.visible_end, progress.releasable_end) == (250, 250, 0)
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(250))
        await store.seal()
        assert store.board.get(7).releasable_end == 250
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(250))
            assert not snapshot.view.hot


async def test_restart_goes_on_from_the_sealed_end_and_a_fed_again_log_counts_once(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 200)
        await store.seal()
        await fill(store, 200, 300)
    async with open_store() as store:
        await store.open_log(7, 0)
        assert store.board.get(7).next_offset == 200
        await fill(store, 200, 400)
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(400))
            assert sum(snapshot.query("select count from patterns").column(0).to_pylist()) == 400


async def test_a_frame_delivered_twice_changes_nothing(open_store: OpenStore, fill: Fill, frame: MakeFrame, record: MakeRecord) -> None:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.deliver(7, [frame(50, [record(number) for number in range(50, 120)])], 120)
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(120))


async def test_delivery_cut_off_while_decoding_brings_nothing_twice(
    open_store: OpenStore, fill: Fill, frame: MakeFrame, record: MakeRecord
) -> None:
    async with open_store() as store:
        await store.open_log(7, 0)
        batch = frame(0, [record(number) for number in range(2000)])
        for _ in range(20):
            task = asyncio.create_task(store.deliver(7, [batch], 2000))
            await settled()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await store.deliver(7, [batch], 2000)
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(2000))


async def test_two_logs_do_not_mix(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> None:
    async with open_store() as store:
        for log_id in (7, 2**64 - 1):
            await store.open_log(log_id, 0)
            await store.deliver(log_id, [frame(0, [record(number) for number in range(10)])], 10)
        await store.seal()
        with store.snapshot() as snapshot:
            found = snapshot.query("select log_id, count(*) n from logs group by all order by all")
            assert found.to_pylist() == [{"log_id": 7, "n": 10}, {"log_id": 2**64 - 1, "n": 10}]
            assert snapshot.seen == [Position(log_id=7, offset=10), Position(log_id=2**64 - 1, offset=10)]


async def test_log_that_begins_later_is_taken_from_its_start(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> None:
    async with open_store() as store:
        store.board.begin(7, 500)  # as the servicer does it
        await store.open_log(7, 500)
        assert store.board.get(7).next_offset == 500
        await store.deliver(7, [frame(500, [record(1)])], 501)
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == [500]


async def test_of_a_log_of_which_nothing_arrived_no_place_is_kept(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> None:
    async with open_store() as store:
        await store.open_log(8, 0)
        await store.deliver(8, [frame(0, [record(1)])], 1)
        for told in (500, 700):
            store.board.begin(7, told)
            await store.open_log(7, told)
        assert [position.log_id for position in store.view.positions()] == [8]
        await store.seal()
    async with open_store() as store:
        assert store.board.held_logs() == [8]
        store.board.begin(7, 0)
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, [record(1)])], 1)
        assert store.board.get(7).next_offset == 1


async def test_one_record_deliveries_stay_few_chunks(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 1000, size=1)
        assert len(store.view.hot) <= 20
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == list(range(1000))


async def test_snapshot_stays_what_it_was_while_records_arrive_and_are_sealed(open_store: OpenStore, fill: Fill) -> None:
    async with open_store(rows=500) as store:
        await fill(store, 0, 300)
        with store.snapshot() as before:
            await fill(store, 300, 3000)
            await until_sealed(store, 2000)
            assert offsets(before) == list(range(300))
        with store.snapshot() as after:
            assert offsets(after) == list(range(3000))


async def test_every_snapshot_during_seals_has_each_record_once(open_store: OpenStore, fill: Fill) -> None:
    async with open_store(rows=300) as store:

        async def watch() -> int:
            taken = 0
            while store.board.get(7).visible_end < 4000:
                with store.snapshot() as snapshot:
                    found = await store.run(snapshot, offsets)
                    assert found == list(range(snapshot.seen[0].offset if snapshot.seen else 0))
                taken += 1
            return taken

        watching = asyncio.create_task(watch())
        await fill(store, 0, 4000, size=50)
        assert await watching > 0
        await until_sealed(store, 3000)


async def test_patterns_and_counts_come_from_statistics(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 300)
        await store.seal()
        await fill(store, 300, 400)
        with store.snapshot() as snapshot:
            patterns = snapshot.query("select * from patterns order by service")
            assert patterns.column("text").to_pylist() == ["user <*> logged in"] * 5
            assert patterns.column("count").to_pylist() == [80] * 5
            assert patterns.column("example").to_pylist() == [f"user {number} logged in" for number in range(5)]
            counted = snapshot.query("select pattern_id, environment, severity, count(*) as n from logs group by all order by all")
            stored = snapshot.query("select pattern_id, environment, severity, count as n from pattern_counts order by all")
            assert counted.to_pylist() == stored.to_pylist()


async def test_segments_that_cannot_match_are_not_read(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        for start in (0, 100, 200):
            await fill(store, start, start + 100)
            await store.seal()
        predicate = filters.where(LogFilter(start_time_unix_nano=1_700_000_000_000_000_000 + 250 * 10**9))
        nothing = filters.where(LogFilter(services=["nobody"]))
        with store.snapshot() as snapshot:
            assert [segment.segment_id for segment in snapshot.segments(predicate)] == [3]
            assert snapshot.segments(nothing) == ()
            sql = f"select count(*) from logs where {predicate.sql}"
            assert snapshot.query(sql, predicate.parameters, within=predicate).column(0)[0].as_py() == 50


async def test_unreadable_record_is_set_aside_and_counted(open_store: OpenStore, frame: MakeFrame, record: MakeRecord) -> None:
    async with open_store() as store:
        await store.open_log(7, 0)
        good = frame(0, [record(0), record(1)])
        bad = frame(2, [record(2)])
        bad.payload = b"\xff\xff\xff"
        await store.deliver(7, [good, bad, frame(3, [record(3)])], 4)
        assert store.board.get(7).quarantined == 1
        with store.snapshot() as snapshot:
            assert offsets(snapshot) == [0, 1, 3]
        await store.seal()
    async with open_store() as store:
        await store.open_log(7, 0)
        assert (store.board.get(7).next_offset, store.board.get(7).quarantined) == (4, 1)


async def test_manifest_lists_the_segments(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
        (entry,) = manifest["segments"]
        assert (tmp_path / "store" / entry["file"]).stat().st_size == entry["size_bytes"]
        assert entry["logs"] == [{"log_id": "7", "first_offset": 0, "end_offset": 100}]


async def test_missing_segment_refuses_to_start_and_says_which(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
    next((tmp_path / "store" / "segments").glob("0000000001-*.parquet")).unlink()
    with pytest.raises(StartError, match=r"0000000001-\w+\.parquet is missing.*offsets 0 to 99"):
        async with open_store():
            pass


async def test_cut_segment_refuses_to_start(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
    with next((tmp_path / "store" / "segments").glob("0000000001-*.parquet")).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(StartError, match="has 100 bytes instead of"):
        async with open_store():
            pass


async def test_query_is_interrupted_at_its_deadline_and_the_next_one_works(open_store: OpenStore, fill: Fill) -> None:
    async with open_store() as store:
        await fill(store, 0, 100)
        with store.snapshot() as snapshot:
            endless = "select count(*) from range(10000000) a, range(10000000) b"
            with pytest.raises(ServiceError, match="longer than it may"):
                await store.run(snapshot, lambda taken: taken.query(endless), 0.2)
        with store.snapshot() as snapshot:
            assert len(await store.run(snapshot, offsets)) == 100


async def test_full_memory_holds_delivery_back_until_a_seal(open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(rows=100) as store:
        release = asyncio.Event()
        loop = asyncio.get_running_loop()
        real = store._files.sealer.seal

        def held(batch: Any, sealed_time: Any) -> Segment | None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
            return real(batch, sealed_time)

        monkeypatch.setattr(store._files.sealer, "seal", held)
        task = asyncio.create_task(fill(store, 0, 1000, size=50))
        while store.board.get(7).next_offset < 200:
            await store.board.wait_change(store.board.version, 10)
        await settled()
        assert store.board.get(7).next_offset == 200
        release.set()
        await task
        assert store.board.get(7).next_offset == 1000


async def test_failed_seal_is_tried_again(open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_query.sealed.seal_task.RETRY_SEAL_S", (0.0, 0.0))
    async with open_store() as store:
        await fill(store, 0, 100)
        real, failures = store._files.sealer._write, []

        def failing(*arguments: Any, **more: Any) -> Segment:
            if len(failures) < 3:
                failures.append(1)
                raise OSError(28, "No space left on device")
            return real(*arguments, **more)

        monkeypatch.setattr(store._files.sealer, "_write", failing)
        await store.seal()
        assert len(failures) == 3
        assert store.board.get(7).releasable_end == 100
