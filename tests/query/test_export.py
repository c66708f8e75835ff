"""ExportLogs on a real store: complete, bounded in memory and in number, and gone without a trace when its caller is."""

import asyncio
import json
import sys
import threading
from contextlib import aclosing

import pyarrow as pa
import pytest

from tests.cancelling import at_each_await, drained
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter
from treering_query import limits
from treering_query.streams import export
from treering_query.streams.export import Exports
from treering_runtime.admission import Admission
from treering_runtime.errors import ServiceError

MIB = 1024 * 1024
EVERYTHING = export.plan(pb.ExportLogsRequest())

MEASURED = """
import asyncio, json, random, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from treering.v1 import query_pb2 as pb
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.store.deliveries import HotBounds
from treering_query.store.store import Store
from treering_query.streams import export
from treering_query.view.engine import SnapshotEngine
from treering_runtime.memory import release_freed

MIB = 1 << 20
WORDS = random.Random(7).randbytes(4_000_000).hex()

def frame(first, count, size):
    places = ((number * 131) % (len(WORDS) - size) for number in range(first, first + count))
    records = [LogRecord(message=WORDS[at : at + size], service=f"s{first % 3}", attributes={"at": "x"}) for at in places]
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first, record_count=count, arrival_time_unix_nano=1, payload=payload)

async def fill(store, first, count, size):
    for start in range(first, first + count, 500):
        await store.deliver(7, [frame(start, 500, size)], start + 500)

def memory(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

async def drained(exports):
    size, rows = 0, 0
    async for part in exports.run(export.plan(pb.ExportLogsRequest()), None):
        size, rows = size + len(part.arrow_ipc), rows + part.summary.row_count
    return size, rows

async def main(directory, together):
    engine = SnapshotEngine(directory / "spill", memory_bytes=256 * MIB, threads=2, running=4, waiting=64, timeout_s=600)
    store = Store(directory, engine, HotBounds(10**7, 1 << 30, 3600), CollectorRegistry())
    await store.open()
    await store.open_log(7, 0)
    for first in (0, 40_000):
        await fill(store, first, 40_000, 700)
        await store.seal()
    await fill(store, 80_000, 20_000, 700)
    exports = export.Exports(store, 4, 0)
    await drained(exports)  # maps what is hot, loads what is loaded once
    release_freed()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew
    found = await asyncio.gather(*(drained(exports) for _ in range(together)))
    print(json.dumps({"grown": memory("VmHWM") - before, "found": found}))
    exports.close()
    await store.close()
    engine.close()

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.fixture
async def store(open_store, fill):
    async with open_store() as store:
        for start in range(0, 400, 200):
            await fill(store, start, start + 200)
            await store.seal()
        await fill(store, 400, 500)
        yield store


@pytest.fixture
def exports_of():
    made = []

    def make(store, running=2, waiting=0):
        made.append(Exports(store, running, waiting))
        return made[-1]

    yield make
    for exports in made:
        exports.close()


async def read(exports, request=EVERYTHING, timeout_s=None):
    """The records of an export; its parts are no larger than promised, and its summary agrees."""
    data, rows = b"", None
    async with asyncio.timeout(60):
        async for part in exports.run(request, timeout_s):
            assert len(part.arrow_ipc) <= MIB
            data += part.arrow_ipc
            if part.HasField("summary"):
                rows = part.summary.row_count
    table = pa.ipc.open_stream(data).read_all()
    assert table.num_rows == rows
    return table


def offsets(table):
    return sorted(table.column("offset").to_pylist())


async def begun(exports):
    """An export whose caller has read one part and reads no further."""
    parts = exports.run(EVERYTHING, None)
    await anext(parts)
    return parts


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the most memory since a moment")
async def test_four_exports_of_fifty_megabytes_take_little_memory(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEASURED, str(tmp_path), "4", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    measured = json.loads(output.splitlines()[-1])
    assert [rows for _, rows in measured["found"]] == [100_000] * 4
    assert all(size > 50 * MIB for size, _ in measured["found"])
    assert measured["grown"] < 80 * MIB


async def test_everything_once_from_segments_and_memory_in_batches_of_any_size(store, exports_of, monkeypatch):
    for size in (1, 10_000, 100 * MIB):
        monkeypatch.setattr(export, "_BATCH_BYTES", size)
        exports = exports_of(store)
        assert offsets(await read(exports)) == list(range(500))
        some = await read(exports, export.plan(pb.ExportLogsRequest(filter=LogFilter(services=["svc3"], min_severity=17))))
        assert offsets(some) == [number for number in range(500) if number % 5 == 3 and number % 3 == 2]


async def test_records_of_a_mebibyte_come_in_parts_that_fit(open_store, frame, record, exports_of):
    async with open_store() as store:
        await store.open_log(7, 0)
        for first in range(0, 24, 3):
            await store.deliver(7, [frame(first, [record(first + n, message=f"{n} {'x' * (MIB - 200)}") for n in range(3)])], 24)
            if first == 9:
                await store.seal()
        assert offsets(await read(exports_of(store))) == list(range(24))


async def test_nothing_selected_is_a_stream_with_columns_and_no_rows(open_store, exports_of):
    async with open_store() as store:
        table = await read(exports_of(store))
        assert table.num_rows == 0
        assert table.column_names[:3] == ["log_id", "offset", "time"]


async def test_stopped_readers_hold_neither_a_thread_nor_a_turn_of_questions(store, exports_of):
    exports = exports_of(store, running=2)
    parts = [await begun(exports) for _ in range(2)]
    meet = threading.Barrier(2)
    async with asyncio.timeout(60):
        await asyncio.gather(*(asyncio.get_running_loop().run_in_executor(exports._threads, meet.wait) for _ in range(2)))
    assert store._engine._admission.present == 0
    for each in parts:
        await each.aclose()


async def test_an_export_that_began_never_hears_of_overload(store, exports_of, monkeypatch):
    exports = exports_of(store)
    parts = await begun(exports)
    full = Admission("store", 1, 0)
    monkeypatch.setattr(store._engine, "_admission", full)
    async with full.slot(None):
        with store.snapshot() as snapshot, pytest.raises(ServiceError):
            await store.run(snapshot, lambda _: None)
        last = [part async for part in parts][-1]
    assert last.summary.row_count == 500


async def test_one_too_many_is_refused_before_it_begins_and_told_when_to_come_back(store, exports_of):
    exports = exports_of(store, running=1)
    parts = await begun(exports)
    with pytest.raises(ServiceError, match="1 exports run already") as error:
        await read(exports)
    assert (error.value.reason, error.value.retry_after_s) == (ErrorReason.ERROR_REASON_OVERLOADED, 1.0)
    await parts.aclose()
    assert offsets(await read(exports)) == list(range(500))


async def test_the_next_one_waits_for_its_turn_but_not_for_ever(store, exports_of, monkeypatch):
    monkeypatch.setattr(limits, "EXPORT_PATIENCE_S", 0.01)
    exports = exports_of(store, running=1, waiting=1)
    parts = await begun(exports)
    with pytest.raises(ServiceError, match=r"none of the exports has ended for 0\.01 s") as error:
        await read(exports)
    assert (error.value.reason, error.value.retry_after_s) == (ErrorReason.ERROR_REASON_OVERLOADED, 1.0)
    with pytest.raises(ServiceError) as error:
        await read(exports, timeout_s=0.0)
    assert error.value.reason == ErrorReason.ERROR_REASON_TIMED_OUT
    monkeypatch.setattr(limits, "EXPORT_PATIENCE_S", 60.0)
    await parts.aclose()
    exports = exports_of(store, running=1, waiting=1)
    parts = await begun(exports)
    waiting = asyncio.create_task(read(exports))
    while exports.admission.present < 2:  # noqa: ASYNC110 - it has come to the line
        await asyncio.sleep(0)
    await parts.aclose()
    assert offsets(await waiting) == list(range(500))


async def test_an_export_cancelled_at_any_await_leaves_nothing(store, exports_of, monkeypatch):
    monkeypatch.setattr(export, "_BATCH_BYTES", 10_000)
    exports = exports_of(store, running=1)
    tasks = asyncio.all_tasks()

    async def nothing_is_left(step):
        assert (exports.admission.present, store._published.held()) == (0, 0)
        assert asyncio.all_tasks() - tasks <= {asyncio.current_task()}
        await asyncio.wrap_future(exports._threads.submit(int))

    assert await at_each_await(lambda: drained(exports.run(EVERYTHING, None)), nothing_is_left) > 3
    assert offsets(await read(exports)) == list(range(500))


async def test_an_export_whose_reader_is_cancelled_between_two_parts_leaves_nothing(store, exports_of):
    exports = exports_of(store, running=1)

    async def slowly():
        async with aclosing(exports.run(EVERYTHING, None)) as parts:
            async for _ in parts:
                await asyncio.sleep(0)

    async def nothing_is_left(step):
        assert (exports.admission.present, store._published.held()) == (0, 0)

    assert await at_each_await(slowly, nothing_is_left) > 3


async def test_interrupting_ends_a_statement_that_reads(store, exports_of, monkeypatch):
    """A filter that selects nothing gives no batch between which it could be stopped."""
    exports = exports_of(store)
    slow = "(select count(*) from range(100000000) a(x), range(1000) b(y) where x % 7 = y % 5) < 0"
    monkeypatch.setattr(export._Export, "_sql", lambda self, part: f"select log_id from {part.records} where {slow}")
    stuck = asyncio.create_task(read(exports))
    while not store._published.held():  # noqa: ASYNC110 - it has begun
        await asyncio.sleep(0)
    stuck.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await stuck
    assert (exports.admission.present, store._published.held()) == (0, 0)
