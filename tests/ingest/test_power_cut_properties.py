"""The log against a plain model on a disk that loses any part of what was not synced, fails, and fills up."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.ingest.simulated_disk import SECTOR, PowerCutError, SimulatedDisk
from treering_ingest.durable_log import Batch, DiskFullError, LogFailedError
from treering_ingest.wal import LogConfig, LogCursor, open_log
from treering_ingest.wal.inspect import _frames, _report
from treering_ingest.wal.recovery import segment_names

CAPACITY = 3
HISTORY = 5
PRODUCERS = st.sampled_from([b"", b"a", b"b", b"c", b"d"])
SIZES = st.sampled_from([0, 10, 300, 3 * SECTOR])
FAULTS = st.sampled_from(["power", "sync", "write", "space"])
MANY = int(os.environ.get("TREERING_TEST_POWER_CUTS", "0"))
"""Examples to try, for a long run; 0 = a few."""


class LogOnAForgetfulDisk(RuleBasedStateMachine):
    """`promised` is what was synced, or found by a start: all of it must be there for ever. `written` may be there after a crash, from its
    beginning on. `attempted` was given to a write that failed for lack of space: it may be there in place of `written`, or not."""

    @initialize(seed=st.integers(0, 2**32), segment_bytes=st.sampled_from([700, 2_000, 100_000]))
    def begin(self, seed: int, segment_bytes: Any) -> None:
        self.disk = SimulatedDisk(seed)
        self.config = LogConfig(segment_bytes=segment_bytes, max_producers=CAPACITY)
        self.promised, self.written, self.attempted = [], [], []
        self.number = self.start_offset = 0
        self.log_id = None
        self.time = 1_000
        self.open()

    # what the service does

    @rule(senders=st.lists(st.tuples(PRODUCERS, st.integers(0, 3), SIZES), min_size=1, max_size=4))
    def append(self, senders: list[Any]) -> None:
        group = self.group_of(senders)
        syncs = self.log.sync_count
        self.attempted.append([*self.written, *group])
        try:
            self.log.append(group, self.log.end_offset)
        except Exception:
            if self.written and not self.log.has_unsynced:  # the segment before was sealed, which syncs it
                self.keep_promise()
                self.attempted = [group]
            raise
        if self.log.sync_count != syncs:
            self.keep_promise()
        self.written += group

    def group_of(self, senders: list[Any]) -> list[Batch]:
        group, lasts = [], {}
        for producer, count, size in senders:
            self.number += 1
            sequence = (lasts.get(producer) or self.log.producers.last_sequence(producer)) + 1 if producer else 0
            lasts[producer] = sequence
            group.append(Batch(b"%d " % self.number + b"x" * size, count, producer, sequence, self.number, self.time))
        return group

    @rule()
    def sync(self) -> None:
        wrote = self.log.has_unsynced
        self.log.sync()
        if wrote:
            self.keep_promise()

    def keep_promise(self) -> None:
        self.promised += self.written
        self.written, self.attempted = [], []

    @rule(share=st.floats(0, 1))
    def delete_old_segments(self, share: float) -> None:
        self.log.release(int(self.log.synced.offset * share))

    @rule(share=st.floats(0, 1))
    def read(self, share: float) -> None:
        offset = int(self.log.synced.offset * share)
        cursor = LogCursor(self.log, offset)
        found = payloads(cursor)
        first = max(offset, self.log.start_offset)
        expected = [batch for end, batch in with_ends(self.promised) if end > first and batch.record_count]
        durable = sum(batch.record_count for batch in self.promised)
        assert found == [batch.payload for batch in expected]
        assert self.log.synced.offset == durable

    # what goes wrong

    @rule()
    def stop_and_start(self) -> None:
        self.stop()
        self.open()

    def stop(self) -> None:
        self.log.close()
        if self.written:  # or there may have been nothing to seal, and nothing was synced
            self.keep_promise()

    @rule()
    def kill_and_start(self) -> None:
        self.open()

    @rule()
    def power_cut_and_start(self) -> None:
        self.disk.cut_power()
        self.open()

    @rule()
    def plainest_power_cut_and_start(self) -> None:
        self.disk.lose_all_unsynced()
        self.open()

    @rule(fault=FAULTS, after=st.integers(0, 6), step=st.sampled_from(["append", "sync", "both", "trim", "stop", "start"]), data=st.data())
    def fault(self, fault: str, after: int, step: Any, data: st.DataObject) -> None:
        """Something fails in the middle of something; whatever that was, the next start finds what was promised."""
        steps = {"append": [self.append_some], "sync": [self.sync], "both": [self.append_some, self.sync]}
        steps |= {"trim": [self.trim_all], "stop": [self.stop], "start": [self.open]}
        self.arm(fault, after)
        try:
            for do in steps[step]:
                do()
        except PowerCutError:
            self.disk.cut_power()
        except DiskFullError:
            if step != "start":
                self.disk.heal()  # there is space again, and the same process goes on
                return
        except LogFailedError:
            self.nothing_more_is_promised(step)
        except OSError:
            assert step == "start"
        self.disk.heal()
        if data.draw(st.booleans()):
            self.disk.cut_power()
        self.open()

    def arm(self, fault: str, after: int) -> None:
        if fault == "power":
            self.disk.power_for = after
        elif fault == "sync":
            self.disk.sync_error_after = after // 2
        elif fault == "write":
            self.disk.write_error_after = after * 97
        else:
            self.disk.free_bytes = after * 97

    def append_some(self) -> None:
        self.append([(b"a", 2, 300), (b"", 1, 10), (b"b", 1, SECTOR)])

    def trim_all(self) -> None:
        self.log.release(self.log.synced.offset)

    def nothing_more_is_promised(self, step: Any) -> None:
        if step == "start":
            return
        for attempt in (self.log.sync, lambda: self.log.append([Batch(b"", 0, b"", 0, 0, 0)], self.log.end_offset)):
            with pytest.raises(LogFailedError):
                attempt()
        self.log.close()

    # a start, and what it must find

    def open(self) -> None:
        self.assert_sound()
        self.log = open_log(self.disk, self.config, self.clock)
        self.check_what_was_found()

    def assert_sound(self) -> None:
        """From outside, nothing is called damaged that a crash did."""
        if self.log_id is not None:
            problems = _report(self.disk, thorough=True).problems
            assert not [problem for problem in problems if problem.is_damage]

    def clock(self) -> int:
        """A clock that jumps: no promise depends on it."""
        self.time = self.disk.chance.randint(0, 2**63)
        return self.time

    def check_what_was_found(self) -> None:
        assert self.log_id in {None, self.log.log_id}
        self.log_id = self.log.log_id
        cursor = LogCursor(self.log, 0)
        found = payloads(cursor)
        self.start_offset = self.log.start_offset
        self.promised += self.tail_that_was_kept()
        self.written, self.attempted = [], []
        assert self.log.end_offset == self.log.synced.offset == sum(batch.record_count for batch in self.promised)
        kept = [batch for end, batch in with_ends(self.promised) if end > self.start_offset and batch.record_count]
        assert found == [batch.payload for batch in kept]
        self.check_producers()

    def tail_that_was_kept(self) -> Any:
        """What was written and not synced is there from its beginning on, or what was tried to be written in its place."""
        names = segment_names(self.disk)
        stored = [frame.payload for name in names for frame in _frames(self.disk, name, newest=name == names[-1])]
        promised = {batch.payload for batch in self.promised}
        tail = [payload for payload in stored if payload not in promised]
        promised_and_there = [batch.payload for batch in self.promised][len(self.promised) - (len(stored) - len(tail)) :]
        assert stored == [*promised_and_there, *tail]
        options = [option[: len(tail)] for option in (self.written, *self.attempted)]
        return next(option for option in options if tail == [batch.payload for batch in option])

    def check_producers(self) -> None:
        history, order = {}, []
        for end, batch in with_ends(self.promised):
            if not batch.producer_id:
                continue
            history.setdefault(batch.producer_id, []).append((batch.sequence, batch.batch_hash, batch.record_count, end))
            order = [*(other for other in order if other != batch.producer_id), batch.producer_id]
            for forgotten in order[:-CAPACITY]:
                del history[forgotten]
            order = order[-CAPACITY:]
        known = [
            (producer_id, [(item.sequence, item.batch_hash, item.record_count, item.end_offset) for item in producer.history])
            for producer_id, producer in self.log.producers
        ]
        assert known == [(producer_id, history[producer_id][-HISTORY:]) for producer_id in order]


def with_ends(batches: list[Any]) -> Iterator[tuple[Any, Any]]:
    offset = 0
    for batch in batches:
        offset += batch.record_count
        yield offset, batch


def payloads(cursor: LogCursor) -> list[bytes]:
    found = []
    while frames := cursor.read(1_000):
        found += [frame.payload for frame in frames]
    cursor.close()
    return found


class TestLogOnAForgetfulDisk(LogOnAForgetfulDisk.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(
        max_examples=MANY or 150,
        stateful_step_count=50,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure is shown as it was found: to make it smaller takes minutes
    )
