import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.embed.embed_doubles import DIMENSION, point
from treering_embed.index import IndexFaultError
from treering_embed.index.edge import DamagedIndexError, EdgeIndex
from treering_embed.index.opening import drop_index, open_edge


def test_flushed_points_survive_a_process_that_never_closes(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path / "index", DIMENSION)
    index.upsert([point(1), point(2)])
    index.flush()
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    index.close()
    survivor = EdgeIndex(tmp_path / "copy", DIMENSION)
    assert sorted(survivor.all_ids().tolist()) == [1, 2]
    survivor.close()


def test_nothing_is_written_when_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EdgeIndex(tmp_path / "index", DIMENSION, min_free_bytes=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=999))
    for write in (lambda: index.upsert([point(1)]), index.flush, lambda: index.delete([1])):
        with pytest.raises(IndexFaultError, match=r"^index index: 999 bytes are free, 1000 are needed; make room on its disk$"):
            write()  # type: ignore[no-untyped-call]
    with pytest.raises(IndexFaultError, match="make room"):
        EdgeIndex(tmp_path / "other", DIMENSION, min_free_bytes=1_000)
    monkeypatch.undo()
    index.upsert([point(1)])
    index.close()


def test_a_damaged_index_is_set_aside_and_an_empty_one_opened(tmp_path: Path) -> None:
    index = open_edge(tmp_path, "abc", DIMENSION)
    index.upsert([point(1)])
    index.close()
    (tmp_path / "abc" / "edge_config.json").write_text("{")
    for file in (tmp_path / "abc").rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(DamagedIndexError, match="abc"):
        EdgeIndex(tmp_path / "abc", DIMENSION)
    fresh = open_edge(tmp_path, "abc", DIMENSION)
    assert fresh.all_ids().tolist() == []
    assert (tmp_path / "abc.damaged").is_dir()
    fresh.close()


def test_an_index_that_cannot_be_removed_is_not_forgotten(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "index").symlink_to(tmp_path)
    settings = SimpleNamespace(index="edge", data_dir=tmp_path)
    drop_index(settings, "never-there")
    with pytest.raises(IndexFaultError, match=f"^index {small_disk.name}: it is not used any more and cannot be removed"):
        drop_index(settings, small_disk.name)
