"""The store against a plain list of records: deliveries, seals, stops, crashes, retention and merges in any order."""

import asyncio
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from prometheus_client import CollectorRegistry

from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.retention.upkeep import Policy
from treering_query.store.deliveries import HotBounds
from treering_query.store.store import Store
from treering_query.view.engine import SnapshotEngine

LOG_ID = 7
ARRIVAL = 1_800_000_000 * 10**9
LONG_AFTER = ARRIVAL + 10**6 * 10**9
SERVICES = ("a", "b", "c")
WORDS = ("login", "logout", "timeout")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """What the model knows of one record; service and word make its pattern."""

    offset: int
    service: str
    severity: int
    word: str
    sealed: bool = False


ROWS = st.lists(st.tuples(st.sampled_from(SERVICES), st.sampled_from([9, 13, 17]), st.sampled_from(WORDS)), min_size=1, max_size=6)


class StoreOfALog(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.loop = asyncio.Runner()
        self.path = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.log = []  # frames, as the log keeps them
        self.content = []  # a row for each offset of the log
        self.seen = self.sealed_end = 0
        self.held = {}  # what the store must show: rows by offset
        self.owed = False  # patterns without a record may still be there, until a turn of upkeep reaches its end
        self.run(self.open())

    def run(self, work):
        return self.loop.run(work)

    async def open(self):
        self.engine = SnapshotEngine(self.path / "spill", memory_bytes=64 * MIB, threads=1, running=1, waiting=1, timeout_s=30)
        self.store = Store(self.path, self.engine, HotBounds(10**6, 64 * MIB, 3600), CollectorRegistry())
        await self.store.open()
        await self.store.open_log(LOG_ID, 0)
        assert self.store.board.get(LOG_ID).next_offset == self.sealed_end

    async def close(self):
        await self.store.close()
        self.engine.close()

    @rule(batches=st.lists(ROWS, max_size=3), back=st.integers(0, 4))
    def deliver(self, batches, back):
        """New frames, after those that the store has not yet and up to `back` that it has."""
        for batch in batches:
            self.log.append(self.frame(batch))
        first_new = sum(frame.first_offset + frame.record_count <= self.seen for frame in self.log)
        self.run(self.store.deliver(LOG_ID, self.log[max(0, first_new - back) :], len(self.content)))
        self.held |= {row.offset: row for row in self.content[self.seen :]}
        self.seen = len(self.content)

    def frame(self, batch):
        first = len(self.content)
        self.content += [Row(first + place, *fields) for place, fields in enumerate(batch)]
        records = [
            LogRecord(time_unix_nano=ARRIVAL - row.offset, service=row.service, severity=row.severity, message=f"{row.word} {row.offset}")
            for row in self.content[first:]
        ]
        payload = LogBatch(records=records).SerializeToString()
        return DeliveredFrame(first_offset=first, record_count=len(records), arrival_time_unix_nano=ARRIVAL + first, payload=payload)

    @rule()
    def seal(self):
        self.run(self.store.seal())
        self.held = {offset: replace(row, sealed=True) for offset, row in self.held.items()}
        self.sealed_end = self.seen
        assert self.store.board.get(LOG_ID).releasable_end == self.sealed_end

    @rule(times=st.integers(2, 5))
    def seal_small_ones(self, times):
        for _ in range(times):
            self.deliver([[("a", 9, "login")]], 0)
            self.seal()

    @rule()
    def reopen(self):
        self.run(self.close())
        self.forget_hot()
        self.run(self.open())

    @rule()
    def reopen_after_a_crash(self):
        """What the disk holds while the store runs is what a killed process leaves."""
        left = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.run(self.store._files.change(lambda _: shutil.copytree(self.path, left, dirs_exist_ok=True)))
        self.run(self.close())
        shutil.rmtree(self.path)
        self.path = left
        self.forget_hot()
        self.run(self.open())

    def forget_hot(self):
        # A record that was hot may have been the last of a pattern that is on the disk: it stays until the next turn of upkeep.
        self.owed |= any(not row.sealed for row in self.held.values())
        self.held = {offset: row for offset, row in self.held.items() if row.sealed}
        self.seen = self.sealed_end

    @rule(gone=st.sets(st.sampled_from(SERVICES), max_size=3))
    def retention_of_services(self, gone):
        self.keep_up(Policy(service_age_s=dict.fromkeys(gone, 1)), gone)

    @rule(kept=st.sets(st.sampled_from(SERVICES), max_size=1))
    def retention_of_all_but_some(self, kept):
        self.keep_up(Policy(age_s=1, service_age_s=dict.fromkeys(kept, 0)), set(SERVICES) - kept)

    @rule(rows=st.sampled_from([4, 20, 500_000]))
    def compaction(self, rows):
        self.keep_up(Policy(merge_up_to_rows=rows), set())

    @rule()
    def embed_is_away(self):
        async def away(pattern_ids, below):
            raise ConnectionError

        self.expect_without(set(SERVICES))
        self.owed |= self.run(self.turn(Policy(age_s=1), away)) == "away"

    def keep_up(self, policy, gone):
        """Turns until nothing is due; each loses only what is due, and doubles nothing."""
        before = set(self.held)
        self.expect_without(gone)
        for _ in range(20):
            made = self.run(self.turn(policy, self.told))
            offsets = self.ask('select "offset" from logs')
            assert len(offsets) == len(set(offsets))
            assert set(self.held) <= {offset for (offset,) in offsets} <= before
            if not made:
                break
        else:
            raise AssertionError("upkeep comes to no end")
        self.owed = False

    def expect_without(self, gone):
        self.held = {offset: row for offset, row in self.held.items() if not (row.sealed and row.service in gone)}

    async def turn(self, policy, forget):
        try:
            return await self.store.keep_up(policy, LONG_AFTER, forget)
        except ConnectionError:
            return "away"

    async def told(self, pattern_ids, below):
        assert [(position.log_id, position.offset) for position in below] == [(LOG_ID, self.seen)]
        with self.store.snapshot() as snapshot:
            held = snapshot.query("select distinct pattern_id from logs").column(0).to_pylist()
        assert set(pattern_ids).isdisjoint(held)

    def ask(self, sql):
        with self.store.snapshot() as snapshot:
            return [tuple(row.values()) for row in snapshot.query(sql).to_pylist()]

    @invariant()
    def shows_every_record_once(self):
        found = self.ask("select \"offset\", service, severity, split_part(message, ' ', 1) from logs order by 1")
        assert found == [(row.offset, row.service, row.severity, row.word) for _, row in sorted(self.held.items())]

    @invariant()
    def counts_without_reading_agree(self):
        rows = self.held.values()
        found = self.ask("select service, split_part(text, ' ', 1), count from patterns")
        assert Counter({(service, word): count for service, word, count in found}) == Counter((row.service, row.word) for row in rows)
        assert len(found) == len({(row.service, row.word) for row in rows})
        by_severity = dict(self.ask("select severity, sum(count)::bigint from pattern_counts group by 1"))
        assert by_severity == Counter(row.severity for row in rows)

    @invariant()
    def lists_the_patterns_that_have_a_record(self):
        listed = [row for table in self.store.view.patterns for row in table.select(["service", "text"]).to_pylist()]
        known = {(row["service"], row["text"].split()[0]) for row in listed}
        expected = {(row.service, row.word) for row in self.held.values()}
        assert len(listed) == len(known)
        assert known >= expected if self.owed else known == expected

    def teardown(self):
        self.run(self.close())
        self.loop.close()
        shutil.rmtree(self.path)


@pytest.fixture(autouse=True)
def _below_the_tests_own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestStoreOfALog(StoreOfALog.TestCase):
    settings = settings(max_examples=5, stateful_step_count=12, deadline=None)
