"""Records that Protocol Buffers allow and databases dislike, beside healthy ones, through the door's check into a real store that is asked
over a real connection: everything is stored as the plain twin says, and healthy records are found by every question."""

import io
from collections import Counter
from random import Random

import pyarrow as pa
import pytest

from tests.odd_messages import (
    ENVIRONMENT,
    GIANTS,
    HEALTHY,
    MESSAGE,
    SERVICE,
    batch,
    entry,
    field,
    healthy_record,
    odd_record,
    unreadable_record,
    upload,
)
from tests.runtime.plain_columns import plain_digest, plain_resource, plain_rows
from treering.selection import log_filter
from treering.v1.log_pb2 import LogRecord, Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_ingest.admission import check_batch
from treering_ingest.digest import record_digest
from treering_ingest.raw_records import raw_batch
from treering_query.reading.records import within_bytes
from treering_runtime.quarantine import QuarantineSelection

from .conftest import ARRIVAL

LOG = 2**64 - 3


RESOURCES: list[dict[str, str]] = [{}, {"a": "of the batch", "é\0": '"', "treering.trace_id": "mine"}, {}, {"host.name": "db-1", "k": ""}]


def frames_of(batches, first=0):
    """What ingest would deliver of some uploads, each a healthy record, some others, and a healthy record."""
    frames = []
    for number, records in enumerate(batches):
        resource = RESOURCES[number % len(RESOURCES)]
        checked = check_batch(upload(batch(healthy_record(2 * number), *records, healthy_record(2 * number + 1), resource=resource)))
        frames.append(
            DeliveredFrame(
                first_offset=first, record_count=checked.record_count, arrival_time_unix_nano=ARRIVAL + number, payload=checked.payload
            )
        )
        first += checked.record_count
    return frames


async def deliver(store, frames):
    await store.open_log(LOG, 0)
    end = frames[-1].first_offset + frames[-1].record_count
    await store.deliver(LOG, frames, end)
    return end


async def exported(client):
    data = io.BytesIO()
    async for part in client.export_logs():
        data.write(part.arrow_ipc)
    table = pa.ipc.open_stream(data.getvalue()).read_all().sort_by("offset").drop_columns(["severity_text", "pattern_id"])
    for name in ("time", "arrival_time"):
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(pa.int64()))
    rows = table.to_pylist(maps_as_pydicts="strict")
    return [row | {name: bytes.fromhex(row[name]) for name in ("trace_id", "span_id")} for row in rows]


async def tailed(client, end):
    offsets = []
    async for response in client.tail_logs(start=[Position(log_id=LOG)]):
        offsets += [stored.position.offset for stored in response.records]
        if len(offsets) >= end:
            return offsets
    raise AssertionError


async def digested(client, end):
    return (await client.digest_store(LOG, 0, end, step=end)).ranges[0].digest


async def healthy_are_found(client, numbers):
    healthy = log_filter(services=[HEALTHY])
    counted = await client.aggregate_logs(filter=healthy)
    assert counted.rows[0].values[0].value == len(numbers)
    by_attribute = await client.aggregate_logs(by=["ms"], metric=["count", "sum:a"], filter=healthy)
    assert {row.groups[0].value: row.values[0].value for row in by_attribute.rows} == Counter(f"{number % 7}" for number in numbers)
    assert sum(row.values[1].value for row in by_attribute.rows) == sum(numbers)
    one = log_filter(services=[HEALTHY], where={"a": f"{numbers[-1]}"})
    assert (await client.aggregate_logs(filter=one)).rows[0].values[0].value == 1
    (row,) = (await client.sql(f"select count(*) n, count(attributes['a']) a from logs where service = '{HEALTHY}'")).rows()
    assert row == {"n": len(numbers), "a": len(numbers)}
    words = f"order {numbers[0]} was paid"
    found = await client.search_logs(words, filter=healthy, mode="keyword", flat=True, page_size=1)
    assert found.results[0].records[0].record.message == words
    pages = [pattern async for pattern in client.patterns(filter=healthy)]
    assert sum(pattern.count for pattern in pages) == len(numbers)
    offset = found.results[0].records[0].position.offset
    near = await client.get_log_context(offset, log_id=LOG, before=2, after=2)
    assert words in [stored.record.message for stored in near.records]


