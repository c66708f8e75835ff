"""The implementations of `SegmentStore` and of `Catalog`, and the store on others than files."""

from pathlib import Path

import pytest

from tests.query.catalog_suite import CatalogSuite
from tests.query.memory_catalog import Kept, MemoryCatalog
from tests.query.memory_segments import MemorySegments
from tests.query.segment_store_suite import SegmentStoreSuite
from treering_query.retention.upkeep import Policy
from treering_query.sealed.catalog import Catalog
from treering_query.sealed.duckdb_catalog import DuckDbCatalog
from treering_query.sealed.local_segments import LocalSegments
from treering_query.sealed.sealing import Sealer
from treering_query.sealed.segment_store import SegmentStore
from treering_runtime.errors import StartError
from treering_runtime.quarantine import QuarantineSelection

LONG_AFTER = 2**62


class Directory:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()

    def opened(self) -> SegmentStore:
        return LocalSegments(self._directory)


class Objects:
    """Objects in memory; each process has a cache of its own."""

    def __init__(self, directory: Path) -> None:
        self.kept: dict[str, bytes] = {}
        self._directory = directory
        self._count = 0

    def opened(self) -> SegmentStore:
        self._count += 1
        return MemorySegments(self.kept, self._directory / f"cache {self._count}")


class File:
    def __init__(self, file: Path) -> None:
        self._file = file

    def opened(self) -> Catalog:
        return DuckDbCatalog(self._file)


class Rows:
    def __init__(self) -> None:
        self.saved = [Kept()]

    def opened(self) -> Catalog:
        return MemoryCatalog(self.saved)


class TestDirectory(SegmentStoreSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return Directory(tmp_path / "segments")


class TestObjectsInMemory(SegmentStoreSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return Objects(tmp_path)


class TestDuckDbFile(CatalogSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return File(tmp_path / "logs.duckdb")


class TestRowsInMemory(CatalogSuite):
    @pytest.fixture
    def place(self):
        return Rows()


async def nobody(pattern_ids, below):
    """Stands for the embed service."""


def seen(store):
    with store.snapshot() as snapshot:
        offsets = snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()
        counted = snapshot.query("select coalesce(sum(count), 0)::bigint from pattern_counts").column(0)[0].as_py()
    assert counted == len(offsets)
    return offsets


async def test_the_store_needs_nothing_but_the_protocols(open_store, fill, frame, record, tmp_path):
    objects, rows = Objects(tmp_path), Rows()

    def opened(directory: Path) -> Sealer:
        return Sealer(rows.opened(), objects.opened(), directory)

    async with open_store(opened=opened) as store:
        for start in range(0, 500, 100):
            await fill(store, start, start + 100)
            await store.seal()
        bad = frame(500, [record(500)])
        bad.payload = bad.payload.replace(b"user", b"us\xffr")
        await store.deliver(7, [bad], 501)
        assert [item.first_offset for item in await store.quarantined(QuarantineSelection(), None)] == [500]
        assert len(objects.kept) == 10
        for _ in range(2):
            await store.keep_up(Policy(), LONG_AFTER, nobody)
        assert (seen(store), len(objects.kept)) == (list(range(500)), 2)
        await store.templates.settled()
    async with open_store(opened=opened) as store:
        assert (seen(store), store.board.get(7).next_offset, store.board.get(7).quarantined) == (list(range(500)), 501, 1)
        await store.keep_up(Policy(service_age_s={"svc0": 1}), LONG_AFTER, nobody)
        assert seen(store) == [offset for offset in range(500) if offset % 5]
    assert not (tmp_path / "store" / "logs.duckdb").exists()
    assert not (tmp_path / "store" / "segments").exists()
    name = next(name for name in objects.kept if name.endswith(".statistics"))
    objects.kept[name] = objects.kept[name][:-1] + b"?"
    with pytest.raises(StartError, match=rf"memory/{name} is damaged: its bytes are not those that were sealed"):
        async with open_store(opened=opened):
            pass
