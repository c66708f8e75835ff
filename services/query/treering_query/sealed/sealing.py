"""Sealing: hot records become one Parquet segment, and the catalog's commit makes it count.

The steps, each of which may be the last before a crash, and each of which may fail:

1. the statistics of the records become an object `<id>-<random>.statistics`: whole, synced, under its name;
2. the records, sorted, become the object `<id>-<random>.parquet`, likewise;
3. one transaction of the catalog: the segment with the checksums of both, patterns, how far each log is sealed. This is the seal;
4. `manifest.json` is replaced.

A rewrite (retention, compaction) takes the same steps: its transaction removes the old segments and adds the new one. Their objects go
last, once no query holds them.

Before 3 the objects are orphans, which the next start removes; the log still has the records. After 3 nothing is missing: the next start
writes the manifest again.

Ids of segments are never used twice, not by a later process either: the counter is raised in the transaction of 3. So a file that waits
for its removal can never be a live one, and what a query holds is known by ids alone.

An error leaves one question: is the transaction committed? The next operation answers it first, by opening the catalog again and reading
it (`_recover`); a batch that is committed is not sealed a second time.
"""

import itertools
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog

from treering_query.retention.expired import joined, left_out
from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed import segment_file
from treering_query.sealed.catalog import Catalog, Sealed
from treering_query.sealed.damage import DamagedSegmentError, contents, damage_of
from treering_query.sealed.inventory import MANIFEST_FILE, MANIFEST_VERSION, Inventory, manifest_entry, take_inventory
from treering_query.sealed.scratch_database import ScratchDatabase
from treering_query.sealed.sealed_state import SealBatch, SealedState
from treering_query.sealed.segment_statistics import pattern_ids, read_statistics, total
from treering_query.sealed.segment_store import SegmentStore
from treering_query.sealed.segment_writing import Facts, kept_records, sorted_records, write_segment
from treering_query.templates import Templates, TemplatesChange
from treering_query.values.schemas import COUNTS_SCHEMA
from treering_query.values.segment import Segment, statistics_name
from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import StartError
from treering_runtime.patterns import MASK_VERSION, SAME_RULES
from treering_runtime.quarantine import Quarantined, QuarantineSelection
from treering_runtime.resources import is_used

_LOG = structlog.get_logger()

# The order of rows does not matter here, but is fixed: equal records give equal statistics.
_STATISTICS = """
select pattern_id, environment, severity, count(*) as count, min(time) as first_time, max(time) as last_time
from _records group by all order by all
"""

# Sums of sums: the cost is that of the groups, not of the records.
_MERGED = """
select pattern_id, environment, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from (from _before union all from _new) group by all
"""


