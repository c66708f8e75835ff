"""What a check of the store compares: all that the catalog says, what the manifest says, which files there are."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from treering_query.sealed.catalog import Sealed
from treering_query.sealed.duckdb_catalog import DuckDbCatalog
from treering_query.sealed.local_segments import LocalSegments
from treering_query.sealed.segment_statistics import StatisticsDamagedError, read_statistics
from treering_query.sealed.segment_store import SegmentStore
from treering_query.values.segment import Segment
from treering_runtime.errors import StartError

CATALOG_FILE = "logs.duckdb"
MANIFEST_FILE = "manifest.json"
SEGMENTS_DIRECTORY = "segments"


@dataclass(frozen=True)
class Inventory:
    """One moment of the sealed store, as it describes itself."""

    sealed: Sealed
    statistics: Mapping[int, pa.Table | str]
    """Of each segment, by id: rows of `COUNTS_SCHEMA`, or why they cannot be read."""
    manifest: object
    """The content of the manifest; None when it is missing or cannot be read."""
    files: frozenset[str]
    """Names of all objects of segments."""
    leaving: frozenset[str] = frozenset()
    """Names of those that were replaced and are deleted soon."""


def take_inventory(sealed: Sealed, files: SegmentStore, manifest: Path, older: Mapping[int, pa.Table] | None = None) -> Inventory:
    """Reads manifest, statistics and names; no records. Belongs to the catalog's thread.

    `older` are statistics that an earlier version kept in the catalog, by segment id.
    """
    # All on the catalog's thread and without a change between: the parts describe one moment.
    statistics = {each.segment_id: _statistics(files, each) for each in sealed.segments if each.statistics_checksum is not None}
    return Inventory(
        sealed=sealed,
        statistics=dict(older or {}) | statistics,
        manifest=_manifest(manifest),
        files=frozenset(files.listed()),
    )


def _statistics(files: SegmentStore, segment: Segment) -> pa.Table | str:
    # Every outcome is an answer: a check goes on, and names what is wrong.
    try:
        return read_statistics(files, segment)
    except StatisticsDamagedError as damaged:
        return damaged.problem
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def inventory_at_rest(directory: Path) -> Inventory:
    """The inventory of a directory that no service uses now. Changes nothing in it.

    Raises:
        StartError: A service runs on it, or there is no catalog, or it cannot be read.
    """
    # DuckDB would otherwise say in its own words that there is no database, and name no remedy.
    if not (directory / CATALOG_FILE).is_file():
        raise StartError(f"{directory} holds no store; give the directory that has a file {CATALOG_FILE}: <data>/query")
    files = LocalSegments(directory / SEGMENTS_DIRECTORY)
    # Before the catalog is opened: two processes on one DuckDB file are an error of the second, without a remedy in it.
    # Only read: a check must not migrate, replay into the main file, or repair what it looks at. Closed also after an error: the service
    # that starts next needs the file.
    with _unused(directory), closing(DuckDbCatalog(directory / CATALOG_FILE, read_only=True)) as catalog:
        older = dict(catalog.older_statistics())
        return take_inventory(catalog.load(files.open), files, directory / MANIFEST_FILE, older)


@contextmanager
def _unused(directory: Path) -> Iterator[None]:
    """No service runs on the directory meanwhile; a copy of one, without the lock's file, is nobody's."""
    # Taken only where it is: to create it would write into a copy that may be on a read-only medium.
    file = directory / "LOCK"
    try:
        # Without waiting: a service holds it for as long as it runs.
        with FileLock(file).acquire(timeout=0) if file.exists() else nullcontext():
            yield
    # Its files change under a check: every seal would look like a missing or an additional file.
    except Timeout:
        raise StartError(f"the query service runs on {directory}; leave the directory out, and it checks itself") from None


MANIFEST_VERSION = 2
"""Of `manifest.json`. Version 1 had log ids in hex."""


def manifest_entry(segment: Segment, version: int = MANIFEST_VERSION) -> dict[str, object]:
    """What `manifest.json` says of a segment."""
    id_format = "016x" if version == 1 else "d"
    return {
        "file": f"{SEGMENTS_DIRECTORY}/{segment.path.name}",
        "row_count": segment.row_count,
        "size_bytes": segment.size_bytes,
        "xxh3_64": None if segment.checksum is None else f"{segment.checksum:016x}",
        "first_time_unix_nano": segment.first_time,
        "last_time_unix_nano": segment.last_time,
        # As text: JSON numbers lose bits above 2^53 in many readers.
        "logs": [
            {"log_id": f"{part.log_id:{id_format}}", "first_offset": part.first_offset, "end_offset": part.end_offset}
            for part in segment.ranges
        ],
    }


def _manifest(file: Path) -> object:
    try:
        return json.loads(file.read_bytes())
    # A manifest can always be written again from the catalog, so whatever is wrong with it is one finding.
    except (OSError, ValueError):
        return None
