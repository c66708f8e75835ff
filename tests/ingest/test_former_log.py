"""A log that the version before left, and one that a version to come left."""

from pathlib import Path

import grpc
import pytest

from tests.ingest.conftest import MakeBatch, OpenLog, Running
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_ingest.digest import LogDigester
from treering_ingest.wal import CorruptLogError, frame
from treering_ingest.wal.inspect import cat, verify
from treering_runtime.errors import ServiceError

MANIFEST = b'{"format": 1, "log_id": "d0b12f14585c7075", "first_segment": 1, "last_segment": 1}\n641ae4fb\n'
SEGMENT = bytes.fromhex(
    "545245455257414c010000000000000075705c58142fb1d0010000000000000000000000000000000000f323845bd7180a1b226cbc53826e00000000"
    "04000000c74b6748e1c11c34000000005452465268000000000000000000000002000000020000000000f323845bd7180100000000000000af6be807"
    "5dc73c744c000000e1c11c34f62cfa446d65676994100a026d6510011a4909003658e8835bd71810091a08636865636b6f7574220470726f642a106f"
    "72646572203720776173207061696432080a026d73120231323a10000102030405060708090a0b0c0d0e0f1a152a136f726465722038207761732072"
    "656675736564545246521e000000020000000000000001000000020000000100f323845bd71802000000000000008c0d9fffc0fac90a4c0000006769"
    "9410928a91126d6529d390af0a026d6510021a161a0264622a10746865206469736b2069732066756c6c545246521400000003000000000000000100"
    "0000000000000200f323845bd7180000000000000000237c26165e8d2c4b4c00000029d390af8391fd65080b11981a122a106e6f626f64792073656e"
    "742074686973"
)
"""Killed after three uploads, the second of which had a record without a text."""

DIGESTS = [4358345873751942736, 3874603919681777753, 16436473126003375273, 15142041488079779209]
"""What that version computed for each record."""

FIRST = [
    LogRecord(
        time_unix_nano=1_789_999_999_000_000_000,
        severity=9,
        service="checkout",
        environment="prod",
        message="order 7 was paid",
        attributes={"ms": "12"},
        trace_id=bytes(range(16)),
    ),
    LogRecord(message="order 8 was refused"),
]
SECOND = [LogRecord(message=""), LogRecord(message="the disk is full", service="db")]


@pytest.fixture
def former(tmp_path: Path) -> Path:
    directory = tmp_path / "wal"
    directory.mkdir()
    (directory / "MANIFEST").write_bytes(MANIFEST)
    (directory / "0000000001-00000000000000000000.wal").write_bytes(SEGMENT)
    return directory


def test_it_is_read_as_it_is(former: Path, opened: OpenLog, batch: MakeBatch) -> None:
    records = [record for each in cat(former) for record in LogBatch.FromString(each.payload).records]
    assert records == [*FIRST, SECOND[1], LogRecord(message="nobody sent this")]
    assert verify(former).is_sound
    with opened(path=former) as log:
        assert (log.end_offset, log.producers.last_sequence(b"me")) == (4, 2)
        log.append([batch(b"me", 3)], 4)
        log.sync()
        with_digests = LogDigester(log)
        assert [run.digest for run in with_digests._digest(0, 4, 1).runs] == DIGESTS
        with_digests.close()
    assert verify(former).is_sound
    assert [each.first_offset for each in cat(former)] == [0, 2, 3, 4]


async def test_a_batch_in_it_that_comes_again_in_the_new_form_is_recognised(former: Path, running: Running) -> None:
    del former
    async with running() as (process, stub):
        again = [
            UploadLogsRequest(producer_id="me", sequence=1, batch=LogBatch(records=FIRST)),
            UploadLogsRequest(producer_id="me", sequence=2, batch=LogBatch(records=SECOND)),
        ]
        answer = await stub.UploadLogs(iter(again))
        assert (answer.accepted_count, answer.duplicate_count, len(answer.rejected_records)) == (0, 3, 1)
        for other in (LogBatch(records=FIRST[:1]), LogBatch(records=FIRST, resource={"k": "v"})):
            request = UploadLogsRequest(producer_id="me", sequence=1, batch=other)
            with pytest.raises(grpc.aio.AioRpcError, match="sequence 1 is already stored with other content"):
                await stub.UploadLogs(iter([request]))
        following = UploadLogsRequest(producer_id="me", sequence=3, batch=LogBatch(records=FIRST[1:]))
        assert (await stub.UploadLogs(iter([following]))).end_offset_exclusive == 5
        assert process.log.end_offset == 5


@pytest.mark.parametrize("crash", [True, False])
def test_payloads_of_a_version_to_come_are_refused_and_not_cut(
    tmp_path: Path, opened: OpenLog, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, crash: bool
) -> None:
    with opened(crash=crash) as log, monkeypatch.context() as later:
        log.append([batch()], 0)
        log.sync()
        later.setattr(frame, "PAYLOAD_VERSION", 2)
        log.append([batch(text="in another form")], 1)
        log.sync()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    words = "a payload of version 2; this Treering knows up to 1; use a newer Treering"
    with pytest.raises(CorruptLogError, match=words), opened():
        pass
    with pytest.raises(CorruptLogError, match=words):
        list(cat(tmp_path))
    (problem,) = verify(tmp_path).problems
    assert (problem.is_damage, problem.problem) == (True, "a payload of version 2; this Treering knows up to 1")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_hash_of_before_is_asked_for_only_where_the_new_one_is_not_known(opened: OpenLog, batch: MakeBatch) -> None:
    with opened() as log:
        log.append([batch(b"me", 1)], 0)
        asked = []
        known = batch(b"me", 1).batch_hash
        assert log.producers.check(b"me", 2, 7, lambda: asked.append(1)) is None  # type: ignore[return-value]
        assert log.producers.check(b"me", 1, known, lambda: asked.append(1)).batch_hash == known  # type: ignore[return-value]
        assert not asked
        assert log.producers.check(b"me", 1, 7, lambda: known).batch_hash == known
        with pytest.raises(ServiceError, match="with other content"):
            log.producers.check(b"me", 1, 7, lambda: 8)
