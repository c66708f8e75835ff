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
import numpy as np
import pyarrow as pa
import structlog

from treering_query.values.schemas import COUNTS_SCHEMA, PATTERNS_SCHEMA
from treering_query.values.segment import Expired, LogRange, Segment
from treering_runtime.errors import StartError
from treering_runtime.limits import QUARANTINE_ENTRY_BYTES, QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Change, Quarantined, Selection

_LOG = structlog.get_logger()

_TABLES = """
create table if not exists segments (
    segment_id ubigint, file varchar, row_count bigint, size_bytes bigint, first_time timestamp_ns, last_time timestamp_ns,
    first_arrival_time timestamp_ns, last_arrival_time timestamp_ns, checksum ubigint, mask_version utinyint, data_bytes ubigint
);
alter table segments add column if not exists checksum ubigint;
alter table segments add column if not exists mask_version utinyint;
alter table segments add column if not exists data_bytes ubigint;
alter table segments add column if not exists sealed_time bigint;
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

_SEGMENTS = """
select segment_id, file, row_count, size_bytes, epoch_ns(first_time), epoch_ns(last_time), epoch_ns(first_arrival_time),
       epoch_ns(last_arrival_time), checksum, mask_version, data_bytes, {sealed_time}
from segments order by segment_id
"""

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

_SERVICES = "select segment_id, list(distinct service) from statistics join patterns using (pattern_id) group by all"
"""Of segments that a version sealed which did not keep their services; all of their records have a pattern."""

_KEPT_SERVICES = "select segment_id, list(service) from segment_services group by all"

_PATTERN_COLUMNS = ", ".join(PATTERNS_SCHEMA.names)

_TOTALS = """
select pattern_id, environment, severity, sum(count)::bigint as count, min(first_time) as first_time, max(last_time) as last_time
from statistics group by all
"""


_EXPIRED = pa.schema(
    [(name, pa.uint64()) for name in ("log_id", "first_offset", "end_offset")] + [("row_count", pa.int64())]
)  # the columns of the table, in its order


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
        except duckdb.Error as error:
            problem = str(error).splitlines()[0]
            raise StartError(f"{file} cannot be read ({problem}); restore it, or move the data directory away to start afresh") from error
        if not read_only:
            self._checkpoint()
            self.recover()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": "512MB",
            "temp_directory": str(self._file.with_name("catalog-spill")),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        return duckdb.connect(str(self._file), config=config, read_only=self._read_only)

    def suspect(self) -> None:
        """Something failed: `recover` will open the catalog again."""
        self._suspect = True

    def recover(self) -> bool:
        """Makes the catalog usable after an error; True when it was opened again, so that what was read before may be outdated.

        Every cursor of `connection` must be closed: the database lives, invalid, as long as one of them does.

        Raises:
            duckdb.Error: It cannot be opened now; to be tried again.
        """
        if not self._suspect:
            return False
        with contextlib.suppress(duckdb.Error):
            self.connection.close()
        self.connection = self._connect()
        self._suspect = False
        return True

    def load(self, directory: Path) -> Sealed:
        """Everything that is sealed; the segments' files are in `directory`."""
        run = self.connection
        progress = run.execute("select * from progress").fetchall()  # of an earlier version, when it is only read: without links
        return Sealed(
            tuple(self._segments(directory)),
            self.totals(),
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
        found = self.connection.execute("select segment_id from statistics union select segment_id from segment_ranges").fetchall()
        return (segment_id for (segment_id,) in found)

    def quarantined(self, selection: Selection, after: tuple[int, int] | None) -> list[Quarantined]:
        """Some of what is set aside above `after`, by log and offset, about `QUARANTINE_PAGE_BYTES`."""
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

    def _sealed_time(self) -> str:
        """What to read for it; a catalog of an earlier version does not have the column, as long as it is only read."""
        statement = "select count(*) from duckdb_columns() where (table_name, column_name) = ('segments', 'sealed_time')"
        arrival = "epoch_ns(last_arrival_time)"
        return f"coalesce(sealed_time, {arrival})" if self.connection.execute(statement).fetchall()[0][0] else arrival

    def _segments(self, directory: Path) -> Iterable[Segment]:
        run = self.connection
        ranges: dict[int, list[LogRange]] = {}
        for segment_id, *bounds in run.execute("select * from segment_ranges order by all").fetchall():
            ranges.setdefault(segment_id, []).append(LogRange(*bounds))
        services = dict(run.execute(_SERVICES).fetchall()) | self._kept_services()
        for segment_id, file, *numbers in run.execute(_SEGMENTS.format(sealed_time=self._sealed_time())).fetchall():
            found = run.sql("select distinct pattern_id from statistics where segment_id = ? order by all", params=[segment_id])
            ids = found.to_arrow_table().column(0).to_numpy().astype(np.uint64)
            rows, size, first, last, first_arrival, last_arrival, checksum, mask_version, data, sealed = numbers
            held, parts = frozenset(services.get(segment_id, ())), tuple(ranges.get(segment_id, ()))
            facts = (rows, size, first, last, first_arrival, last_arrival, parts, held, ids, checksum, mask_version or 0, data)
            yield Segment(segment_id, directory / file, *facts, sealed_time=sealed)

    def _kept_services(self) -> dict[int, list[str]]:
        """The services of segments, by id. Patterns do not tell them: a record may have none of its own."""
        known = self.connection.execute("from duckdb_tables() where table_name = 'segment_services'").fetchall()
        return dict(self.connection.execute(_KEPT_SERVICES).fetchall()) if known else {}  # only read, of an earlier version

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
                self._insert_segment(segment)
                self._insert_table("statistics", "*", statistics, f"{segment.segment_id}::ubigint, ")
                self._insert_table("patterns", "*", patterns, where="pattern_id not in (select pattern_id from patterns)")
            for log_id, end in ends.items():
                run.execute("delete from progress where log_id = ?::ubigint", [log_id])
                run.execute("insert into progress values (?::ubigint, ?::ubigint, ?::ubigint)", [log_id, end, links.get(log_id)])
            for left in quarantine.read_again:
                run.execute("delete from quarantine where log_id = ?::ubigint and first_offset = ?::ubigint", list(left.key))
            for bad in quarantine.set_aside:
                row = [*bad.key, bad.record_count, bad.reason, bad.payload, bad.arrival_time_unix_nano]
                run.execute("insert into quarantine values (?::ubigint, ?::ubigint, ?, ?, ?, ?::ubigint)", row)
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
            for table in ("segments", "segment_ranges", "segment_services", "statistics"):
                self.connection.execute(f"delete from {table} where segment_id in (select unnest($1::ubigint[]))", [list(old)])
            if segment is not None:
                self._insert_segment(segment)
                self._insert_table("statistics", "*", statistics, f"{segment.segment_id}::ubigint, ")
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
        run.execute("begin")
        try:
            change()
            run.execute("commit")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # the first error is the one to know; a database that is invalid has nothing to undo
                run.execute("rollback")
            raise
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Moves what is committed into the main file. A failure is a warning: whoever saw an error would make the change a second time."""
        try:
            self.connection.execute("checkpoint")
        except duckdb.Error as error:
            self.suspect()
            problem = str(error).splitlines()[0]
            _LOG.warning("the catalog's checkpoint failed; what is committed stays in its write-ahead log", problem=problem)

    def next_segment_id(self) -> int:
        """The smallest id that no segment ever had; 1 in a new catalog."""
        kept = self.connection.execute("select next_segment_id from sealing").fetchall()[0][0]
        used = self.connection.execute("select max(segment_id) from segments").fetchall()[0][0]  # of a store older than the counter
        return int(max(kept, (used or 0) + 1))

    def _insert_segment(self, segment: Segment) -> None:
        times = ", ".join(["make_timestamp_ns(?::bigint)"] * 4)
        row: list[object] = [segment.segment_id, segment.path.name, segment.row_count, segment.size_bytes]
        row += [segment.first_time, segment.last_time, segment.first_arrival_time, segment.last_arrival_time]
        row += [segment.checksum, segment.mask_version, segment.data_bytes, segment.sealed_time]
        self.connection.execute(
            f"insert into segments values (?::ubigint, ?, ?, ?, {times}, ?::ubigint, ?::utinyint, ?::ubigint, ?::bigint)", row
        )
        # in the transaction that adds the segment: its id is never given out again, also when the segment is gone
        self.connection.execute("update sealing set next_segment_id = ?::ubigint", [segment.segment_id + 1])
        held = [segment.segment_id, sorted(segment.services)]
        self.connection.execute("insert into segment_services select ?::ubigint, unnest(?::varchar[])", held)
        for part in segment.ranges:
            bounds = [segment.segment_id, part.log_id, part.first_offset, part.end_offset]
            self.connection.execute("insert into segment_ranges values (?::ubigint, ?::ubigint, ?::ubigint, ?::ubigint)", bounds)

    def _insert_table(self, name: str, columns: str, table: pa.Table | None, before: str = "", where: str = "true") -> None:
        self.connection.register("_new", table)
        self.connection.execute(f"insert into {name} select {before}{columns} from _new where {where}")
        self.connection.unregister("_new")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()
