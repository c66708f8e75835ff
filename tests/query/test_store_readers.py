"""What docs/reading-the-store.md promises to other tools, without a line of ours between them and the files."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.query.conftest import Fill, OpenStore
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame


async def test_plain_readers_see_each_sealed_record_once_while_the_store_is_open(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    async with open_store() as store:
        for start in range(0, 500, 100):
            await fill(store, start, start + 100)
            await store.seal()
        segments = json.loads((directory / "manifest.json").read_text())["segments"]
        logs = ds.dataset([directory / each["file"] for each in segments])
        assert sorted(logs.to_table().column("offset").to_pylist()) == list(range(500))
        assert logs.count_rows(filter=ds.field("severity") >= 17) == len(range(2, 500, 3))
        with duckdb.connect() as bare:
            listed = (
                f"select list('{directory}/' || s.file) from (select unnest(segments) as s from read_json('{directory}/manifest.json'))"
            )
            bare.execute(f"set variable files = ({listed})")
            found = bare.sql(
                "select count(*), count(distinct \"offset\"), max(attributes['ms']::int) from read_parquet(getvariable('files'))"
            )
            assert found.fetchall() == [(500, 500, 499)]


async def test_plain_readers_see_resources_beside_files_that_have_none(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        payload = LogBatch(records=[LogRecord(message="m", attributes={"ms": "1"})] * 2, resource={"host.name": "db-1"}).SerializeToString()
        await store.deliver(7, [DeliveredFrame(first_offset=100, record_count=2, arrival_time_unix_nano=1, payload=payload)], 102)
        await store.seal()
        files = [directory / each["file"] for each in json.loads((directory / "manifest.json").read_text())["segments"]]
        logs = ds.dataset(files, schema=pa.unify_schemas([pq.read_schema(file) for file in files]))
        assert logs.count_rows(filter=ds.field("resource") == '{"host.name":"db-1"}') == 2
        assert logs.count_rows() == 102
        with duckdb.connect() as bare:
            names = ", ".join(f"'{file}'" for file in files)
            key = "coalesce(attributes['host.name'], resource ->> '/host.name')"
            found = bare.sql(f"select {key} as host, count(*) from read_parquet([{names}], union_by_name = true) group by all order by all")
            assert found.fetchall() == [("db-1", 2), (None, 100)]


async def test_script_for_the_duckdb_cli_shows_what_is_sealed(
    open_store: OpenStore, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (Path(__file__).parents[2] / "docs" / "duckdb.sql").read_text()
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        monkeypatch.chdir(tmp_path / "store")
        with duckdb.connect() as bare:
            bare.execute(script)
            assert bare.sql("select count(*), min(service) from logs").fetchall() == [(100, "svc0")]
