"""Sealing: hot records become one Parquet segment, and the catalog's commit makes it count.

The steps, each of which may be the last before a crash, and each of which may fail:

1. the records are written, sorted, to `<id>-<random>.parquet.tmp`, and synced;
2. the file gets its name, and the directory is synced;
3. one transaction of the catalog: segment, statistics, patterns, how far each log is sealed. This is the seal;
4. `manifest.json` is replaced.

A rewrite (retention, compaction) takes the same steps: its transaction removes the old segments and adds the new one. Their files go last,
once no query holds them.

Before 3 the file is an orphan, which the next start removes; the log still has its records. After 3 nothing is missing: the next start
writes the manifest again.

Ids of segments are never used twice, not by a later process either: the counter is raised in the transaction of 3. So a file that waits
for its removal can never be a live one, and what a query holds is known by ids alone.

An error leaves one question: is the transaction committed? The next operation answers it first, by opening the catalog again and reading
it (`_recover`); a batch that is committed is not sealed a second time.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import structlog

from treering_query.retention.expired import joined, left_out
from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed import segment_file
from treering_query.sealed.catalog import Catalog, Sealed
from treering_query.sealed.checksums import checksum_of
from treering_query.sealed.clock_row import ClockRow
from treering_query.sealed.damage import DamagedSegmentError, contents, problem_of
from treering_query.sealed.inventory import CATALOG_FILE, MANIFEST_FILE, SEGMENTS_DIRECTORY, Inventory, manifest_entry, take_inventory
from treering_query.sealed.sealed_state import SealBatch, SealedState
from treering_query.sealed.template_rows import TemplateRows
from treering_query.templates import Templates, TemplatesChange
from treering_query.values.schemas import COUNTS_SCHEMA
from treering_query.values.segment import LogRange, Segment
from treering_runtime.data_dir import sync_directory, write_atomically
from treering_runtime.errors import StartError
from treering_runtime.fsync import fsync
from treering_runtime.patterns import MASK_VERSION, SAME_RULES
from treering_runtime.quarantine import Quarantined, Selection

_LOG = structlog.get_logger()

_TEMPORARY = ".parquet.tmp"

_STATISTICS = """
select pattern_id, environment, severity, count(*) as count, min(time) as first_time, max(time) as last_time
from _records group by all order by all
"""

_MERGED = """
select pattern_id, environment, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from (from _before union all from _new) group by all
"""

_RANGES = 'select log_id, min("offset"), max("offset") + 1 from _records group by log_id order by log_id'

_BOUNDS = """
select epoch_ns(min(time)), epoch_ns(max(time)), epoch_ns(min(arrival_time)), epoch_ns(max(arrival_time)), list(distinct service)
from _records
"""


class Sealer:
    """Owns catalog and segment files. Belongs to one thread: each method blocks.

    After each method, also one that raises, `state` is what questions may read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = directory / SEGMENTS_DIRECTORY
        self._files.mkdir(mode=0o700, exist_ok=True)
        self._catalog = Catalog(directory / CATALOG_FILE)
        self._templates = TemplateRows(self._catalog)
        self._clock = ClockRow(self._catalog)
        self._next_id = 1
        self._uncommitted: list[Path] = []
        """Files of changes that failed; after `_recover` only those that the catalog does not know are left."""

    def open(self) -> Sealed:
        """Reconciles files and catalog, and returns what is sealed.

        Raises:
            StartError: A segment's file is missing or has another size than it was sealed with.
        """
        sealed = self._catalog.load(self._files)
        for segment in sealed.segments:
            _check_file(segment)
        known = {segment.path.name for segment in sealed.segments}
        orphans = sorted(file for file in self._files.iterdir() if file.name not in known)
        for file in orphans:
            file.unlink()
        if orphans:
            _LOG.warning(
                "removed files of no segment: never sealed (the log delivers their records again), or rewritten", files=len(orphans)
            )
        self._take_state(sealed)
        self._write_manifest()
        return sealed

    def _take_state(self, sealed: Sealed) -> None:
        self._next_id = max(self._next_id, self._catalog.next_segment_id())
        expired, last = joined(self._catalog.expired()), self._catalog.last_batch()
        self.state = SealedState(sealed.segments, sealed.counts, expired, sealed.quarantined, last)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Around each operation: what an earlier one left open is settled first, and an error of this one is settled before the next."""
        self._recover()
        try:
            yield
        except BaseException:
            self._catalog.suspect()
            raise

    def _recover(self) -> None:
        """After an error: reads from the catalog whether the change was made, and removes the files of those that were not.

        Raises:
            duckdb.Error, OSError: The disk still fails; to be tried again.
        """
        if self._catalog.recover():
            self._take_state(self._catalog.load(self._files))
            self._publish_manifest()
        committed = {segment.path for segment in self.state.segments}
        while self._uncommitted:
            file = self._uncommitted[-1]
            if file not in committed:
                file.unlink(missing_ok=True)
                file.with_suffix(_TEMPORARY).unlink(missing_ok=True)
            self._uncommitted.pop()

    def seal(self, batch: SealBatch, sealed_time: int) -> Segment | None:
        """Seals a batch and returns the new segment; None where no record was readable, or an earlier attempt had sealed it.

        `sealed_time` is what the retention clock shows, read on this thread: when an operator sets that clock, times of before are moved.
        """
        with self._changing():
            is_sealed = batch.batch_id and batch.batch_id == self.state.last_batch
            return None if is_sealed else self._seal(batch, sealed_time)

    def _seal(self, batch: SealBatch, sealed_time: int) -> Segment | None:
        segment, statistics, counts = None, COUNTS_SCHEMA.empty_table(), self.state.counts
        if batch.records.num_rows:
            with contextlib.closing(self._catalog.connection.cursor()) as run:
                run.register("_records", batch.records)
                statistics = run.sql(_STATISTICS).to_arrow_table().cast(COUNTS_SCHEMA)
                segment = self._write(run, segment_file.in_order(batch.records), statistics, MASK_VERSION, sealed_time)
                counts = _merged(run, counts, statistics)
        # the file and its directory are synced before the commit: a segment that counts is on disk
        ends, links, quarantine = batch.ends, batch.links, batch.quarantine
        self._catalog.commit(batch.batch_id, ends, links, quarantine, segment, statistics=statistics, patterns=batch.patterns)
        quarantined = quarantine.applied_to(self.state.quarantined)
        segments = (*self.state.segments, *((segment,) if segment else ()))
        last = batch.batch_id or self.state.last_batch
        self._committed(replace(self.state, segments=segments, counts=counts, quarantined=quarantined, last_batch=last))
        return segment

    def rewrite(self, old: Sequence[Segment], without: frozenset[str]) -> Segment | None:
        """Makes some segments one, without the records of some services; returns it, None when nothing is left.

        The old segments' files stay; whoever knows that nobody reads them calls `remove`.

        Raises:
            DamagedSegmentError: One is not what was sealed: rewritten, its damage would look sound.
        """
        with self._changing():
            segment, statistics = None, COUNTS_SCHEMA.empty_table()
            if not all(each.services <= without for each in old):
                segment, statistics = self._rewritten(old, without)
            gone = {each.segment_id for each in old}
            expired = joined([*self.state.expired, *left_out(old, segment.row_count if segment else 0)])
            counts = self._catalog.replace(sorted(gone), segment, statistics, expired)
            kept = tuple(each for each in self.state.segments if each.segment_id not in gone)
            segments = (*kept, *((segment,) if segment else ()))
            self._committed(replace(self.state, segments=segments, counts=counts, expired=expired))
            return segment

    def _rewritten(self, old: Sequence[Segment], without: frozenset[str]) -> tuple[Segment, pa.Table]:
        for each in old:
            if problem := problem_of(each):
                raise DamagedSegmentError(each, problem)
        group_rows = segment_file.group_rows(sum(each.row_count for each in old), sum(each.data_bytes or 0 for each in old))
        versions = {MASK_VERSION if each.mask_version in SAME_RULES else each.mask_version for each in old}
        version = versions.pop() if len(versions) == 1 else 0
        sealed_time = max(each.sealed_time for each in old)
        with contextlib.closing(self._catalog.connection.cursor()) as run:
            run.execute(_kept(old, without))
            statistics = run.sql(_STATISTICS).to_arrow_table().cast(COUNTS_SCHEMA)
            return self._write(run, _in_order(run, group_rows), statistics, version, sealed_time), statistics

    def _committed(self, state: SealedState) -> None:
        """A change is in the catalog: from here on nothing may raise, or a caller would repeat what is done."""
        self.state = state
        self._uncommitted.clear()
        self._publish_manifest()

    def remove(self, segment: Segment) -> None:
        """Deletes the file of a segment that was dropped or rewritten; its name is never given to another one."""
        segment.path.unlink(missing_ok=True)

    def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """As `Catalog.quarantined`."""
        with self._changing():
            return self._catalog.quarantined(selection, after)

    def forget(self, pattern_ids: Sequence[int]) -> None:
        """Removes patterns that no record has any more."""
        with self._changing():
            self._catalog.forget(pattern_ids)

    def load_clock(self) -> KeptTime | None:
        """The last known time; None in a store that never kept it."""
        return self._clock.load()

    def keep_clock(self, kept: KeptTime) -> None:
        """Keeps the last known time."""
        with self._changing():
            self._clock.keep(kept)

    def set_clock(self, kept: KeptTime, shift: int = 0) -> None:
        """Keeps a time that begins or that an operator set, `shift` nanoseconds after what the clock showed: ages of segments stay."""
        with self._changing():
            self._clock.set(kept, shift)
            self._take_state(self._catalog.load(self._files))

    def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""
        with self._changing():
            self._templates.save(change)

    def load_templates(self) -> Templates:
        """The templates that were saved last."""
        return self._templates.load()

    def inventory(self) -> Inventory:
        """All that a check of the store compares: the catalog, the manifest, the names of the files."""
        with self._changing():
            return take_inventory(self._directory, self._catalog)

    def _write(
        self, run: duckdb.DuckDBPyConnection, groups: Iterable[pa.Table], statistics: pa.Table, mask_version: int, sealed_time: int
    ) -> Segment:
        segment_id, self._next_id = self._next_id, self._next_id + 1  # also an attempt that fails uses its id up
        path = self._files / f"{segment_id:010d}-{secrets.token_hex(4)}.parquet"
        temporary = path.with_suffix(_TEMPORARY)
        self._uncommitted.append(path)
        data_bytes = segment_file.write(temporary, groups)
        _sync_file(temporary)
        checksum = checksum_of(temporary)
        temporary.replace(path)
        sync_directory(self._files)
        ranges = tuple(LogRange(*row) for row in run.execute(_RANGES).fetchall())
        *times, services = run.execute(_BOUNDS).fetchall()[0]
        pattern_ids = np.unique(statistics.column("pattern_id").to_numpy())
        rows = sum(statistics.column("count").to_pylist())
        first, last, first_arrival, last_arrival = times
        return Segment(
            segment_id=segment_id,
            path=path,
            row_count=rows,
            size_bytes=path.stat().st_size,
            first_time=first,
            last_time=last,
            first_arrival_time=first_arrival,
            last_arrival_time=last_arrival,
            ranges=ranges,
            services=frozenset(services),
            pattern_ids=pattern_ids,
            checksum=checksum,
            mask_version=mask_version,
            data_bytes=data_bytes,
            sealed_time=sealed_time,
        )

    def _publish_manifest(self) -> None:
        """Writes the manifest; a failure is only logged: the commit stands, and a caller that saw an error would repeat it."""
        try:
            self._write_manifest()
        except OSError:
            _LOG.exception("the manifest could not be written; the next change writes it")

    def _write_manifest(self) -> None:
        entries = [manifest_entry(segment) for segment in self.state.segments]
        content = json.dumps({"version": 1, "segments": entries}, indent=1).encode()
        write_atomically(self._directory / MANIFEST_FILE, content)

    def close(self) -> None:
        """Closes the catalog."""
        self._catalog.close()


def _kept(old: Sequence[Segment], without: frozenset[str]) -> str:
    files = ", ".join(_quoted(segment.path) for segment in old)
    services = ", ".join("'" + service.replace("'", "''") + "'" for service in sorted(without))
    return f"create or replace temp view _records as from read_parquet([{files}])" + (
        f" where service not in ({services})" if services else ""
    )


def _in_order(run: duckdb.DuckDBPyConnection, group_rows: int) -> Iterator[pa.Table]:
    """The records of a rewrite, which may be more than fit into memory: the database sorts them."""
    reader = run.sql(f"from _records order by {segment_file.ORDER}").to_arrow_reader(group_rows)
    yield from map(pa.Table.from_batches, ([batch] for batch in reader))


def _merged(run: duckdb.DuckDBPyConnection, before: pa.Table, new: pa.Table) -> pa.Table:
    run.register("_before", before)
    run.register("_new", new)
    return run.sql(_MERGED).to_arrow_table().cast(COUNTS_SCHEMA)


def _check_file(segment: Segment) -> None:
    try:
        size = segment.path.stat().st_size
    except FileNotFoundError:
        size = -1
    if size != segment.size_bytes:
        found = "is missing" if size < 0 else f"has {size} bytes instead of {segment.size_bytes}"
        raise StartError(
            f"{segment.path} {found}; it holds {contents(segment)}. Restore it from a copy, "
            "or move the data directory away to start afresh from what the log still has"
        )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
