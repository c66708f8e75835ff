"""Resources end to end: what holds for all records of a batch is stored once, and read as an attribute of each of them."""

from collections import Counter

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.odd_messages import TEXTS
from tests.runtime.plain_columns import plain_digest, plain_rows
from treering import log_filter
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord, Position
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.answers import digest
from treering_query.reading.records import row_sizes, stored_records
from treering_query.reading.slices import between
from treering_query.retention.upkeep import Policy
from treering_query.sealed import segment_file
from treering_query.sql import gate
from treering_query.values.schemas import LOGS_SCHEMA
from treering_query.view.hot import Chunk

from .conftest import ARRIVAL, STOPPED, _opened

LOG = 7
HOST = {"host.name": "db-1", "region": "eu", "k": "of the batch"}
OTHER = {"host.name": "db-2", "": "no key", 'a"b\\/~.*': "x", "é\0": "\0\n"}
BATCHES = [
    (HOST, [{"k": "own", "ms": "1"}, {}]),
    ({}, [{"host.name": "own"}, {"ms": "2"}]),
    (dict(reversed(HOST.items())), [{"region": ""}]),
    (OTHER, [{"é\0": "own"}, {}]),
]


def frames(batches=BATCHES, first=0):
    made = []
    for resource, records in batches:
        payload = LogBatch(
            records=[LogRecord(message=f"order {number} was paid", service="s", attributes=own) for number, own in enumerate(records)],
            resource=resource,
        ).SerializeToString()
        made.append(DeliveredFrame(first_offset=first, record_count=len(records), arrival_time_unix_nano=ARRIVAL, payload=payload))
        first += len(records)
    return made


def merged(batches=BATCHES):
    return [resource | own for resource, records in batches for own in records]


async def forget(pattern_ids, below):
    """Stands for the embed service."""


async def deliver(store, made):
    await store.open_log(LOG, 0)
    await store.deliver(LOG, made, made[-1].first_offset + made[-1].record_count)


async def in_sql(client, expression, where="true"):
    return (await client.sql(f'select {expression} as found from logs where {where} order by "offset"')).rows()


async def counted(client, key, value=None, **fields):
    where = log_filter(where={key: value} if value is not None else (), **fields)
    if value is None:
        where.attributes.add(key=key)
    return (await client.aggregate_logs(filter=where)).rows[0].values[0].value


@pytest.fixture(params=["hot", "sealed", "both"])
def asked(serving, request):
    """A client of a store with `BATCHES`, in memory or on disk or half and half."""
    return serving, request.param


async def filled(store, where):
    made = frames()
    half = len(made) // 2 if where == "both" else len(made)
    await deliver(store, made[:half])
    if where != "hot":
        await store.seal()
    if half < len(made):
        await deliver(store, made)


async def test_every_way_to_read_shows_the_attributes_of_both(asked):
    serving, where = asked
    async with serving() as (store, client):
        await filled(store, where)
        expected = merged()
        assert [dict(row["found"]) for row in await in_sql(client, "attributes")] == expected
        resources = [resource for resource, records in BATCHES for _ in records]
        assert [dict(row["found"]) for row in await in_sql(client, "resource")] == resources
        everything = pa.ipc.open_stream(b"".join([part.arrow_ipc async for part in client.export_logs()])).read_all().sort_by("offset")
        assert everything.column("attributes").to_pylist(maps_as_pydicts="strict") == expected
        context = await client.get_log_context(3, log_id=LOG, before=10, after=10)
        assert [dict(stored.record.attributes) for stored in context.records] == expected
        async for response in client.tail_logs(start=[Position(log_id=LOG)]):
            assert [dict(stored.record.attributes) for stored in response.records] == expected
            break
        found = await client.search_logs("order was paid", mode="keyword", flat=True, page_size=10)
        assert sorted(stored.position.offset for result in found.results for stored in result.records) == list(range(len(expected)))
        for result in found.results:
            assert dict(result.records[0].record.attributes) == expected[result.records[0].position.offset]


KEYS = ["k", "ms", "host.name", "region", 'a"b\\/~.*', "nowhere", "/", "~1", "$", "*", "0"]


