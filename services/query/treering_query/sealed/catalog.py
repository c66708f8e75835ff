"""The catalog `logs.duckdb`: which segments there are, their statistics, the texts of patterns, how far each log is sealed.

It is small, and it is the truth about the segments: the commit of a segment's row is the seal. Each commit is followed by a checkpoint,
because the database's main file is protected by checksums and its own write-ahead log is not. A checkpoint that fails takes nothing back:
the commit stands in the database's write-ahead log. But the database refuses every further statement after it, as after other errors of
the disk, so the catalog is opened again before the next change.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog

from treering_query.sealed.segment_rows import insert_segment, read_segments
from treering_query.values.schemas import COUNTS_SCHEMA, PATTERNS_SCHEMA
from treering_query.values.segment import Expired, Segment
from treering_runtime.errors import StartError
from treering_runtime.limits import QUARANTINE_ENTRY_BYTES, QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Change, Quarantined, Selection

_LOG = structlog.get_logger()

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

_TOTALS = """
select pattern_id, environment, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from statistics group by all
"""


_EXPIRED = pa.schema(
    [(name, pa.uint64()) for name in ("log_id", "first_offset", "end_offset")] + [("row_count", pa.int64())]
)  # the columns of the table, in its order


# The store is small enough to be read whole at the start: everything below is in memory afterwards, and questions never come here.
@dataclass(frozen=True)
class Sealed:
    """All that the catalog knows, for a start."""

    segments: tuple[Segment, ...]
    counts: pa.Table
    patterns: pa.Table
    ends: dict[int, int]
    """Releasable end by log_id."""
    quarantined: dict[int, int]
    """Records set aside by log_id."""
    links: dict[int, int]
    """The log's chain at the releasable end, by log_id; not of progress that an earlier version wrote."""


