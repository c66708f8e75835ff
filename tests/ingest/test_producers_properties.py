"""The log's producers against a plain model, with crashes, stops and deleted segments as ordinary steps."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from treering.v1.error_pb2 import ErrorReason
from treering_ingest.durable_log import Batch
from treering_ingest.producers import Stored, decode_snapshot, encode_snapshot
from treering_ingest.wal import LogConfig, LogCursor, PosixFileSystem, open_log
from treering_runtime.errors import ServiceError

CAPACITY = 3
HISTORY = 5
IDS = st.sampled_from([b"", b"a", b"b", b"c", b"d", "é".encode()])


class Model:
    """What the contract says, in lists."""

    def __init__(self) -> None:
        self.records = []
        self.batches = {}
        self.order = []

    def expect(self, producer: bytes, sequence: int, digest: int) -> str | tuple[Any, Any]:
        known = self.batches.get(producer, [])
        last = known[-1][0] if known else 0
        if not producer:
            return "INVALID_FIELD" if sequence else "new"
        if sequence == 0:
            return "INVALID_FIELD"
        if sequence == last + 1:
            return "new"
        if not known:
            return "PRODUCER_UNKNOWN"
        if sequence > last:
            return "SEQUENCE_GAP"
        recent = {number: (held, end) for number, held, end in known[-HISTORY:]}
        return recent[sequence] if sequence in recent and recent[sequence][0] == digest else "SEQUENCE_REUSED"

    def store(self, producer: bytes, sequence: int, digest: int, count: int) -> None:
        self.records += [(producer, sequence)] * count
        if not producer:
            return
        self.batches.setdefault(producer, []).append((sequence, digest, len(self.records)))
        self.order = [*(other for other in self.order if other != producer), producer]
        for forgotten in self.order[:-CAPACITY]:
            del self.batches[forgotten]
        self.order = self.order[-CAPACITY:]


class ProducersOfALog(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.model = Model()
        self.trimmed = 0
        self.open()

    def open(self) -> None:
        self.log = open_log(PosixFileSystem(self.path), LogConfig(segment_bytes=600, max_producers=CAPACITY))

    @rule(producer=IDS, step=st.integers(-6, 3), content=st.integers(0, 1), count=st.integers(0, 3))
    def send(self, producer: bytes, step: int, content: int, count: int) -> None:
        sequence = max(0, self.log.producers.last_sequence(producer) + step)
        expected = self.model.expect(producer, sequence, content)
        if isinstance(expected, str) and expected != "new":
            with pytest.raises(ServiceError) as caught:
                self.log.producers.check(producer, sequence, content)
            assert ErrorReason.Name(caught.value.reason) == f"ERROR_REASON_{expected}"
            return
        found = self.log.producers.check(producer, sequence, content)
        if found:
            assert (found.batch_hash, found.end_offset) == expected
            return
        assert expected == "new"
        self.log.append([Batch(b"payload", count, producer, sequence, content, 7)], self.log.end_offset)
        self.log.sync()
        self.model.store(producer, sequence, content, count)

    @rule()
    def stop_and_start(self) -> None:
        self.log.close()
        self.open()

    @rule()
    def crash_and_start(self) -> None:
        self.log._active.file.close()
        self.open()

    @precondition(lambda self: len(self.log.segments) > 2)
    @rule()
    def delete_old_segments(self) -> None:
        self.log.release(self.log.end_offset)

    @invariant()
    def the_log_agrees_with_the_model(self) -> None:
        if not hasattr(self, "log"):
            return
        assert self.log.end_offset == self.log.synced.offset == len(self.model.records)
        known = {producer: [item.end_offset for item in kept.history] for producer, kept in self.log.producers}
        assert known == {producer: [end for _, _, end in kept[-HISTORY:]] for producer, kept in self.model.batches.items()}
        cursor = LogCursor(self.log, 0)
        held = [(frame.producer_id, frame.sequence) for frame in cursor.read(1 << 20) for _ in range(frame.record_count)]
        cursor.close()
        assert held == self.model.records[self.log.start_offset :]

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()
            shutil.rmtree(self.path)


@pytest.fixture(autouse=True)
def _below_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestProducersOfALog(ProducersOfALog.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_snapshot_is_the_table() -> None:
    log_table = decode_snapshot(encode_snapshot(decode_snapshot(b"\0\0\0\0")))
    for number in range(1, 9):
        log_table.store(b"x" * number, Stored(number, 2**64 - number, number, number * 10))
        log_table.store(b"me", Stored(number, number, 1, number))
    copy = decode_snapshot(encode_snapshot(log_table))
    assert list(copy) == list(log_table)
    assert [producer_id for producer_id, _ in copy][-1] == b"me"
