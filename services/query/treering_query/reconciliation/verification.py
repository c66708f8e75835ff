"""Does the store hold what the log holds, and the index what the store holds.

What retention has removed is no difference. The store says of which runs of offsets it has removed how many records: so many may be missing
there, and in all no more than that; what is still there must be what the log holds.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from treering.errors import InternalError
from treering.v1.log_pb2 import Position
from treering_query.reconciliation.expired import ExpiredRuns
from treering_query.reconciliation.set_aside import SetAside
from treering_runtime.pattern_id import NO_PATTERN, pattern_id

if TYPE_CHECKING:
    from treering.admin import AdminClient
    from treering.client import Client
    from treering.v1.log_pb2 import RangeDigest

_WINDOW = 262_144
"""Offsets in one question: the most that the services digest at a time."""
_STEP = 4_096
"""Offsets in one run; a run that differs is looked at again, offset by offset."""
_NARROWED = 32
"""So many runs are looked at again; of further ones only the run is named."""
_SHOWN_PATTERNS = 10
_ASKED_AT_ONCE = 1_000
"""Patterns, and runs of offsets, in one question of SQL."""
_SQL_MS = 60_000
_MAX_PATTERNS = 10_000_000
"""The most rows that SQL gives."""


@dataclass(frozen=True)
class Difference:
    """Offsets at which store and log differ."""

    first_offset: int
    end_offset: int
    expected_count: int
    """Records that the log holds there and that are not set aside; as many as there are offsets where the log has deleted its part."""
    store_count: int
    """Records that the store holds there."""
    in_log: bool
    """Whether the log still holds them."""
    unsure: bool = False
    """Some records there are set aside or removed by retention, so that digests of the others can be compared one by one only."""


@dataclass
class ReconciliationReport:
    """What was compared and what was found."""

    log_id: str = ""
    start_offset: int = 0
    """The oldest offset of the log; below it store and index are compared only with themselves."""
    end_offset: int = 0
    """Everything below was compared."""
    pattern_count: int = 0
    set_aside_count: int = 0
    """Records of the log that the store set aside: stored + set aside + expired = acknowledged."""
    expired_count: int = 0
    """Records that are missing in the store because retention removed them."""
    skipped_count: int = 0
    """Records that the store does without because an operator made a hole."""
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong besides."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and no fault."""

    @property
    def good(self) -> bool:
        """Whether nothing differs."""
        return not (self.differences or self.problems)

    def as_json(self) -> dict[str, object]:
        """What `treering verify --json` answers."""
        found = asdict(self)
        for difference in found["differences"]:
            del difference["unsure"]
        return {"ok": self.good, **found}


