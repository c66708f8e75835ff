"""A store that an earlier version wrote: its statistics were rows of the catalog, and become objects at the first start."""

import json

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.query.earlier_versions import statistics_into_catalog, unpacked
from treering_query.retention.upkeep import Policy
from treering_query.sealed import opening
from treering_query.sealed.check import check
from treering_query.sealed.inventory import inventory_at_rest
from treering_runtime.errors import StartError
from treering_runtime.quarantine import QuarantineSelection

OFFSETS = [offset for offset in range(600) if offset != 299 and offset % 5 != 4]
"""One could not be read, and one service has expired."""
LONG_AFTER = 2**62


WITH_RESOURCES = "resources-of-records"
"""The other store is of a version that knew none."""


@pytest.fixture(params=["statistics-in-the-catalog", WITH_RESOURCES])
def older(request, tmp_path):
    return unpacked(request.param, tmp_path / "store")


async def nobody(pattern_ids, below):
    """Stands for the embed service."""


def problems(directory):
    return [problem.problem for step in check(inventory_at_rest(directory)) for problem in step.problems]


def seen(store):
    with store.snapshot() as snapshot:
        offsets = snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()
        counted = snapshot.query("select sum(count)::bigint from pattern_counts").column(0)[0].as_py()
        bounds = "select min(first_time), max(last_time) from pattern_counts"
        assert (
            snapshot.query(bounds).to_pylist()
            == snapshot.query("select min(time), max(time) from logs").rename_columns(["min(first_time)", "max(last_time)"]).to_pylist()
        )
    assert counted == len(offsets)
    return offsets


def hosts(store):
    """Offsets by the resource of their records."""
    with store.snapshot() as snapshot:
        rows = snapshot.query('select resource, list("offset" order by "offset") as offsets from logs group by all').to_pylist()
    return {json.loads(row["resource"] or "{}").get("host.name"): row["offsets"] for row in rows}


def rows_of_statistics(directory):
    with duckdb.connect(str(directory / "logs.duckdb"), read_only=True) as catalog:
        return catalog.execute("select count(*) from statistics").fetchall()[0][0]


async def test_it_opens_and_has_everything_that_it_had(older, open_store, fill):
    assert rows_of_statistics(older) > 0
    assert problems(older) == []  # also as it was left
    for _ in range(2):
        async with open_store() as store:
            assert seen(store) == OFFSETS
            assert (store.board.get(7).next_offset, store.board.get(7).quarantined) == (600, 1)
            assert [item.first_offset for item in await store.quarantined(QuarantineSelection(), None)] == [299]
            assert all(len(segment.pattern_ids) for segment in store.view.segments)
            assert {service for segment in store.view.segments for service in segment.services} == {f"svc{number}" for number in range(4)}
        assert (rows_of_statistics(older), problems(older)) == (0, [])
    async with open_store() as store:
        await fill(store, 600, 700)
        await store.seal()
        assert seen(store) == [*OFFSETS, *range(600, 700)]


async def test_records_of_both_forms_of_files_keep_their_resources(open_store, fill, tmp_path):
    older = unpacked(WITH_RESOURCES, tmp_path / "store")
    expected = {
        host: [offset for offset in OFFSETS if offset // 100 in hundreds]
        for host, hundreds in {"db-0": {0}, "db-1": {1}, "db-2": {2}, None: {3, 4}, "db-5": {5}}.items()
    }
    async with open_store() as store:
        assert [segment.has_resources for segment in store.view.segments] == [True, False, True]
        assert hosts(store) == expected
        # A fourth one, so that they are made one.
        await fill(store, 600, 604)
        await store.seal()
        await store.keep_up(Policy(), LONG_AFTER, nobody)
    async with open_store() as store:
        assert [segment.has_resources for segment in store.view.segments] == [True]
        assert hosts(store) == expected | {None: [*expected[None], *range(600, 604)]}
    assert problems(older) == []


async def test_a_start_that_stops_on_the_way_is_made_up_for_by_the_next(older, open_store, monkeypatch):
    def stop(*_):
        raise OSError(28, "No space left on device")

    for place in ("DuckDbCatalog.statistics_moved", "LocalSegments.put_new"):
        with monkeypatch.context() as patch:
            patch.setattr(f"treering_query.sealed.opening.{place}", stop)
            with pytest.raises(StartError, match="segments cannot be written: No space left on device; free some space, then start again"):
                async with open_store():
                    pass
        assert rows_of_statistics(older) > 0
    assert len(list((older / "segments").glob("*.statistics"))) == 2
    async with open_store() as store:
        assert seen(store) == OFFSETS
    assert rows_of_statistics(older) == 0


async def test_statistics_of_a_segment_that_is_not_listed_stay_to_be_found(older, open_store):
    with duckdb.connect(str(older / "logs.duckdb")) as catalog:
        catalog.execute("insert into statistics select 77, * exclude (segment_id) from statistics limit 1")
    async with open_store() as store:
        assert seen(store) == OFFSETS
    assert [each for each in problems(older) if "describes segments that it does not list: 77;" in each]


async def test_objects_hold_what_the_catalog_held(open_store, fill, tmp_path):
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        (segment,) = store.view.segments
    file = tmp_path / "store" / "segments" / segment.statistics_name
    before = pq.read_table(file)
    statistics_into_catalog(tmp_path / "store")
    opening.open_sealer(tmp_path / "store").close()
    assert pq.read_table(file).equals(before)