async def test_a_question_about_a_key_looks_at_the_record_then_at_its_resource(asked):
    serving, where = asked
    async with serving() as (store, client):
        await filled(store, where)
        expected = merged()
        for key in KEYS:
            values = Counter(attributes.get(key) for attributes in expected)
            assert await counted(client, key) == len(expected) - values[None]
            for value in [*filter(None, values), "nothing has it"]:
                assert await counted(client, key, value) == values[value]
            by_key = await client.aggregate_logs(by=[f"attribute:{key}"])
            assert {row.groups[0].value if row.groups[0].HasField("value") else None: row.values[0].value for row in by_key.rows} == values
            literal = key.replace("'", "''")
            rows = await in_sql(client, f"attributes['{literal}']")
            assert [row["found"] for row in rows] == [attributes.get(key) for attributes in expected]
        summed = await client.aggregate_logs(metric=["sum:ms", "distinct:host.name"])
        assert [value.value for value in summed.rows[0].values] == [3.0, 3.0]


async def test_a_set_is_stored_once_in_memory_and_on_disk(serving):
    async with serving() as (store, _):
        await deliver(store, frames(BATCHES * 50))
        sets = {"", *(text for text in store.view.hot[0].table.column("resource").to_pylist() if text)}
        assert len(sets) == 3
        for chunk in store.view.hot:
            assert len(chunk.table.column("resource").chunk(0).dictionary) <= 3
        await store.seal()
        [segment] = store.view.segments
        assert segment.has_resources
        column = pq.read_table(segment.path, read_dictionary=["resource"]).column("resource")
        assert set(column.chunk(0).dictionary.to_pylist()) == sets


async def test_a_segment_without_a_resource_is_as_versions_wrote_it_that_knew_none(serving):
    former = {field.name for field in LOGS_SCHEMA} - {"resource"}
    async with serving() as (store, client):
        await deliver(store, frames([({}, [{"ms": "1"}, {}])]))
        await store.seal()
        [segment] = store.view.segments
        assert not segment.has_resources
        assert set(pq.read_schema(segment.path).names) == former
        await deliver(store, [*frames([({}, [{"ms": "1"}, {}])]), *frames([(HOST, [{"ms": "3"}])], first=2)])
        await store.seal()
        assert [each.has_resources for each in store.view.segments] == [False, True]
        assert [dict(row["found"]) for row in await in_sql(client, "attributes")] == [{"ms": "1"}, {}, HOST | {"ms": "3"}]
        assert [dict(row["found"]) for row in await in_sql(client, "resource")] == [{}, {}, HOST]
        assert await counted(client, "region", "eu") == 1
        assert [step async for step in client.verify_store()][-1].complete


async def test_a_catalog_that_knew_no_resources_opens(open_store, tmp_path):
    batches = [({}, [{"ms": "1"}]), ({}, [{"ms": "2"}])]
    async with open_store() as store:
        await deliver(store, frames(batches))
        await store.seal()
    with duckdb.connect(str(tmp_path / "store" / "logs.duckdb")) as catalog:
        catalog.execute("alter table segments drop column has_resources")
    async with open_store() as store:
        assert [segment.has_resources for segment in store.view.segments] == [False]
        await deliver(store, [*frames(batches), *frames([(HOST, [{}])], first=2)])
        await store.seal()
        with store.snapshot() as snapshot:
            found = snapshot.query('select "offset", resource, attributes from logs order by "offset"')
        assert [text for text in found.column("resource").to_pylist() if text] == ['{"host.name":"db-1","k":"of the batch","region":"eu"}']
    async with open_store() as store:
        assert [segment.has_resources for segment in store.view.segments] == [False, True]


async def test_segments_that_are_made_one_keep_their_resources(serving):
    async with serving() as (store, client):
        made = frames(BATCHES * 2)
        for number in range(len(made)):
            await deliver(store, made[: number + 1])
            await store.seal()
        assert await store.keep_up(Policy(), ARRIVAL, forget) == 1
        [segment] = store.view.segments
        assert segment.has_resources
        assert [dict(row["found"]) for row in await in_sql(client, "attributes")] == merged(BATCHES * 2)
        assert [problem async for step in client.verify_store() for problem in step.problems] == []
        digest = (await client.digest_store(LOG, 0, 14, step=14)).ranges[0].digest
        assert digest == sum(map(plain_digest, plain_rows(LOG, made))) % 2**64


