"""A real process is ended at each step of a seal; the next start has every record once."""

import asyncio
import sys

import pytest

STEPS = {
    "after the statistics are written": "treering_query.sealed.local_segments._sync_file",
    "before the directory is synced": "treering_query.sealed.local_segments.sync_directory",
    "between statistics and records": "treering_query.sealed.segment_file.write",
    "before the commit": "treering_query.sealed.duckdb_catalog.DuckDbCatalog.commit",
    "inside the transaction": "treering_query.sealed.duckdb_catalog.DuckDbCatalog._insert_table",
    "before the manifest": "treering_query.sealed.sealing.Sealer._write_manifest",
    "before the statistics are merged": "treering_query.sealed.sealing._merged",
}

CHILD = """
import asyncio, os, sys
from pathlib import Path
from unittest import mock
from prometheus_client import CollectorRegistry
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.store.deliveries import HotBounds
from treering_query.store.store import Store
from treering_query.view.engine import SnapshotEngine

def frame(first, count):
    records = [LogRecord(message=f"m {number}", service="s") for number in range(first, first + count)]
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first, record_count=count, arrival_time_unix_nano=1, payload=payload)

async def main(directory, step):
    engine = SnapshotEngine(directory / "spill", memory_bytes=1 << 28, threads=1, running=1, waiting=1, timeout_s=30)
    store = Store(directory, engine, HotBounds(10**6, 1 << 26, 3600), CollectorRegistry())
    await store.open()
    await store.open_log(7, 0)
    await store.deliver(7, [frame(0, 100)], 100)
    await store.seal()
    await store.deliver(7, [frame(100, 100)], 200)
    with mock.patch(step, lambda *_, **__: os._exit(9)):
        await store.seal()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.replace(" ", "_"))
async def test_crash_loses_and_doubles_nothing(step, open_store, tmp_path, frame, record):
    directory = tmp_path / "store"
    directory.mkdir()
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(directory), STEPS[step])
    assert await ended.wait() == 9
    sealed = 200 if step == "before the manifest" else 100
    async with open_store() as store:
        await store.open_log(7, 0)
        assert store.board.get(7).releasable_end == sealed
        await store.deliver(7, [frame(100, [record(number) for number in range(100, 300)])], 300)
        with store.snapshot() as snapshot:
            assert snapshot.query('select "offset" from logs order by 1').column(0).to_pylist() == list(range(300))
            assert sum(snapshot.query("select count from patterns").column(0).to_pylist()) == 300
        names = {file.name for file in (directory / "segments").iterdir()}
        assert names == {name for segment in store.view.segments for name in segment.names}
        await store.seal()
    async with open_store() as store:
        assert store.board.get(7).releasable_end == 300
