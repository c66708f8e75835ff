"""The check of the sealed store: each kind of damage is found and named, and a sound store is called sound."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.query.conftest import Asking, Fill, OpenStore, Serving
from treering.errors import DamagedError, OverloadedError
from treering.selection import log_filter
from treering_query.reading import filters
from treering_query.sealed import damage as damage_module
from treering_query.sealed.check import check
from treering_query.sealed.checksums import checksum_of
from treering_query.sealed.damage import problem_of
from treering_query.sealed.inventory import Inventory, inventory_at_rest
from treering_query.sealed.segment_statistics import write_statistics
from treering_query.view.snapshot import Snapshot
from treering_runtime.data_dir import DataDir
from treering_runtime.errors import StartError


def one(directory: Path) -> str:
    """The name of the first segment's file, relative to the store."""
    return f"segments/{next((directory / 'segments').glob('0000000001-*.parquet')).name}"


@pytest.fixture
async def sealed(open_store: OpenStore, fill: Fill, tmp_path: Path) -> Path:
    """A store of two segments, at rest."""
    async with open_store() as store:
        for start in (0, 300):
            await fill(store, start, start + 300)
            await store.seal()
    return tmp_path / "store"


def found(directory: Path) -> list[tuple[str, str, bool]]:
    return problems_of(inventory_at_rest(directory))


def problems_of(inventory: Inventory) -> list[tuple[str, str, bool]]:
    steps = list(check(inventory))
    return [(each.file, each.problem, each.is_damage) for step in steps for each in step.problems]


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << (place % 8)
    file.write_bytes(content)


def change_catalog(directory: Path, *statements: str) -> None:
    with duckdb.connect(str(directory / "logs.duckdb")) as catalog:
        for statement in statements:
            catalog.execute(statement)


async def test_sound_store_has_no_problem_and_every_record_is_read(sealed: Path) -> None:
    steps = list(check(inventory_at_rest(sealed)))
    assert [each for step in steps for each in step.problems] == []
    assert (steps[-1].segments, steps[-1].records) == (2, 600)
    assert steps[-1].size_bytes == size_of(sealed)


async def test_a_flipped_byte_anywhere_in_a_segment_is_found(sealed: Path) -> None:
    file, inventory = sealed / one(sealed), inventory_at_rest(sealed)
    original = file.read_bytes()
    for place in range(len(original)):
        flip(file, place)
        assert problem_of(inventory.sealed.segments[0]) == "its bytes are not those that were sealed"
        if place % 500 == 0:
            ((name, problem, is_damage),) = problems_of(inventory)
            assert (name, is_damage) == (f"segments/{file.name}", True)
            assert "its bytes are not those that were sealed. It holds 300 records, offsets 0 to 299 of log 7" in problem
        file.write_bytes(original)
    assert found(sealed) == []


async def test_missing_and_cut_files_are_found(sealed: Path) -> None:
    (sealed / one(sealed)).unlink()
    next((sealed / "segments").glob("0000000002-*.parquet")).write_bytes(b"PAR1")
    missing, cut = found(sealed)
    assert "is damaged: it is missing. It holds 300 records" in missing[1]
    assert "is damaged: it has 4 bytes instead of" in cut[1]


async def test_foreign_file_is_found_and_is_no_damage(sealed: Path) -> None:
    (sealed / "segments/0000000009.parquet.tmp").write_bytes(b"half")
    expected = "belongs to no segment; the next start of the service removes it"
    assert found(sealed) == [("segments/0000000009.parquet.tmp", expected, False)]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("delete from segments where segment_id = 1", "describes segments that it does not list: 1;"),
        ("delete from segment_ranges where segment_id = 1", "its records are not those of the catalog: offsets"),
        ("update segments set row_count = 5 where segment_id = 1", "records: 300 in the file, 5 in the catalog"),
        ("update segments set last_time = first_time where segment_id = 1", "the first and the last time"),
        ("delete from patterns where rowid = 0", "1 patterns of records are not listed"),
        ("update patterns set text = 'other' where rowid = 0", "1 patterns have a text that is not theirs"),
        ("insert into patterns select * from patterns limit 1", "1 patterns are listed twice"),
        ("insert into segments select * from segments limit 1", "lists segments twice: 1"),
        ("delete from progress", "says that log 7 is sealed below offset 0, but segments reach 600"),
    ],
)
async def test_catalog_that_lost_or_changed_a_row_is_found(sealed: Path, statement: str, words: str) -> None:
    change_catalog(sealed, statement)
    assert any(words in problem and is_damage for _, problem, is_damage in found(sealed))


def statistics_file(directory: Path) -> Path:
    return directory / one(directory).replace(".parquet", ".statistics")