async def everything_is_there(client, frames, end):
    expected = plain_rows(LOG, frames)
    assert (await client.sql("select count(*) n from logs")).rows() == [{"n": end}]
    assert (await client.sql("select sum(cardinality(attributes)) n from logs")).rows()[0]["n"] == sum(
        len(row["attributes"]) for row in expected
    )
    assert await exported(client) == expected
    assert await tailed(client, end) == list(range(end))
    assert sum([pattern.count async for pattern in client.patterns()]) == end
    by_service = await client.aggregate_logs(by=["service"], limit=100_000)
    assert {row.groups[0].value: row.values[0].value for row in by_service.rows} == Counter(row["service"] for row in expected)
    by_attribute = await client.aggregate_logs(by=["a"], limit=100_000)
    counts = Counter(row["attributes"].get("a") for row in expected)
    assert {row.groups[0].value if row.groups[0].HasField("value") else None: row.values[0].value for row in by_attribute.rows} == counts
    plain = sum(map(plain_digest, expected)) % 2**64
    log = [
        record_digest(offset, frame.arrival_time_unix_nano, record, plain_resource(frame.payload))
        for frame in frames
        for offset, record in enumerate(raw_batch(frame.payload).records, frame.first_offset)
    ]
    assert (await digested(client, end), sum(log) % 2**64) == (plain, plain)
    await healthy_are_found(client, [int(row["attributes"]["a"]) for row in expected if row["service"] == HEALTHY])


async def verified(client):
    steps = [step async for step in client.verify_store()]
    assert [problem for step in steps for problem in step.problems] == []
    assert steps[-1].complete


@pytest.mark.parametrize("seed", range(3))
async def test_thousands_of_odd_records_hide_no_healthy_one(serving, seed):
    random = Random(seed)
    frames = frames_of([[odd_record(random) for _ in range(random.choice((1, 2, 10)))] for _ in range(150)])
    half = len(frames) // 2
    async with serving() as (store, client):
        await deliver(store, frames[:half])
        await store.seal()
        end = await deliver(store, frames)
        assert store.board.get(LOG).quarantined == 0
        await everything_is_there(client, frames, end)
        await store.seal()
        await everything_is_there(client, frames, end)
        await verified(client)
    async with serving() as (store, client):
        await everything_is_there(client, frames, end)


@pytest.mark.parametrize("name", GIANTS)
async def test_the_largest_records_hide_no_healthy_one(serving, name):
    async with serving() as (store, client):
        frames = frames_of([[GIANTS[name]()], []])
        end = await deliver(store, frames)
        await healthy_are_found(client, list(range(4)))
        await store.seal()
        await everything_is_there(client, frames, end)
        await verified(client)


MANY = {
    "services": lambda number: field(SERVICE, "s" * 1_000_000 + f"{number}"),
    "environments": lambda number: field(ENVIRONMENT, "e" * 1_000_000 + f"{number}"),
    "attributes": lambda number: entry("a", "v" * 1_000_000 + f"{number}"),
    "keys": lambda number: entry("k" * 1_000_000 + f"{number}", "v"),
    "messages": lambda number: field(MESSAGE, "word " * 200_000 + f"{number}"),
}


