"""The check of a sealed store: whether everything that it says of itself agrees with what its files hold.

First the catalog with itself, with the manifest and with the names of the files; then each segment: its bytes with the checksum, and only
where these agree (a damaged file is not given to a parser) every record with what the catalog says of it: counts, times, offsets,
statistics, and each pattern id with the message.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treering_query.sealed.catalog import Sealed
from treering_query.sealed.damage import Damaged, contents, damage_of, file_state
from treering_query.sealed.inventory import CATALOG_FILE, MANIFEST_FILE, MANIFEST_VERSION, SEGMENTS_DIRECTORY, Inventory, manifest_entry
from treering_query.sealed.segment_statistics import pattern_ids
from treering_query.values.pattern_ids import as_ids
from treering_query.values.schemas import COUNTS_SCHEMA, LOGS_SCHEMA, kinds
from treering_query.values.segment import LogRange, Segment
from treering_query.values.statistics import merged, statistics
from treering_runtime.patterns import NO_PATTERN, SAME_RULES, PatternIds, find_patterns, former_pattern_id, pattern_id
from treering_runtime.resources import none

# The caller may stop between two of these, so its size bounds how long a stop takes, and the memory of a check.
_BATCH_ROWS = 65_536
"""Records that are looked at together: a tenth of a second, so that a check can be stopped."""

# A store that is damaged all over must not give an answer larger than a message may be.
_NAMED = 5
"""So many of many alike are named in one problem."""


@dataclass(frozen=True)
class StoreProblem:
    """Something that is not as it should be."""

    file: str
    """Relative to the data directory."""
    problem: str
    """In words, with what to do."""
    is_damage: bool = True
    """False for what the next start of the service puts right."""
    damaged: Damaged | None = None
    """The segment whose file is damaged, if it is one."""


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is."""

    segments: int = 0
    records: int = 0
    size_bytes: int = 0
    problems: tuple[StoreProblem, ...] = ()
    """Found since the last one."""


def check(inventory: Inventory) -> Iterator[CheckProgress]:
    """Checks everything, a step at a time. Blocks; memory for one batch of records."""
    # The catalog first: it takes no reading of segments, and everything below trusts its list.
    progress = CheckProgress(problems=tuple(_catalog_problems(inventory)))
    yield progress
    # One for the whole check: which id a pattern has depends on all patterns, as two may collide.
    ids = PatternIds(kinds(inventory.sealed.patterns))
    for segment in inventory.sealed.segments:
        records = 0
        # A new one for each segment: what was counted of one is dropped before the next is read.
        reading = _SegmentCheck(segment, _statistics_of(inventory, segment), ids)
        for rows in reading.read():
            records += rows
            # The records of a segment that is not finished are shown, but added only once, below.
            yield replace(progress, records=progress.records + records, problems=())
        progress = CheckProgress(
            progress.segments + 1, progress.records + records, progress.size_bytes + segment.size_bytes, tuple(reading.problems())
        )
        yield progress


def _catalog_problems(inventory: Inventory) -> Iterator[StoreProblem]:
    # From the inside out: what a later look relies on is checked by an earlier one.
    yield from _segment_list_problems(inventory)
    yield from _pattern_problems(inventory)
    yield from _progress_problems(inventory.sealed)
    yield from _manifest_problems(inventory)
    yield from _file_problems(inventory)


def _segment_list_problems(inventory: Inventory) -> Iterator[StoreProblem]:
    ids = [segment.segment_id for segment in inventory.sealed.segments]
    # The tables are written in one transaction, so this is damage and nothing that a crash leaves.
    lost = inventory.sealed.described.difference(ids)
    if lost:
        yield StoreProblem(
            CATALOG_FILE, f"describes segments that it does not list: {_named(map(str, sorted(lost)))}; restore it from a copy"
        )
    # Quadratic, which thousands of segments still allow; records of a segment that is listed twice would be counted twice.
    doubled = {number for number in ids if ids.count(number) > 1}
    if doubled:
        yield StoreProblem(CATALOG_FILE, f"lists segments twice: {_named(map(str, sorted(doubled)))}; restore it from a copy")