async def test_a_flipped_byte_anywhere_in_statistics_is_found_and_nothing_else_is_said(sealed: Path) -> None:
    file = statistics_file(sealed)
    original = file.read_bytes()
    for place in range(0, len(original), 97):
        flip(file, place)
        ((name, problem, is_damage),) = found(sealed)
        assert (name, is_damage) == (f"segments/{file.name}", True)
        assert problem == "is damaged: its bytes are not those that were sealed. Restore the file from a copy"
        file.write_bytes(original)
    assert found(sealed) == []


async def test_missing_statistics_are_found(sealed: Path) -> None:
    statistics_file(sealed).unlink()
    assert found(sealed) == [(f"segments/{statistics_file(sealed).name}", "is missing. Restore the file from a copy", True)]


async def test_statistics_that_are_not_those_of_the_records_are_found(sealed: Path) -> None:
    file = statistics_file(sealed)
    rows = pq.read_table(file)
    counts = pc.add(rows.column("count"), 1)
    for changed in (rows.slice(1), rows.set_column(rows.schema.get_field_index("count"), rows.schema.field("count"), counts)):
        write_statistics(file, changed)
        change_catalog(sealed, f"update segments set statistics_checksum = {checksum_of(file)} where segment_id = 1")
        assert any("its records are not those of the catalog: the statistics" in problem for _, problem, _ in found(sealed))


async def test_damaged_statistics_end_the_start_and_change_nothing(sealed: Path, open_store: OpenStore) -> None:
    flip(statistics_file(sealed), 100)
    (sealed / "segments/0000000009.parquet.tmp").write_bytes(b"half")
    before = sorted((sealed / "segments").iterdir())
    with pytest.raises(StartError, match=r"segments/0000000001-\w+\.statistics is damaged: .*Restore it from a copy"):
        async with open_store():
            pass
    assert sorted((sealed / "segments").iterdir()) == before


async def test_manifest_of_an_earlier_version_is_as_good(sealed: Path) -> None:
    manifest = sealed / "manifest.json"
    content = json.loads(manifest.read_text())
    for segment in content["segments"]:
        for part in segment["logs"]:
            part["log_id"] = f"{int(part['log_id']):016x}"
    manifest.write_text(json.dumps(content | {"version": 1}))
    assert list(found(sealed)) == []
    manifest.write_text(json.dumps(content))
    assert [name for name, _, _ in found(sealed)] == ["manifest.json"]


async def test_manifest_that_lists_something_else_is_found(sealed: Path) -> None:
    manifest = sealed / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"segments": content["segments"][:1]}))
    assert [(name, is_damage) for name, _, is_damage in found(sealed)] == [("manifest.json", False)]
    manifest.unlink()
    assert found(sealed)[0][1].startswith("is missing or cannot be read")


async def test_records_with_another_pattern_are_found_even_where_no_checksum_is_kept(sealed: Path) -> None:
    file = sealed / one(sealed)
    changed = file.with_suffix(".new")
    with duckdb.connect() as bare:
        bare.execute(f"copy (select * replace (message || ' at once' as message) from '{file}') to '{changed}' (format parquet)")
    changed.replace(file)
    change_catalog(sealed, f"update segments set checksum = null, size_bytes = {file.stat().st_size} where segment_id = 1")
    problems = [problem for name, problem, _ in found(sealed) if name == f"segments/{file.name}"]
    assert problems == ["300 records have the id of another pattern than their message; report this"]


async def test_store_that_is_in_use_is_not_read_behind_its_back(open_store: OpenStore, fill: Fill, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    async with open_store() as store:
        await fill(store, 0, 10)
        await store.seal()
    held = DataDir(directory, "treering-query", 1)
    with pytest.raises(StartError, match=r"the query service runs on .*leave the directory out"):
        inventory_at_rest(directory)
    held.close()
    shutil.copytree(directory, tmp_path / "copy")
    assert found(tmp_path / "copy") == []


async def run_cli(*options: str) -> tuple[int, str]:
    line = (sys.executable, "-m", "treering_cli", "store", "verify", *options)
    process = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, said


async def test_command_reads_a_directory_at_rest(sealed: Path) -> None:
    assert await run_cli(str(sealed)) == (0, "2 segments, 600 records, " + f"{size_of(sealed):,} bytes checked\nnothing is wrong\n")
    flip(sealed / one(sealed), 100)
    code, said = await run_cli(str(sealed), "--json")
    report = json.loads(said)
    assert (code, report["ok"], report["complete"], report["problems"][0]["file"]) == (1, False, True, one(sealed))
    assert (await run_cli(str(sealed / "segments")))[0] == 1


def size_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in (directory / "segments").glob("*.parquet"))