@pytest.mark.parametrize("name", MANY)
async def test_many_large_records_hide_no_healthy_one(serving, name):
    async with serving() as (store, client):
        frames = frames_of([[field(MESSAGE, "hello") + MANY[name](number)] for number in range(24)])
        end = await deliver(store, frames)
        for _ in range(2):
            assert sorted(await tailed(client, end)) == list(range(end))
            assert await exported(client) == plain_rows(LOG, frames)
            assert sum(pattern.count for pattern in (await client.list_patterns()).patterns) == end
            near = await client.get_log_context(end // 2, log_id=LOG, before=end, after=end, all_services=True)
            assert end // 2 in [stored.position.offset for stored in near.records]
            await client.compare_patterns(filter=log_filter(), baseline=log_filter(services=[HEALTHY]))
            assert (await client.search_logs("hello", mode="keyword", page_size=100)).results or name == "messages"
            await healthy_are_found(client, list(range(48)))
            await store.seal()
        await verified(client)


@pytest.mark.parametrize("uploads", [[["a\0b", "c"], ["a", "b\0c"]], [["a", "b\0c"], ["a\0b", "c"]]], ids=str)
@pytest.mark.parametrize("together", [True, False])
async def test_zero_bytes_move_no_record_into_the_pattern_of_another(serving, uploads, together):
    records = [field(SERVICE, service) + field(MESSAGE, message) for service, message in uploads]
    async with serving() as (store, client):
        end = await deliver(store, frames_of([records] if together else [[record] for record in records]))
        for _ in range(2):
            counted = {(pattern.service, pattern.text): pattern.count async for pattern in client.patterns()}
            assert sum(counted.values()) == end
            assert [counted[service, message] for service, message in uploads] == [1, 1]
            for service, _ in uploads:
                found = await client.aggregate_logs(filter=log_filter(services=[service])) if "\0" not in service else None
                assert found is None or found.rows[0].values[0].value == 1
            await store.seal()


async def test_new_names_in_every_record_hide_no_healthy_one(serving):
    names = [field(SERVICE, f"s{number}") + field(ENVIRONMENT, f"e{number}") + field(MESSAGE, "hello") for number in range(20_000)]
    async with serving() as (store, client):
        frames = frames_of([names[:10_000], names[10_000:]])
        end = await deliver(store, frames)
        for _ in range(2):
            assert (await client.sql("select count(*) n, count(distinct service) s from logs")).rows() == [{"n": end, "s": 20_001}]
            await healthy_are_found(client, list(range(4)))
            assert (await client.aggregate_logs(filter=log_filter(services=["s77"], environments=["e77"]))).rows[0].values[0].value == 1
            await store.seal()
        await verified(client)


async def test_a_record_that_only_ingest_can_read_is_quarantined_alone(serving):
    random = Random(5)
    frames = frames_of([[odd_record(random), unreadable_record(), odd_record(random)], [unreadable_record()], []])
    async with serving() as (store, client):
        end = await deliver(store, frames)
        for _ in range(2):
            aside = await store.quarantined(QuarantineSelection(), None)
            assert [(item.first_offset, item.record_count, item.payload) for item in aside] == [
                (2, 1, batch(unreadable_record())),
                (6, 1, batch(resource=RESOURCES[1]) + batch(unreadable_record())),
            ]
            assert (await client.sql("select count(*) n from logs")).rows() == [{"n": end - 2}]
            assert await exported(client) == [row for row in plain_rows(LOG, frames) if row["offset"] not in {2, 6}]
            await healthy_are_found(client, list(range(6)))
            await store.seal()


async def test_names_count_in_the_size_of_an_answer(snapshot_of):
    names = {"service": "🔥" * 64, "environment": "🔥" * 64}
    with snapshot_of([LogRecord(message="m", **names) for _ in range(100)]) as snapshot:
        assert within_bytes(snapshot.query("select * from logs"), 10_000).num_rows == 15


async def test_many_short_attributes_count_in_the_size_of_an_answer(serving):
    records = [GIANTS["attributes"]()] * 24
    async with serving() as (store, client):
        end = await deliver(store, frames_of([[record] for record in records]))
        assert sorted(await tailed(client, end)) == list(range(end))
