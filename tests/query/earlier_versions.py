"""Stores as earlier versions left them."""

import tarfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

_STORES = Path(__file__).parent / "old_stores"


def unpacked(name: str, directory: Path) -> Path:
    """A store whose bytes an earlier version wrote."""
    with tarfile.open(_STORES / f"{name}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return directory


def statistics_into_catalog(directory: Path) -> None:
    """Puts the statistics of segments into the catalog, where earlier versions kept them."""
    with duckdb.connect(str(directory / "logs.duckdb")) as catalog:
        for segment_id, file in catalog.execute("select segment_id, file from segments").fetchall():
            statistics = directory / "segments" / file.replace(".parquet", ".statistics")
            catalog.register("found", pq.read_table(statistics))
            catalog.execute(f"insert into statistics select {segment_id}, * from found")
            catalog.unregister("found")
            statistics.unlink()
        catalog.execute("alter table segments drop column statistics_checksum")