async def test_running_service_checks_itself_and_refuses_what_it_found(serving: Serving, fill: Fill, tmp_path: Path) -> None:
    async with serving() as (store, client):
        for start in (0, 300):
            await fill(store, start, start + 300)
            await store.seal()
        address = ("--inner-query", client.inner)
        assert (await run_cli(*address))[0] == 0
        file = tmp_path / "store" / one(tmp_path / "store")
        original = file.read_bytes()
        flip(file, len(original) // 2)
        steps = [step async for step in client.verify_store()]
        assert (steps[-1].complete, steps[-1].checked_segment_count, steps[-1].segment_count) == (True, 2, 2)
        assert [problem.file for step in steps for problem in step.problems] == [f"segments/{file.name}"]
        code, said = await run_cli(*address)
        assert code == 1
        assert f"DAMAGED   segments/{file.name}: is damaged: its bytes are not those that were sealed" in said
        await refused_where_it_is_read(client, file)
        file.write_bytes(original)
        assert (await client.aggregate_logs(filter=log_filter(contains="user"))).rows[0].values[0].value == 600


@pytest.mark.parametrize("content", [b"", b"PAR1" * 100, None], ids=["empty", "garbage", "missing"])
async def test_question_that_meets_damage_names_the_file(serving: Serving, fill: Fill, tmp_path: Path, content: bytes | None) -> None:
    async with serving() as (store, client):
        for start in (0, 300):
            await fill(store, start, start + 300)
            await store.seal()
        file = tmp_path / "store" / one(tmp_path / "store")
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        await refused_where_it_is_read(client, file, "")


async def refused_where_it_is_read(client: Asking, file: Path, how: str = "its bytes ") -> None:
    late = log_filter(contains="user", since=1_700_000_000_000_000_000 + 400 * 10**9)
    calls = {
        "aggregate": client.aggregate_logs(filter=log_filter(contains="user")),
        "search": client.search_logs("user 7 logged in", mode="keyword"),
        "context": client.get_log_context(5),
        "sql": client.sql("select max(message) from logs"),
        "export": anext(client.export_logs()),
        "tail": anext(client.tail_logs(backlog=600)),
        "list": client.list_logs(order="oldest"),
        "fields": client.list_fields(),
        "values": client.list_field_values(["ms"]),
    }
    for name, call in calls.items():
        with pytest.raises(DamagedError, match=rf"0000000001-\w+\.parquet is damaged: {how}.* offsets 0 to 299 ") as refusal:
            await call
        assert refusal.value.metadata["file"] == f"segments/{file.name}", name
    assert (await client.aggregate_logs(filter=late)).rows[0].values[0].value == 200
    assert (await client.aggregate_logs()).rows[0].values[0].value == 600
    assert (await client.sql("select sum(count)::bigint as n from patterns")).rows() == [{"n": 600}]
    assert (await client.get_log_context(500)).records
    assert len((await client.list_logs(page_size=200)).records) == 200
    assert (await client.list_field_values(["service"])).fields[0].record_count == 600


async def test_only_one_check_runs_at_a_time(serving: Serving, fill: Fill) -> None:
    async with serving() as (store, client):
        await fill(store, 0, 300)
        await store.seal()
        first = client.verify_store()
        await anext(first)
        release = asyncio.Event()
        holding = asyncio.create_task(store._files.exclusively(release.wait))
        second = client.verify_store()
        third = client.verify_store()
        refused = await asyncio.gather(anext(second), anext(third), return_exceptions=True)
        release.set()
        await holding
        assert any(isinstance(each, OverloadedError) for each in refused)
        await first.aclose()


async def test_the_search_for_damage_reads_what_the_question_read_and_begins_with_what_the_error_names(
    open_store: OpenStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store:
        for start in range(0, 400, 100):
            await fill(store, start, start + 100)
            await store.seal()
        looked_at = []
        monkeypatch.setattr(damage_module, "problem_of", lambda segment: looked_at.append(segment.segment_id))
        early = filters.where(log_filter(until=1_700_000_000_000_000_000 + 250 * 10**9))

        def fails(snapshot: Snapshot) -> Any:
            statement = f"select error('cannot read {store.view.segments[1].path.name}') from logs where {early.sql}"
            return snapshot.query(statement, early.parameters, within=early)

        with store.snapshot() as snapshot, pytest.raises(duckdb.Error):
            await store.run(snapshot, fails)
        assert looked_at == [2, 1, 3]
        looked_at.clear()
        store.view.segments[2].path.touch()  # it is not as it was
        for _ in range(2):
            with store.snapshot() as snapshot, pytest.raises(duckdb.Error):
                await store.run(snapshot, fails)
        assert looked_at == [2, 3, 2]
        monkeypatch.setattr(damage_module, "SOUND_S", 0.0)
        with store.snapshot() as snapshot, pytest.raises(duckdb.Error):
            await store.run(snapshot, fails)
        assert looked_at[3:] == [2, 1, 3]
        looked_at.clear()
        monkeypatch.setattr("treering_query.limits.DAMAGE_SEARCH_S", -1.0)
        with store.snapshot() as snapshot, pytest.raises(duckdb.Error):
            await store.run(snapshot, fails)
        assert looked_at == []