def _pattern_problems(inventory: Inventory) -> Iterator[StoreProblem]:
    ids = inventory.sealed.patterns.column("pattern_id").to_pylist()
    # The id is a hash of service and text, so each row proves itself. A former id is one of an older way to compute it.
    wrong = [
        number
        for number, *kind in kinds(inventory.sealed.patterns)
        if number not in {NO_PATTERN, pattern_id(*kind), former_pattern_id(*kind)}
    ]
    if wrong:
        yield StoreProblem(
            CATALOG_FILE, f"{len(wrong):,} patterns have a text that is not theirs: {_named(map(str, wrong))}; restore it from a copy"
        )
    # Joins over the table would then count the records of such a pattern twice.
    if len(set(ids)) < len(ids):
        yield StoreProblem(CATALOG_FILE, f"{len(ids) - len(set(ids)):,} patterns are listed twice; restore it from a copy")
    # A record whose pattern has no row is counted, but never listed: joins lose it.
    counted = [pattern_ids(each) for each in inventory.statistics.values() if not isinstance(each, str)]
    missing = np.setdiff1d(np.concatenate([as_ids(()), *counted]), as_ids(ids)).tolist()
    if missing:
        yield StoreProblem(
            CATALOG_FILE, f"{len(missing):,} patterns of records are not listed: {_named(map(str, missing))}; restore it from a copy"
        )


def _progress_problems(sealed: Sealed) -> Iterator[StoreProblem]:
    """Below a log's releasable end records are not delivered again: above it a sealed record would come twice."""
    # The largest end of each log over all segments: they come in no order.
    ends: dict[int, int] = {}
    for part in (part for segment in sealed.segments for part in segment.ranges):
        ends[part.log_id] = max(part.end_offset, ends.get(part.log_id, 0))
    for log_id, end in ends.items():
        # Only below is wrong. Above is usual: offsets after the last record may be quarantined, or their segment removed by retention.
        said = sealed.ends.get(log_id, 0)
        if said < end:
            yield StoreProblem(CATALOG_FILE, f"says that log {log_id} is sealed below offset {said}, but segments reach {end}; restore it")


def _manifest_problems(inventory: Inventory) -> Iterator[StoreProblem]:
    # Anything may stand in the file: it is asked for its type before it is used.
    manifest = inventory.manifest if isinstance(inventory.manifest, dict) else {}
    said = manifest.get("segments")
    # A copy may be of an earlier version: it is compared in its own form.
    version = 1 if manifest.get("version") == 1 else MANIFEST_VERSION
    wanted = [manifest_entry(segment, version) for segment in inventory.sealed.segments]
    if not isinstance(said, list):
        yield StoreProblem(MANIFEST_FILE, "is missing or cannot be read; the next start of the service writes it", is_damage=False)
    # The order of entries means nothing. As text, because an entry may be any JSON.
    elif sorted(map(str, said)) != sorted(map(str, wanted)):
        yield StoreProblem(
            MANIFEST_FILE, "does not list the segments that there are; the next start of the service writes it", is_damage=False
        )


def _file_problems(inventory: Inventory) -> Iterator[StoreProblem]:
    # Replaced files stay while queries hold them: they are not lost and not reported.
    known = {name for segment in inventory.sealed.segments for name in segment.names} | inventory.leaving
    for name in sorted(inventory.files - known):
        yield StoreProblem(
            f"{SEGMENTS_DIRECTORY}/{name}", "belongs to no segment; the next start of the service removes it", is_damage=False
        )


def _statistics_of(inventory: Inventory, segment: Segment) -> pa.Table | str:
    found = inventory.statistics.get(segment.segment_id, "is missing")
    # Merged also here: it sorts, so that both sides of the comparison have one order.
    return found if isinstance(found, str) else merged(found)