class Catalog:
    """The open catalog. Belongs to one thread.

    Raises:
        StartError: The file cannot be read.
    """

    def __init__(self, file: Path, *, read_only: bool = False) -> None:
        self._file = file
        self._read_only = read_only
        self._suspect = False
        try:
            self.connection = self._connect()
            if not read_only:
                self.connection.execute(_TABLES)
                self.connection.execute("insert into sealing select 1, '' where not exists (from sealing)")
        # Nothing is made new here: an empty catalog beside full segments would have their files deleted as orphans.
        except duckdb.Error as error:
            problem = str(error).splitlines()[0]
            raise StartError(f"{file} cannot be read ({problem}); restore it, or move the data directory away to start afresh") from error
        # What a crash left in the write-ahead log was replayed by `_connect`. It goes into the main file, which has checksums, before new
        # changes.
        if not read_only:
            self._checkpoint()
            # Only if the checkpoint failed: then the connection refuses everything, and the first user would meet an error of the start.
            self.recover()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        # The same values each time: DuckDB refuses a second connection to an open file with another configuration.
        config: dict[str, str | bool | int | float | list[str]] = {
            # Questions have an engine of their own: seals and upkeep leave the other cores to them.
            "threads": 1,
            # A rewrite sorts its records here. Above this limit they are sorted on the disk, in the directory below.
            "memory_limit": "512MB",
            "temp_directory": str(self._file.with_name("catalog-spill")),
            # No statement may fetch code from the network.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Otherwise a name in a statement that is no table would be looked up among the variables of the Python caller.
            "python_enable_replacements": False,
        }
        return duckdb.connect(str(self._file), config=config, read_only=self._read_only)

    def suspect(self) -> None:
        """Something failed: `recover` will open the catalog again."""
        # Not done here: the disk has just failed and would most likely fail again. The next operation needs the catalog, and opens it.
        self._suspect = True

    def recover(self) -> bool:
        """Makes the catalog usable after an error; True when it was opened again, so that what was read before may be outdated.

        Every cursor of `connection` must be closed: the database lives, invalid, as long as one of them does.

        Raises:
            duckdb.Error: It cannot be opened now; to be tried again.
        """
        if not self._suspect:
            return False
        # A close that fails leaves nothing to save: what is committed is in the files.
        with contextlib.suppress(duckdb.Error):
            self.connection.close()
        self.connection = self._connect()
        # After the open: if it raises, the catalog stays suspect, and the next operation tries again.
        self._suspect = False
        return True

    def load(self, directory: Path) -> Sealed:
        """Everything that is sealed; the segments' files are in `directory`."""
        run = self.connection
        progress = run.execute("select * from progress").fetchall()  # of an earlier version, when it is only read: without links
        return Sealed(
            tuple(read_segments(run, directory)),
            self.totals(),
            # The order of arrival, so that a start shows patterns in the order that they had before.
            run.sql(f"select {_PATTERN_COLUMNS} from patterns order by rowid").to_arrow_table().cast(PATTERNS_SCHEMA),
            {row[0]: row[1] for row in progress},
            self.quarantine_counts(),
            {row[0]: row[2] for row in progress if row[2:] and row[2] is not None},
        )

    def quarantine_counts(self) -> dict[int, int]:
        """Quarantined records by log_id."""
        return dict(self.connection.execute("select log_id, sum(record_count)::bigint from quarantine group by all").fetchall())

    def statistics(self) -> pa.Table:
        """Statistics of each segment: `segment_id`, then `COUNTS_SCHEMA`; sorted by segment."""
        return self.connection.sql("select * from statistics order by segment_id").to_arrow_table()

    def segment_ids(self) -> Iterable[int]:
        """Segments that have statistics or offsets, whether they are listed or not."""
        # The union: a segment may be known to one of the two tables alone, which is the damage that a check looks for.
        found = self.connection.execute("select segment_id from statistics union select segment_id from segment_ranges").fetchall()
        return (segment_id for (segment_id,) in found)

    def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside above `after`, by log and offset, about `QUARANTINE_PAGE_BYTES`."""
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
        return [Quarantined(*row) for row in self.connection.execute(_QUARANTINED, parameters).fetchall()]

    def expired(self) -> tuple[Expired, ...]:
        """What retention has removed."""
        return tuple(Expired(*row) for row in self.connection.execute("select * from expired order by all").fetchall())

    def totals(self) -> pa.Table:
        """Statistics of all segments together."""
        return self.connection.sql(_TOTALS).to_arrow_table().cast(COUNTS_SCHEMA)

    def commit(
        self,
        batch_id: str,
        ends: Mapping[int, int],
        links: Mapping[int, int],
        quarantine: Change,
        segment: Segment | None,
        *,
        statistics: pa.Table,
        patterns: pa.Table,
    ) -> None:
        """The seal: everything about one batch in one transaction, then a checkpoint. `segment` is None where no record was readable."""
        run = self.connection

        def change() -> None:
            if segment is not None:
                insert_segment(run, segment)
                self._insert_table("statistics", "*", statistics, f"{segment.segment_id}::ubigint, ")
                # It may be here already: quarantined records that were read again have stored it since the delivery that found it new.
                self._insert_table("patterns", "*", patterns, where="pattern_id not in (select pattern_id from patterns)")
            # With the segment: an end that is durable without its records would let the log delete them, the reverse would store them
            # twice.
            for log_id, end in ends.items():
                run.execute("delete from progress where log_id = ?::ubigint", [log_id])
                run.execute("insert into progress values (?::ubigint, ?::ubigint, ?::ubigint)", [log_id, end, links.get(log_id)])
            # Their records are in this segment. Removed earlier they could be lost by a crash, removed later they could be stored twice.
            for left in quarantine.read_again:
                run.execute("delete from quarantine where log_id = ?::ubigint and first_offset = ?::ubigint", list(left.key))
            # After the deletes: what still cannot be read is in both lists. The log does not deliver it again, as its end is below the
            # progress.
            for bad in quarantine.set_aside:
                row = [*bad.key, bad.record_count, bad.reason, bad.payload, bad.arrival_time_unix_nano]
                run.execute("insert into quarantine values (?::ubigint, ?::ubigint, ?, ?, ?, ?::ubigint)", row)
            # The answer to "was this batch committed?" after an error. Without an id nobody asks: the change before stays the last one.
            if batch_id:
                run.execute("update sealing set last_batch = ?", [batch_id])

        self.atomically(change)

    def last_batch(self) -> str:
        """The id of the batch that was committed last."""
        return str(self.connection.execute("select last_batch from sealing").fetchall()[0][0])

    def replace(self, old: Sequence[int], segment: Segment | None, statistics: pa.Table, expired: Sequence[Expired]) -> pa.Table:
        """Some segments become one, or none, in one transaction, then a checkpoint; from now on `expired` is all that is gone.

        Returns the statistics of all segments together.
        """
        totals = COUNTS_SCHEMA.empty_table()

        def change() -> None:
            nonlocal totals
            # All four or none: `read_segments` would otherwise show a segment without statistics, or a check would find statistics without
            # a segment.
            for table in ("segments", "segment_ranges", "segment_services", "statistics"):
                self.connection.execute(f"delete from {table} where segment_id in (select unnest($1::ubigint[]))", [list(old)])
            # Texts of patterns stay, also those without a record now: embed has to forget them first. See `forget`.
            if segment is not None:
                insert_segment(self.connection, segment)
                self._insert_table("statistics", "*", statistics, f"{segment.segment_id}::ubigint, ")
            # The whole list: it is short, because neighbouring runs are joined.
            self.connection.execute("delete from expired")
            self._insert_table("expired", "*", pa.Table.from_pylist([asdict(part) for part in expired], _EXPIRED))
            totals = self.totals()  # before the commit: what comes after it must not fail

        self.atomically(change)
        return totals

    def forget(self, pattern_ids: Sequence[int]) -> None:
        """Removes patterns, then a checkpoint."""
        statement = "delete from patterns where pattern_id in (select unnest($1::ubigint[]))"
        self.atomically(lambda: self.connection.execute(statement, [list(pattern_ids)]))

    def atomically(self, change: Callable[[], object]) -> None:
        """Makes a change of several statements in one transaction, then a checkpoint.

        Raises:
            Exception: Whatever failed. The change is not made then; only if `commit` itself failed it may be: `suspect`, `recover`, read.
        """
        run = self.connection
        # Outside of the `try`: a `begin` that fails has opened nothing that could be undone.
        run.execute("begin")
        try:
            change()
            run.execute("commit")
        # Whatever it is: a transaction left open would take in the statements of the next change.
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # the first error is the one to know; a database that is invalid has nothing to undo
                run.execute("rollback")
            raise
        # After the commit, and not part of it: from here on the change is durable, in the write-ahead log of the database.
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Moves what is committed into the main file. A failure is a warning: whoever saw an error would make the change a second time."""
        try:
            self.connection.execute("checkpoint")
        except duckdb.Error as error:
            # The commit stands, but DuckDB refuses all further statements after some errors of a checkpoint. So it is opened again, when it
            # is needed.
            self.suspect()
            problem = str(error).splitlines()[0]
            _LOG.warning("the catalog's checkpoint failed; what is committed stays in its write-ahead log", problem=problem)

    def next_segment_id(self) -> int:
        """The smallest id that no segment ever had; 1 in a new catalog."""
        # The counter and not the largest id: a segment that was removed, or merged away, may still be held by a query, or its file be on
        # the disk.
        kept = self.connection.execute("select next_segment_id from sealing").fetchall()[0][0]
        used = self.connection.execute("select max(segment_id) from segments").fetchall()[0][0]  # of a store older than the counter
        return int(max(kept, (used or 0) + 1))

    def _insert_table(self, name: str, columns: str, table: pa.Table | None, before: str = "", where: str = "true") -> None:
        # DuckDB reads the Arrow table in place under this name. The same name each time: an insert that failed leaves no table behind for
        # ever.
        self.connection.register("_new", table)
        self.connection.execute(f"insert into {name} select {before}{columns} from _new where {where}")
        self.connection.unregister("_new")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()
