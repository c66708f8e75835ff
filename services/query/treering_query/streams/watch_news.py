"""What is new for watches: patterns that were never seen before, read once for all filters."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import StoredRecord
from treering_query import limits
from treering_query.reading.places import PLACE, first_at
from treering_query.reading.records import stored_records
from treering_query.reading.slices import between
from treering_query.streams import watch_feed
from treering_query.streams.hub import marks
from treering_query.streams.watch_feed import Announcement
from treering_query.values.predicate import Predicate
from treering_query.values.segment import LogRange
from treering_query.view.snapshot import Snapshot

_NEW = """
select pattern_id, service, text, example, template_id, first_offset from _patterns
where first_log_id = $log::ubigint and first_offset >= $begin::ubigint and first_offset < $end::ubigint
order by first_offset limit $most::bigint
"""

_COUNTS = """
select pattern_id, severity, sum(count)::bigint as count, epoch_ns(min(first_time)) as first, epoch_ns(max(last_time)) as last
from pattern_counts where pattern_id in (select unnest($ids::ubigint[])) group by pattern_id, severity
"""


class WatchReader:
    """Reads new patterns for all watches. A look is free while the pattern table is the same."""

    def __init__(self) -> None:
        self._patterns: tuple[pa.Table, ...] | None = None
        """The table that has been read to its end."""

    def has_nothing(self, snapshot: Snapshot) -> bool:
        """Whether the pattern table is the one that has been read."""
        return snapshot.view.patterns is self._patterns

    def read(self, snapshot: Snapshot, new: LogRange, predicates: Sequence[Predicate]) -> tuple[int, Sequence[Sequence[Announcement]]]:
        """What each filter selects of the first new patterns of a range, by offset."""
        # Until the read has come to the end: an error in the middle must not count as read.
        self._patterns = None
        values = {"log": new.log_id, "begin": new.first_offset, "end": new.end_offset, "most": watch_feed.AT_ONCE}
        # By the offset of the first record: the place of a watch is an offset, so the order has to be its own.
        found = snapshot.query(_NEW, values).to_pylist()
        # A full look may have left some out: they begin after the last one.
        end = new.end_offset if len(found) < watch_feed.AT_ONCE else found[-1]["first_offset"] + 1
        offsets = [row["first_offset"] for row in found]
        records, chosen, end = _first_records(snapshot, LogRange(new.log_id, new.first_offset, end), offsets, predicates)
        # The limit of bytes may cut the look short.
        rows = [row for row in found if row["first_offset"] < end]
        patterns = [pb.Pattern(**{name: row[name] for name in row if name != "first_offset"}) for row in rows]
        announced = [
            Announcement(new.log_id, offset, pattern, records.get(offset))
            for offset, pattern in zip(offsets, _with_counts(snapshot, patterns), strict=False)
        ]
        wanted = zip(predicates, chosen, strict=True)
        return end, [[each for each in announced if _is_wanted(each, predicate, picked)] for predicate, picked in wanted]

    def finished(self, snapshot: Snapshot) -> None:
        """Takes note that everything visible has been read."""
        self._patterns = snapshot.view.patterns


def _is_wanted(each: Announcement, predicate: Predicate, chosen: frozenset[int]) -> bool:
    """Whether the filter selects a pattern's first record; of one whose first record has expired, only the service is known."""
    if each.first_record is not None:
        return each.offset in chosen
    is_possible = predicate.services is None or each.pattern.service in predicate.services
    return is_possible and each.pattern.service not in predicate.without_services


def _first_records(
    snapshot: Snapshot, new: LogRange, offsets: Sequence[int], predicates: Sequence[Predicate]
) -> tuple[Mapping[int, StoredRecord], Sequence[frozenset[int]], int]:
    """The records at some offsets, which of them each filter selects, and where what fits into an answer ends."""
    if not offsets:
        return {}, [frozenset()] * len(predicates), new.end_offset
    # From the first to the last of the offsets: segments outside are not opened.
    part = between(snapshot, new.log_id, offsets[0], offsets[-1] + 1)
    columns, values = marks(predicates)
    sql = f"""select {PLACE}, {columns} from {part.records}
        where log_id = $log::ubigint and "offset" in (select unnest($offsets::ubigint[])) order by "offset" """
    table = part.query(snapshot, sql, values | {"log": new.log_id, "offsets": list(offsets)})
    stored = stored_records(first_at(snapshot, part, table, limits.MAX_ANSWER_RECORD_BYTES))
    places = table.column("offset")
    # The first record that does not fit is where the next look begins.
    end = places[len(stored)].as_py() if len(stored) < table.num_rows else new.end_offset
    chosen = [frozenset(places.filter(table.column(f"s{number}")).to_pylist()) for number in range(len(predicates))]
    return {record.position.offset: record for record in stored}, chosen, end


def _with_counts(snapshot: Snapshot, patterns: list[pb.Pattern]) -> list[pb.Pattern]:
    """The same patterns with all their records counted."""
    by_id = {pattern.pattern_id: pattern for pattern in patterns}
    for row in snapshot.query(_COUNTS, {"ids": list(by_id)}).to_pylist() if patterns else ():
        pattern = by_id[row["pattern_id"]]
        pattern.count += row["count"]
        pattern.count_by_severity[row["severity"]] = row["count"]
        pattern.first_time_unix_nano = min(row["first"], pattern.first_time_unix_nano or row["first"])
        pattern.last_time_unix_nano = max(row["last"], pattern.last_time_unix_nano)
    return patterns