class _SegmentCheck:
    """One segment: `read` it to the end, then ask for its `problems`."""

    def __init__(self, segment: Segment, statistics: pa.Table | str, ids: PatternIds) -> None:
        self._segment = segment
        self._ids = ids
        self._statistics = statistics
        self._counts = [COUNTS_SCHEMA.empty_table()]
        self._arrivals: list[int] = []
        self._ranges: dict[int, LogRange] = {}
        self._misplaced = 0
        # Why the file could not be read to its end; None so far.
        self._unread: Damaged | None = None

    def read(self) -> Iterator[int]:
        """Reads every record; yields how many at a time."""
        # Before the first byte: see `damage_of`.
        state = file_state(self._segment)
        # The bytes first: a parser of Parquet in C++ is not made for hostile or broken input.
        self._unread = damage_of(self._segment)
        if self._unread:
            return
        try:
            # The file is read twice, by the checksum and here; the second time mostly from the page cache.
            with pq.ParquetFile(self._segment.path) as file:
                for batch in file.iter_batches(_BATCH_ROWS):
                    # By name and type: a column that is missing is a KeyError below, one that does not fit a ValueError.
                    self._take(self._typed(pa.Table.from_batches([batch])))
                    yield batch.num_rows
        except (OSError, ValueError, KeyError) as error:  # what pyarrow raises for a file that is no Parquet of ours
            self._unread = Damaged(self._segment, f"it cannot be read as what was sealed ({type(error).__name__})", state)

    def _typed(self, records: pa.Table) -> pa.Table:
        if not self._segment.has_resources:
            records = records.append_column("resource", none(records.num_rows))
        return records.select(LOGS_SCHEMA.names).cast(LOGS_SCHEMA).combine_chunks()

    def _take(self, records: pa.Table) -> None:
        # Grouped at once: what stays of a batch is as large as its patterns, not as its records.
        self._counts.append(statistics(records))
        # Batches are never empty, so there is always a smallest and a largest.
        arrivals = pc.min_max(records.column("arrival_time"))
        self._arrivals += [arrivals["min"].value, arrivals["max"].value]
        # Offsets of different logs have nothing to do with each other.
        grouped = records.group_by("log_id").aggregate([("offset", "min"), ("offset", "max")])
        for log_id, first, last in zip(*(grouped.column(name).to_pylist() for name in ("log_id", "offset_min", "offset_max")), strict=True):
            # Ends are exclusive, the largest offset is not.
            before = self._ranges.get(log_id, LogRange(log_id, first, last + 1))
            self._ranges[log_id] = LogRange(log_id, min(first, before.first_offset), max(last + 1, before.end_offset))
        # With other masking rules other ids would be found, and none of them would be wrong.
        if self._segment.mask_version in SAME_RULES:
            found = find_patterns(records.column("service").chunk(0), records.column("message").chunk(0)).pattern_ids.to_numpy()
            stored = records.column("pattern_id").to_numpy()
            # a pattern that is stored under a former id is compared by its new one; a record without a pattern says nothing to compare
            self._misplaced += int(np.count_nonzero((self._ids.to_wire(stored) != found) & (stored != NO_PATTERN)))

    def problems(self) -> Iterator[StoreProblem]:
        """What is wrong with it."""
        file = f"{SEGMENTS_DIRECTORY}/{self._segment.path.name}"
        if isinstance(self._statistics, str):
            yield StoreProblem(f"{SEGMENTS_DIRECTORY}/{self._segment.statistics_name}", f"{self._statistics}. Restore the file from a copy")
        # Nothing else is said of it: what was read before the damage would only look like more damage.
        if self._unread:
            words = f"is damaged: {self._unread.problem}. It holds {contents(self._segment)}. Restore the file from a copy"
            yield StoreProblem(file, words, damaged=self._unread)
            return
        differences = list(self._differences())
        if differences:
            yield StoreProblem(
                file, f"its records are not those of the catalog: {'; '.join(differences)}. Restore {CATALOG_FILE} from a copy"
            )
        # Neither file nor catalog is damaged then, and no copy helps: the program had it wrong.
        if self._misplaced:
            yield StoreProblem(file, f"{self._misplaced:,} records have the id of another pattern than their message; report this")

    def _differences(self) -> Iterator[str]:
        segment, counts = self._segment, merged(pa.concat_tables(self._counts))
        yield from _differs("records", sum(counts.column("count").to_pylist()), segment.row_count)
        # Every count and both times of every group, in one comparison; both sides are sorted.
        if not isinstance(self._statistics, str) and not counts.equals(self._statistics):
            yield "the statistics by pattern, environment and severity differ"
        # No record, no smallest and largest: the difference in their number is reported above.
        if not counts.num_rows:
            return
        first, last = pc.min(counts.column("first_time")).value, pc.max(counts.column("last_time")).value
        yield from _differs("the first and the last time", (first, last), (segment.first_time, segment.last_time))
        arrivals = (min(self._arrivals), max(self._arrivals))
        yield from _differs("the first and the last arrival", arrivals, (segment.first_arrival_time, segment.last_arrival_time))
        # Sorted on both sides: the order of logs in a file means nothing.
        yield from _differs("offsets", sorted(self._ranges.values(), key=_by_log), sorted(segment.ranges, key=_by_log))


def _differs(what: str, found: object, said: object) -> Iterator[str]:
    if found != said:
        yield f"{what}: {found} in the file, {said} in the catalog"


def _by_log(part: LogRange) -> int:
    return part.log_id


def _named(names: Iterable[str]) -> str:
    all_names = list(names)
    return ", ".join(all_names[:_NAMED]) + (", ..." if len(all_names) > _NAMED else "")