class Sealer:
    """Changes the catalog and the objects of segments. Belongs to one thread: each method blocks.

    After each method, also one that raises, `state` is what questions may read.

    Args:
        catalog: What is sealed.
        files: The segments' objects.
        directory: The data directory, where the manifest is, and what a large rewrite has no memory for.
    """

    def __init__(self, catalog: Catalog, files: SegmentStore, directory: Path) -> None:
        self._catalog = catalog
        self._files = files
        self._directory = directory
        self._scratch = ScratchDatabase(directory)
        self._next_id = 1
        self._uncommitted: list[str] = []
        """Names of objects of changes that failed; after `_recover` only those that the catalog does not know are left."""

    def open(self) -> Sealed:
        """Reconciles objects and catalog, and returns what is sealed.

        Raises:
            StartError: An object of a segment is missing, has another size than it was sealed with, or holds other statistics.
        """
        # The catalog is the truth: objects are compared with it, never the other way round.
        sealed = self._catalog.load(self._files.open)
        sizes = self._files.listed()
        # Before anything is deleted: a start that is refused has changed nothing.
        for segment in sealed.segments:
            _check_size(segment, sizes.get(segment.path.name))
        self._take_state(sealed)
        # Whatever the catalog does not name: of a seal that stopped before its commit, or of a removal that a crash cut off.
        known = {name for segment in sealed.segments for name in segment.names}
        orphans = sorted(sizes.keys() - known)
        # No query of an earlier process can hold them: the directory is locked by this one.
        for name in orphans:
            self._files.delete(name)
        if orphans:
            _LOG.warning(
                "removed files of no segment: never sealed (the log delivers their records again), or rewritten", files=len(orphans)
            )
        # A crash may have come between the commit and the manifest. Here an error ends the start: no change could be repeated by it.
        self._write_manifest()
        return sealed

    def _take_state(self, sealed: Sealed) -> None:
        # Never lower than in this process: an attempt that failed used an id up, and the catalog does not know that.
        self._next_id = max(self._next_id, sealed.next_segment_id)
        segments: list[Segment] = []

        def statistics() -> Iterator[pa.Table]:
            for segment in sealed.segments:
                yield (found := read_statistics(self._files, segment))
                segments.append(replace(segment, pattern_ids=pattern_ids(found)))

        counts = total(statistics())
        # Joined here as well: a catalog of an earlier version may hold neighbours apart.
        expired = joined(sealed.expired)
        # One value, replaced whole: the event loop reads it while this thread goes on.
        self.state = SealedState(tuple(segments), counts, expired, sealed.quarantined, sealed.last_batch)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Around each operation: what an earlier one left open is settled first, and an error of this one is settled before the next."""
        try:
            # First of all: this change would be based on a state that may be outdated, and the id of its batch be compared with an
            # outdated one. An error of it counts as one of the change: until the catalog was read to its end, the state is that of
            # before, and a file whose commit took effect would pass for one of no segment.
            self._recover()
            yield
        # Whatever it is: whether the transaction was committed is known to the catalog alone.
        except BaseException:
            self._catalog.suspect()
            self._scratch.close()
            raise

    def _recover(self) -> None:
        """After an error: reads from the catalog whether the change was made, and removes the files of those that were not.

        Raises:
            duckdb.Error, OSError: The disk still fails; to be tried again.
        """
        # True only after an error. The database is asked, because an error of `commit` may have come before or after it took effect.
        if self._catalog.recover():
            self._take_state(self._catalog.load(self._files.open))
            # The manifest may be that of before: a reader outside would miss a segment that was committed after all.
            self._publish_manifest()
        # After the catalog was read: an object whose commit took effect is a segment's and must stay.
        committed = {name for segment in self.state.segments for name in segment.names}
        # Newest first, and taken from the list only when it is gone: an error here leaves the rest for the next operation.
        while self._uncommitted:
            name = self._uncommitted[-1]
            if name not in committed:
                self._files.delete(name)
            self._uncommitted.pop()

    def seal(self, batch: SealBatch, sealed_time: int) -> Segment | None:
        """Seals a batch and returns the new segment; None where no record was readable, or an earlier attempt had sealed it.

        `sealed_time` is what the retention clock shows, read on this thread: when an operator sets that clock, times of before are moved.
        """
        with self._changing():
            # After `_changing` has read the catalog again: the commit of an earlier attempt may have taken effect although it raised.
            is_sealed = batch.batch_id and batch.batch_id == self.state.last_batch
            return None if is_sealed else self._seal(batch, sealed_time)

    def _seal(self, batch: SealBatch, sealed_time: int) -> Segment | None:
        segment, statistics, counts = None, COUNTS_SCHEMA.empty_table(), self.state.counts
        # None of the records could be read: there is no file, but the progress and the quarantine are committed all the same.
        if batch.records.num_rows:
            with closing(self._scratch.cursor()) as run:
                # Arrow in memory, read in place: the database makes no copy of the batch.
                run.register("_records", batch.records)
                statistics = run.sql(_STATISTICS).to_arrow_table().cast(COUNTS_SCHEMA)
                # A generator: one row group at a time is in order in memory.
                groups = segment_file.in_order(batch.records)
                facts = Facts(MASK_VERSION, sealed_time, is_used(batch.records.column("resource")))
                segment = self._write(run, groups, statistics, facts)
                # Before the commit: it may run out of memory, and after the commit nothing may fail.
                counts = _merged(run, counts, statistics)
        # both objects are durable before the commit: a segment that counts is on disk
        ends, links, quarantine = batch.ends, batch.links, batch.quarantine
        self._catalog.commit(batch.batch_id, ends, links, quarantine, segment, patterns=batch.patterns)
        # Only memory from here on. The state is replaced in one step, so no question sees the segment without its counts.
        quarantined = quarantine.applied_to(self.state.quarantined)
        segments = (*self.state.segments, *((segment,) if segment else ()))
        # A batch without an id is never asked for again; the answer for the one before must not be lost by it.
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
            # All of its records go: no file is read or written, and a damaged one can go, too.
            if not all(each.services <= without for each in old):
                # The old files stay readable meanwhile: questions go on with them until the view is replaced.
                segment, statistics = self._rewritten(old, without)
            gone = {each.segment_id for each in old}
            kept = tuple(each for each in self.state.segments if each.segment_id not in gone)
            # What is left out is remembered: a hole in the offsets that has no reason would look like damage.
            expired = joined([*self.state.expired, *left_out(old, segment.row_count if segment else 0)])
            # Counted anew: a first or last time cannot be subtracted. Before the commit: what comes after it must not fail.
            counts = total(itertools.chain((read_statistics(self._files, each) for each in kept), [statistics]))
            self._catalog.replace(sorted(gone), segment, expired)
            segments = (*kept, *((segment,) if segment else ()))
            self._committed(replace(self.state, segments=segments, counts=counts, expired=expired))
            return segment

    def _rewritten(self, old: Sequence[Segment], without: frozenset[str]) -> tuple[Segment, pa.Table]:
        # The whole file is read for its checksum before the first record: the new checksum would make damaged bytes look sound for ever.
        for each in old:
            if damage := damage_of(each):
                raise DamagedSegmentError(damage)
        # By the average record: how many are left out, and of which size, is not known yet.
        group_rows = segment_file.group_rows(sum(each.row_count for each in old), sum(each.data_bytes or 0 for each in old))
        # Records keep the pattern ids that they have. With different rules in one file no rules can be named: 0.
        versions = {MASK_VERSION if each.mask_version in SAME_RULES else each.mask_version for each in old}
        version = versions.pop() if len(versions) == 1 else 0
        # The youngest decides: a merge may keep records longer, but never removes one before its time.
        sealed_time = max(each.sealed_time for each in old)
        with closing(self._scratch.cursor()) as run:
            kept_records(run, old, without)
            statistics = run.sql(_STATISTICS).to_arrow_table().cast(COUNTS_SCHEMA)
            facts = Facts(version, sealed_time, any(each.has_resources for each in old))
            # Closed also on an error, which would keep it, and with it an invalid database: its reader has the cursor open.
            with closing(sorted_records(run, group_rows)) as groups:
                return self._write(run, groups, statistics, facts), statistics

    def _committed(self, state: SealedState) -> None:
        """A change is in the catalog: from here on nothing may raise, or a caller would repeat what is done."""
        # The new file is a segment's from here on. If it stayed listed, a recovery after the segment is gone would delete it under a query.
        self.state = state
        self._uncommitted.clear()
        self._publish_manifest()

    def remove(self, segment: Segment) -> None:
        """Deletes the objects of a segment that was dropped or rewritten; their names are never given to others."""
        # Outside of `_changing`: the catalog is not used, and an error says only that something is still there. The caller tries again.
        for name in segment.names:
            self._files.delete(name)

    def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """As `Catalog.quarantined`."""
        with self._changing():
            # Reading needs a usable catalog, too: an error of an earlier change is settled first.
            return self._catalog.quarantined(selection, after)

    def forget(self, pattern_ids: Sequence[int]) -> None:
        """Removes patterns that no record has any more."""
        with self._changing():
            self._catalog.forget(pattern_ids)

    def load_clock(self) -> KeptTime | None:
        """The last known time; None in a store that never kept it."""
        return self._catalog.load_clock()

    def keep_clock(self, kept: KeptTime) -> None:
        """Keeps the last known time."""
        with self._changing():
            self._catalog.keep_clock(kept)

    def set_clock(self, kept: KeptTime, shift: int = 0) -> None:
        """Keeps a time that begins or that an operator set, `shift` nanoseconds after what the clock showed: ages of segments stay."""
        with self._changing():
            self._catalog.set_clock(kept, shift)
            # The times of segments were moved in the catalog: what is in memory is read anew instead of moved a second time.
            self._take_state(self._catalog.load(self._files.open))

    def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change of the templates last."""
        with self._changing():
            self._catalog.save_templates(change)

    def load_templates(self) -> Templates:
        """The templates that were saved last."""
        # At the start only, when no change can have failed yet.
        return self._catalog.load_templates()

    def inventory(self) -> Inventory:
        """All that a check of the store compares: the catalog, the manifest, the names of the files."""
        with self._changing():
            return take_inventory(self._catalog.load(self._files.open), self._files, self._directory / MANIFEST_FILE)

    def _write(self, run: duckdb.DuckDBPyConnection, groups: Iterable[pa.Table], statistics: pa.Table, facts: Facts) -> Segment:
        segment_id, self._next_id = self._next_id, self._next_id + 1  # also an attempt that fails uses its id up
        # The id alone would not do: the counter is raised at the commit, so an attempt that a crash cut off may have had the same one.
        name = f"{segment_id:010d}-{secrets.token_hex(4)}.parquet"
        # Before the first byte: a write that fails halfway has to be cleaned up as well.
        self._uncommitted += [statistics_name(name), name]
        return write_segment(run, self._files, name, groups, statistics, segment_id=segment_id, facts=facts)

    def _publish_manifest(self) -> None:
        """Writes the manifest; a failure is only logged: the commit stands, and a caller that saw an error would repeat it."""
        try:
            self._write_manifest()
        # The next change writes the whole list, so a later manifest makes up for this one.
        except OSError:
            _LOG.exception("the manifest could not be written; the next change writes it")

    def _write_manifest(self) -> None:
        entries = [manifest_entry(segment) for segment in self.state.segments]
        content = json.dumps({"version": MANIFEST_VERSION, "segments": entries}, indent=1).encode()
        # Replaced whole: a reader outside never meets half of one.
        write_atomically(self._directory / MANIFEST_FILE, content)

    def close(self) -> None:
        """Closes the catalog."""
        self._scratch.close()
        self._catalog.close()


def _merged(run: duckdb.DuckDBPyConnection, before: pa.Table, new: pa.Table) -> pa.Table:
    run.register("_before", before)
    run.register("_new", new)
    return run.sql(_MERGED).to_arrow_table().cast(COUNTS_SCHEMA)


def _check_size(segment: Segment, size: int | None) -> None:
    # The size alone: a start must not read the whole store. Changed bytes are found by `store verify`, or when a question fails on them.
    if size != segment.size_bytes:
        found = "is missing" if size is None else f"has {size} bytes instead of {segment.size_bytes}"
        raise StartError(
            f"{segment.path} {found}; it holds {contents(segment)}. Restore it from a copy, "
            "or move the data directory away to start afresh from what the log still has"
        )