class Verification:
    """One comparison of everything below the log's end at its beginning. Records never change, so it may go on while others come."""

    def __init__(self, client: "Client", admin: "AdminClient") -> None:
        self._client, self._admin = client, admin
        status = client.get_ingest_status()
        self._log_id, self._end = status.log_id, status.end_offset_exclusive
        self._upto: list[Position] = [Position(log_id=self._log_id, offset=self._end)] if self._end else []
        self._expired = ExpiredRuns()
        self.report = ReconciliationReport(str(status.log_id), status.start_offset, self._end)

    def run(self) -> ReconciliationReport:
        """Everything."""
        for first in range(0, self._end, _WINDOW):
            self._compare(first, min(first + _WINDOW, self._end), _STEP, self.report)
        self._narrow()
        self._count_expired()
        self._compare_patterns()
        self._note_the_rest()
        return self.report

    @functools.cached_property
    def _holes(self) -> "dict[str, list[tuple[int, int]]]":
        """Of query and embed, in this log and below the end: their records are in no store."""
        found = {"query": self._client.get_query_status().holes, "embed": self._client.get_embed_status().holes}
        return {
            sink: [(each.first_offset, min(each.end_offset_exclusive, self._end)) for each in holes if each.log_id == self._log_id]
            for sink, holes in found.items()
        }

    @functools.cached_property
    def _absent(self) -> SetAside:
        """What the store need not have: set aside, or in a hole."""
        return SetAside([*self._set_aside.runs, *self._holes["query"]])

    @functools.cached_property
    def _set_aside(self) -> SetAside:
        """Of the store; looked up once the store has all that is compared."""
        return SetAside.of(self._admin, "query", self._log_id, self._end)

    def _compare(self, first: int, end: int, step: int, report: ReconciliationReport) -> None:
        log = self._admin.digest_log(first, end, step=step)
        store = self._admin.digest_store(self._log_id, first, end, step=step, min_positions=self._upto)
        report.start_offset = max(report.start_offset, log.start_offset)
        problems = [*([f"the log is damaged: {log.problem}"] if log.problem else []), *(f"store: {each}" for each in store.problems)]
        report.problems += [problem for problem in problems if problem not in report.problems]
        self._expired.learn(store.expired)
        report.differences += _differences(log.ranges, store.ranges, log.start_offset, self._absent, self._expired)

    def _narrow(self) -> None:
        """Looks at runs that differ offset by offset."""
        coarse, self.report.differences = self.report.differences, []
        unsure, different = [run for run in coarse if run.unsure], [run for run in coarse if not run.unsure]
        for run in (*unsure, *different[:_NARROWED]):
            self._compare(run.first_offset, run.end_offset, 1, self.report)
        found = sorted(self.report.differences, key=lambda each: each.first_offset)
        self.report.differences = list(_joined(found)) + different[_NARROWED:]

    def _count_expired(self) -> None:
        self.report.expired_count = found = self._expired.found
        if found > self._expired.removed:
            problem = f"retention removed {self._expired.removed:,} records of the store, and {found:,} are missing where it did"
            self.report.problems.append(f"{problem}; the others are lost")

    def _compare_patterns(self) -> None:
        """Every pattern that a record has must be registered, and every registered one indexed."""
        stored = self._stored_patterns()
        self.report.pattern_count = len(stored)
        registered: set[int] = set()
        keyword_only: set[int] = set()
        forgotten = 0
        for part in self._admin.digest_index(min_positions=self._upto):
            registered.update(part.indexed_ids, part.pending_ids, part.unreadable_ids, part.missing_ids)
            self._say("of the registry are missing in the index; restart embed, which encodes them again", part.missing_ids)
            self._say("are in the index and in no registry; restart embed, which deletes them", part.unknown_ids)
            self._count("wait for their vectors", len(part.pending_ids))
            self._count("have no vector: the model gives no finite one", len(part.unreadable_ids))
            keyword_only.update(part.keyword_only_ids)
            forgotten += part.forgotten_keyword_only_count
        unregistered = {key: now for key, now in self._ids_of_today(sorted(stored - registered)).items() if now not in registered}
        absent = [key for key, now in unregistered.items() if not {key, now} & keyword_only]
        self._count("are found by their words only: a cap of embed was reached", len(unregistered) - len(absent))
        self._judge(self._not_excused(absent), forgotten)

    def _judge(self, absent: Sequence[int], forgotten: int) -> None:
        """Patterns that embed does not name; of so many it may have forgotten that a cap kept them out."""
        if 0 < len(absent) <= forgotten:
            self._count("are not known to embed, which no longer names all that a cap kept out: found by their words only", len(absent))
        else:
            self._say("of the store are not known to embed", absent)

    def _ids_of_today(self, patterns: Sequence[int]) -> dict[int, int]:
        """By the id that the store keeps, the one of today's rules: embed may know a pattern by either."""
        rows = self._asked_of("select pattern_id, service, text from patterns where pattern_id in ({ids}) order by pattern_id", patterns)
        return {row["pattern_id"]: pattern_id(row["service"], row["text"]) for row in rows}

    def _asked_of(self, query: str, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The rows of a query that is asked of some patterns at a time."""
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            some = query.format(ids=", ".join(map(str, ids[start : start + _ASKED_AT_ONCE])))
            yield from self._client.sql(some, max_rows=_ASKED_AT_ONCE, timeout_ms=_SQL_MS).table().to_pylist()

    def _not_excused(self, absent: list[int]) -> list[int]:
        """The patterns that have a record which embed did not set aside."""
        runs = SetAside.of(self._admin, "embed", self._log_id, self._end).runs if absent else []
        runs += self._holes["embed"]
        if not runs or len(runs) > _ASKED_AT_ONCE:
            return absent
        aside = " or ".join(f'"offset" between {first} and {end - 1}' for first, end in runs)
        query = f"select distinct pattern_id from logs where pattern_id in ({{ids}}) and not (log_id = {self._log_id} and ({aside}))"
        found = {row["pattern_id"] for row in self._asked_of(query, absent)}
        excused = len(absent) - len(found)
        self._count("are not known to embed, because it set their records aside: treering quarantine list --sink embed", excused)
        return sorted(found)

    def _stored_patterns(self) -> set[int]:
        query = "select pattern_id from patterns"
        try:
            found = self._client.sql(query, max_rows=_MAX_PATTERNS, min_positions=tuple(self._upto), timeout_ms=_SQL_MS)
        except InternalError as error:  # a file that cannot be read: verify is for just that, and goes on
            self.report.problems.append(f"the patterns of the store cannot be read: {error.message}")
            return set()
        return set(found.table().column("pattern_id").to_pylist()) - {NO_PATTERN}

    def _say(self, what: str, ids: Sequence[int]) -> None:
        if ids:
            more = ", ..." if len(ids) > _SHOWN_PATTERNS else ""
            self.report.problems.append(f"{len(ids):,} patterns {what}: {', '.join(map(str, ids[:_SHOWN_PATTERNS]))}{more}")

    def _count(self, what: str, count: int) -> None:
        if count:
            self.report.notes.append(f"{count:,} patterns {what}")

    def _note_the_rest(self) -> None:
        if self.report.start_offset:
            below = min(self.report.start_offset, self._end)
            self.report.notes.append(
                f"offsets below {below} are no longer in the log: there, store and index were compared with each other"
            )
        if self.report.expired_count:
            self.report.notes.append(f"{self.report.expired_count:,} records were removed from the store by retention")
        self.report.set_aside_count = self._set_aside.count
        if self._set_aside.count:
            self.report.notes.append(
                f"{self._set_aside.count:,} records could not be read and are set aside: treering quarantine list --sink query"
            )
        self._note_holes()
        status = self._client.get_query_status()
        others = [str(position.log_id) for position in status.seen if position.log_id != self._log_id]
        if others:
            self.report.notes.append(f"the store also holds records of logs that ingest no longer has: {', '.join(others)}; not compared")

    def _note_holes(self) -> None:
        self.report.skipped_count = sum(end - first for first, end in self._holes["query"])
        for sink, runs in self._holes.items():
            for first, end in runs:
                self.report.notes.append(
                    f"{sink} does without offsets {first} to {end - 1}, {end - first:,} records, for good: a hole that an operator made "
                    "(treering store skip)"
                )


def _differences(
    log: Sequence["RangeDigest"], store: Sequence["RangeDigest"], start_offset: int, set_aside: SetAside, expired: ExpiredRuns
) -> Iterator[Difference]:
    """The runs that differ. Where the log has deleted its part, offsets without gaps and repeats are what can be checked."""
    for logged, stored in zip(log, store, strict=True):
        first, end = stored.first_offset, stored.end_offset_exclusive
        in_log = first >= start_offset
        aside = set_aside.between(first, end)
        expected = (logged.record_count if in_log else end - first) - aside
        missing = expected - stored.record_count
        removed = 0 < missing <= expired.between(first, end)
        unsure = in_log and expected > 0 and (aside > 0 or (removed and stored.record_count > 0))
        if removed and not unsure:
            expired.found += missing
        elif unsure or stored.record_count != expected or (in_log and not aside and logged.digest != stored.digest):
            yield Difference(first, end, expected, stored.record_count, in_log, unsure)


def _joined(found: Sequence[Difference]) -> Iterator[Difference]:
    """Neighbours that differ alike as one."""
    open_run: Difference | None = None
    for each in found:
        if open_run and each.first_offset == open_run.end_offset and _kind(each) == _kind(open_run):
            expected, stored = open_run.expected_count + each.expected_count, open_run.store_count + each.store_count
            open_run = Difference(open_run.first_offset, each.end_offset, expected, stored, each.in_log)
            continue
        if open_run:
            yield open_run
        open_run = each
    if open_run:
        yield open_run


def _kind(each: Difference) -> tuple[bool, bool, bool]:
    return each.in_log, each.store_count < each.expected_count, each.store_count > each.expected_count
