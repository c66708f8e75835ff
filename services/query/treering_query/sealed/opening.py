"""What a store on this machine consists of: the one place that chooses where segments and catalog are."""

from functools import partial
from pathlib import Path

from treering_query.sealed.duckdb_catalog import DuckDbCatalog
from treering_query.sealed.inventory import CATALOG_FILE, SEGMENTS_DIRECTORY
from treering_query.sealed.local_segments import LocalSegments
from treering_query.sealed.sealing import Sealer
from treering_query.sealed.segment_statistics import write_statistics
from treering_query.sealed.segment_store import SegmentStore
from treering_runtime.errors import StartError


def open_sealer(directory: Path) -> Sealer:
    """The sealer of a data directory, with a directory of segments and a catalog in a file; both are made where they are missing.

    Raises:
        StartError: The catalog cannot be read, or what an earlier version left cannot be moved.
    """
    # Private: messages of all services are in these files.
    (directory / SEGMENTS_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
    catalog, files = DuckDbCatalog(directory / CATALOG_FILE), LocalSegments(directory / SEGMENTS_DIRECTORY)
    try:
        move_statistics(catalog, files)
    except OSError as error:
        catalog.close()
        raise StartError(f"{files.place} cannot be written: {error.strerror}; free some space, then start again") from error
    return Sealer(catalog, files, directory)


# Here and not in the catalog: it needs both.
def move_statistics(catalog: DuckDbCatalog, files: SegmentStore) -> None:
    """Makes objects of the statistics that an earlier version kept in the catalog; does nothing where there are none.

    Raises:
        OSError: An object cannot be written; to be tried again by the next start.
    """
    if not (older := dict(catalog.older_statistics())):
        return
    checksums = {}
    for segment in catalog.load(files.open).segments:
        # What is an object already is not touched. Statistics of a segment that is not listed are damage, which stays for a check to find.
        if segment.statistics_checksum is not None or segment.segment_id not in older:
            continue
        # An earlier start may have been cut off before the transaction below: no row names what it left.
        files.delete(segment.statistics_name)
        write = partial(write_statistics, statistics=older[segment.segment_id])
        checksums[segment.segment_id] = files.put_new(segment.statistics_name, write).checksum
    # After all objects are durable: from here on the catalog has the statistics no more.
    if checksums:
        catalog.statistics_moved(checksums)