async def test_a_merge_whose_file_cannot_be_written_to_its_end_leaves_the_store_usable(open_store, monkeypatch):
    async with open_store() as store:
        made = frames(BATCHES)
        for number in range(len(made)):
            await deliver(store, made[: number + 1])
            await store.seal()

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(segment_file, "_with_own_sets", full)
            # Held, as by whoever logs it: nothing of it may keep the catalog open.
            with pytest.raises(OSError, match="No space left") as held:
                await store.keep_up(Policy(), ARRIVAL, forget)
            await store.deliver(LOG, frames([({}, [{}])], first=7), 8)
            await store.seal()
        assert held
        assert await store.keep_up(Policy(), ARRIVAL, forget) == 1
        with store.snapshot() as snapshot:
            assert snapshot.query("select count(*) as n from logs").to_pylist() == [{"n": 8}]


KEYS_OF_ALL = st.sampled_from([text for text in TEXTS if len(text) < 30])
SETS = st.dictionaries(KEYS_OF_ALL, KEYS_OF_ALL, max_size=4)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches=st.lists(st.tuples(SETS, st.lists(SETS, min_size=1, max_size=3)), min_size=1, max_size=8), sealed=st.booleans())
async def test_any_keys_and_values_are_shown_and_digested_as_the_plain_twin_says(tmp_path_factory, batches, sealed):
    made = frames(batches)
    async with _opened(tmp_path_factory.mktemp("store"), 1_000, STOPPED) as store:
        await deliver(store, made)
        if sealed:
            await store.seal()
        end = sum(frame.record_count for frame in made)
        expected = plain_rows(LOG, made)
        with store.snapshot() as snapshot:
            part = between(snapshot, LOG, 0, end)
            table = part.query(snapshot, f'from {part.records} order by "offset"', {})
            plan = digest.DigestPlan(LOG, 0, end, end)
            assert plan.answer(snapshot).ranges[0].digest == sum(map(plain_digest, expected)) % 2**64
    typed = Chunk(table.select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA)).table
    shown = stored_records(typed)
    assert [dict(stored.record.attributes) for stored in shown] == [row["attributes"] for row in expected]
    assert all(stored.ByteSize() <= size for stored, size in zip(shown, row_sizes(typed), strict=True))


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("select attributes['a'], l.attributes['b'] from logs l where attributes['a'] = 'x'", ["a", "b"]),
        ("with found as (select attributes['a'] as a from logs) select * from found", ["a"]),
        ("select count(*) from logs", []),
        ("from logs select attributes['it''s']", ["it's"]),
        ("select * from logs", None),
        ("from logs", None),
        ("select * exclude(message) from main.logs", None),
        ("select columns('attr.*') from logs", None),
        ("select attributes['a'] from logs where exists (select * from patterns)", None),
        ("select l from logs l", None),
        ("select logs from logs", None),
        ("select attributes['a'], cardinality(attributes) from logs", None),
        ("select element_at(attributes, 'a') from logs", None),
        ("select attributes[lower('A')] from logs", None),
        ("select attributes['a'], attributes['A'] from logs", None),
        ("select attributes[''] from logs", None),
        ("select a.attributes['a'] from logs a natural join logs b", None),
        ("select attributes['a'] from logs join logs as b using (attributes)", None),
        ("select k['a'] from logs as l(a, b, c, d, e, f, g, h, i, k)", None),
        ("select #10 from logs", None),
        ("describe logs", None),
    ],
)
def test_a_statement_that_names_the_attributes_that_it_wants_makes_no_map(statement, keys):
    found = gate.check(duckdb.connect(), statement).attributes
    assert (found if found is None else sorted(found)) == keys


async def test_both_forms_of_the_column_give_the_same_answer(serving):
    async with serving() as (store, client):
        await filled(store, "both")
        for key in ("k", "ms", "host.name", 'a"b\\/~.*', "nowhere"):
            statement = f"select \"offset\", attributes['{key}'] from logs where attributes['{key}'] is distinct from 'own' order by all"
            few, whole = await client.sql(statement), await client.sql(f"with all_of as (from logs) {statement.replace('logs', 'all_of')}")
            assert few.rows() == whole.rows()
            assert few.table().column_names == whole.table().column_names
