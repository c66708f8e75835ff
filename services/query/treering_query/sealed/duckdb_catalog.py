"""The catalog as a file `logs.duckdb`: which segments there are, the texts of patterns, how far each log is sealed. It is small."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed.catalog import NotQuarantinedError, Sealed
from treering_query.sealed.clock_row import CLOCK_TABLE, ClockRow
from treering_query.sealed.duckdb_file import DuckDbFile
from treering_query.sealed.segment_rows import insert_segment, read_segments
from treering_query.sealed.template_rows import TEMPLATE_TABLES, TemplateRows
from treering_query.templates import Templates, TemplatesChange
from treering_query.values.schemas import COUNTS_SCHEMA, PATTERNS_SCHEMA
from treering_query.values.segment import Expired, Segment
from treering_runtime.limits import QUARANTINE_ENTRY_BYTES, QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Change, Quarantined, QuarantineSelection

# Written for a new store and for one of any earlier version: each line has no effect where it was applied already.
# A column that a version added stays null in older rows; the readers of this module know what null means there.
_TABLES = """
create table if not exists segments (
    segment_id ubigint, file varchar, row_count bigint, size_bytes bigint, first_time timestamp_ns, last_time timestamp_ns,
    first_arrival_time timestamp_ns, last_arrival_time timestamp_ns, checksum ubigint, mask_version utinyint, data_bytes ubigint
);
alter table segments add column if not exists checksum ubigint;
alter table segments add column if not exists mask_version utinyint;
alter table segments add column if not exists data_bytes ubigint;
alter table segments add column if not exists sealed_time bigint;
alter table segments add column if not exists has_resources boolean;
alter table segments add column if not exists statistics_checksum ubigint;
create table if not exists segment_services (segment_id ubigint, service varchar);
create table if not exists segment_ranges (segment_id ubigint, log_id ubigint, first_offset ubigint, end_offset ubigint);
create table if not exists statistics (
    segment_id ubigint, pattern_id ubigint, environment varchar, severity utinyint, count bigint, first_time timestamp_ns,
    last_time timestamp_ns
);
create table if not exists patterns (
    pattern_id ubigint, service varchar, text varchar, example varchar, first_log_id ubigint, first_offset ubigint
);
alter table patterns add column if not exists first_log_id ubigint;
alter table patterns add column if not exists first_offset ubigint;
create table if not exists progress (log_id ubigint, releasable_end ubigint);
alter table progress add column if not exists link ubigint;
create table if not exists quarantine (log_id ubigint, first_offset ubigint, record_count bigint, reason varchar, payload blob);
alter table quarantine add column if not exists arrival_time ubigint default 0;
create table if not exists expired (log_id ubigint, first_offset ubigint, end_offset ubigint, row_count bigint);
create table if not exists sealing (next_segment_id ubigint, last_batch varchar);
insert into sealing select 1, '' where not exists (from sealing);
"""

# A row belongs to the page while the payloads before it take less than a page. So the first row always belongs to it, however large it is.
# The payloads of all other rows do not leave the database.
_QUARANTINED = """
with chosen as (
    select rowid as id, octet_length(payload) + strlen(reason) + $entry as size,
        sum(size) over (order by log_id, first_offset) - size as before from quarantine
    where ($after_log::ubigint is null or (log_id, first_offset) > ($after_log::ubigint, $after_offset::ubigint))
    and $log in (0, log_id) and first_offset + record_count > $first::ubigint and ($end = 0 or first_offset < $end::ubigint)
)
select log_id, first_offset, record_count, arrival_time, reason, payload from quarantine
where rowid in (select id from chosen where before < $size) order by log_id, first_offset
"""

_PATTERN_COLUMNS = ", ".join(PATTERNS_SCHEMA.names)

_EXPIRED = pa.schema(
    [(name, pa.uint64()) for name in ("log_id", "first_offset", "end_offset")] + [("row_count", pa.int64())]
)  # the columns of the table, in its order

_SERVICES_OF_OLDER = """
insert into segment_services
select distinct segment_id, service from statistics join patterns using (pattern_id)
where segment_id not in (select segment_id from segment_services)
"""
"""What `segment_rows` has of segments that an early version sealed, before their statistics go."""


class DuckDbCatalog:
    """Satisfies `Catalog`. Each change is followed by a checkpoint.

    Args:
        file: Of the database.
        read_only: Changes nothing, not even what an earlier version left.

    Raises:
        StartError: The file cannot be read.
    """

    def __init__(self, file: Path, *, read_only: bool = False) -> None:
        # One file for all of it: a seal, the clock and the templates are changed in transactions of one database.
        self._file = DuckDbFile(file, None if read_only else _TABLES + CLOCK_TABLE + TEMPLATE_TABLES)
        self._clock = ClockRow(self._file)
        self._templates = TemplateRows(self._file)

    def load(self, opened: Callable[[str], Path]) -> Sealed:
        """As the protocol says."""
        run = self._file.connection
        progress = run.execute("select * from progress").fetchall()  # of an earlier version, when it is only read: without links
        return Sealed(
            segments=tuple(read_segments(run, opened)),
            # The order of arrival, so that a start shows patterns in the order that they had before.
            patterns=run.sql(f"select {_PATTERN_COLUMNS} from patterns order by rowid").to_arrow_table().cast(PATTERNS_SCHEMA),
            ends={row[0]: row[1] for row in progress},
            quarantined=dict(run.execute("select log_id, sum(record_count)::bigint from quarantine group by all").fetchall()),
            links={row[0]: row[2] for row in progress if row[2:] and row[2] is not None},
            expired=self._expired(),
            last_batch=str(run.execute("select last_batch from sealing").fetchall()[0][0]),
            next_segment_id=self._next_segment_id(),
            described=self._described(),
        )

    def _expired(self) -> tuple[Expired, ...]:
        return tuple(Expired(*row) for row in self._file.connection.execute("select * from expired order by all").fetchall())

    def _next_segment_id(self) -> int:
        # The counter and not the largest id: a segment that was removed, or merged away, may still be held by a query, or its file be on
        # the disk.
        kept = self._file.connection.execute("select next_segment_id from sealing").fetchall()[0][0]
        used = self._file.connection.execute("select max(segment_id) from segments").fetchall()[0][0]  # of a store older than the counter
        return int(max(kept, (used or 0) + 1))

    def _described(self) -> frozenset[int]:
        # The union: a segment may be known to one of the tables alone, which is the damage that a check looks for.
        found = self._file.connection.execute("select segment_id from segment_ranges union select segment_id from statistics").fetchall()
        return frozenset(segment_id for (segment_id,) in found)

    def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        """As the protocol says."""
        # The place is a pair: offsets of different logs are not comparable.
        after_log, after_offset = after or (None, None)
        parameters = {
            "after_log": after_log,
            "after_offset": after_offset,
            "log": selection.log_id,
            "first": selection.first_offset,
            "end": selection.end_offset,
            "size": QUARANTINE_PAGE_BYTES,
            "entry": QUARANTINE_ENTRY_BYTES,
        }
        return [Quarantined(*row) for row in self._file.connection.execute(_QUARANTINED, parameters).fetchall()]

    def commit(
        self,
        batch_id: str,
        ends: Mapping[int, int],
        links: Mapping[int, int],
        quarantine: Change,
        segment: Segment | None,
        *,
        patterns: pa.Table,
    ) -> None:
        """As the protocol says."""
        run = self._file.connection

        def change() -> None:
            if segment is not None:
                insert_segment(run, segment)
                # It may be here already: quarantined records that were read again have stored it since the delivery that found it new.
                self._insert_table("patterns", patterns, where="pattern_id not in (select pattern_id from patterns)")
            # With the segment: an end that is durable without its records would let the log delete them, the reverse would store them
            # twice.
            for log_id, end in ends.items():
                run.execute("delete from progress where log_id = ?::ubigint", [log_id])
                run.execute("insert into progress values (?::ubigint, ?::ubigint, ?::ubigint)", [log_id, end, links.get(log_id)])
            # Their records are in this segment. Removed earlier they could be lost by a crash, removed later they could be stored twice.
            for left in quarantine.read_again:
                self._leave_quarantine(left)
            # After the deletes: what still cannot be read is in both lists. The log does not deliver it again, as its end is below the
            # progress.
            for bad in quarantine.set_aside:
                row = [*bad.key, bad.record_count, bad.reason, bad.payload, bad.arrival_time_unix_nano]
                run.execute("insert into quarantine values (?::ubigint, ?::ubigint, ?, ?, ?, ?::ubigint)", row)
            # The answer to "was this batch committed?" after an error. Without an id nobody asks: the change before stays the last one.
            if batch_id:
                run.execute("update sealing set last_batch = ?", [batch_id])

        self._file.atomically(change)

    def _leave_quarantine(self, left: Quarantined) -> None:
        statement = "delete from quarantine where log_id = ?::ubigint and first_offset = ?::ubigint"
        # Inside of the transaction, whose other half stores the records: of two that read the same again the second one stores nothing.
        if not self._file.connection.execute(statement, list(left.key)).fetchall()[0][0]:
            raise NotQuarantinedError(f"offset {left.first_offset} of log {left.log_id} is not quarantined any more")

    def replace(self, old: Sequence[int], segment: Segment | None, expired: Sequence[Expired]) -> None:
        """As the protocol says."""

        def change() -> None:
            # All or none: `read_segments` would otherwise show a segment without offsets, or a check would find offsets without a segment.
            for table in ("segments", "segment_ranges", "segment_services"):
                self._file.connection.execute(f"delete from {table} where segment_id in (select unnest($1::ubigint[]))", [list(old)])
            # Texts of patterns stay, also those without a record now: embed has to forget them first. See `forget`.
            if segment is not None:
                insert_segment(self._file.connection, segment)
            # The whole list: it is short, because neighbouring runs are joined.
            self._file.connection.execute("delete from expired")
            self._insert_table("expired", pa.Table.from_pylist([asdict(part) for part in expired], _EXPIRED))

        self._file.atomically(change)

    def forget(self, pattern_ids: Sequence[int]) -> None:
        """As the protocol says."""
        statement = "delete from patterns where pattern_id in (select unnest($1::ubigint[]))"
        self._file.atomically(lambda: self._file.connection.execute(statement, [list(pattern_ids)]))

    def older_statistics(self) -> Iterator[tuple[int, pa.Table]]:
        """Statistics that an earlier version kept in the catalog: a segment's id, and rows of `COUNTS_SCHEMA`."""
        # Empty but for the first start after that version, and there a segment at a time.
        ids = self._file.connection.execute("select distinct segment_id from statistics order by all").fetchall()
        for (segment_id,) in ids:
            found = self._file.connection.sql("select * exclude (segment_id) from statistics where segment_id = ?", params=[segment_id])
            yield segment_id, found.to_arrow_table().cast(COUNTS_SCHEMA)

    def statistics_moved(self, checksums: Mapping[int, int]) -> None:
        """The statistics of these segments are objects now, which are durable and have these checksums."""

        def change() -> None:
            # First: it reads the rows that go below.
            self._file.connection.execute(_SERVICES_OF_OLDER)
            for segment_id, checksum in checksums.items():
                statement = "update segments set statistics_checksum = ?::ubigint where segment_id = ?::ubigint"
                self._file.connection.execute(statement, [checksum, segment_id])
            # In the same transaction: a segment has its statistics in one place at any moment.
            gone = "delete from statistics where segment_id in (select unnest($1::ubigint[]))"
            self._file.connection.execute(gone, [list(checksums)])

        self._file.atomically(change)

    def load_clock(self) -> KeptTime | None:
        """As the protocol says."""
        return self._clock.load()

    def keep_clock(self, kept: KeptTime) -> None:
        """As the protocol says."""
        self._clock.keep(kept)

    def set_clock(self, kept: KeptTime, shift: int) -> None:
        """As the protocol says."""
        self._clock.set(kept, shift)

    def load_templates(self) -> Templates:
        """As the protocol says."""
        return self._templates.load()

    def save_templates(self, change: TemplatesChange) -> None:
        """As the protocol says."""
        self._templates.save(change)

    def suspect(self) -> None:
        """As the protocol says."""
        self._file.suspect()

    def recover(self) -> bool:
        """As the protocol says: the file is opened again."""
        return self._file.recover()

    def _insert_table(self, name: str, table: pa.Table, where: str = "true") -> None:
        # DuckDB reads the Arrow table in place under this name. The same name each time: an insert that failed leaves no table behind for
        # ever.
        self._file.connection.register("_new", table)
        self._file.connection.execute(f"insert into {name} select * from _new where {where}")
        self._file.connection.unregister("_new")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
