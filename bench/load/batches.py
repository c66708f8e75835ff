"""Batches, serialised before the clock runs: a pool of record bytes, to which each batch adds its head and its times."""

import time
from dataclasses import asdict, dataclass

import numpy as np

from load.records import RecordSource, novel_record
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord

_RECORDS_TAG = b"\x1a"
"""Field 3 of LogBatch, length-delimited."""

_BATCH_TAG = b"\x1a"
"""Field 3 of UploadLogsRequest, length-delimited."""

_RESOURCE = {
    "host.name": "web-0007.eu-central.example",
    "k8s.pod.name": "checkout-7d4b9c6f5-x2x9k",
    "k8s.namespace.name": "shop",
    "k8s.deployment.name": "checkout",
    "service.version": "4.12.0",
    "telemetry.sdk.language": "java",
    "cloud.region": "eu-central-1",
    "process.pid": "4711",
}
"""Attributes of a batch's resource, as many as are asked for."""

_TIME_TAG = b"\x09"
"""Field 1 of LogRecord, fixed64; serialisation puts it first."""


@dataclass(frozen=True)
class Conditions:
    """What load: everything that decides its bytes but the times.

    Args:
        records_per_batch: In each batch.
        attributes: 0 or 3 for each record.
        resource_attributes: Of each batch's resource, 0 to 8.
        pool_records: Records that are drawn once; batches beyond repeat them with other times.
        novel_every: One record of a new kind in so many; 0.005 % by default; 0 = none.
        novel_from: Number of the first new kind: loads for one store that begin at different numbers share none.
        seed: Of everything.
    """

    records_per_batch: int = 1_000
    attributes: int = 0
    resource_attributes: int = 0
    pool_records: int = 200_000
    novel_every: int = 20_000
    novel_from: int = 0
    seed: int = 1


@dataclass(frozen=True)
class _Body:
    """Records of one batch: their bytes, and the places of their times in them."""

    content: "np.ndarray[tuple[int], np.dtype[np.uint8]]"
    times: "np.ndarray[tuple[int, int], np.dtype[np.int64]]"


class BatchPool:
    """Gives batch after batch of one kind of load.

    A batch costs a copy of its bytes and eight bytes a record for the times: microseconds for a thousand records.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        source = RecordSource(conditions.seed, conditions.attributes)
        self.template_count = len(source.templates)
        size = conditions.records_per_batch
        count = max(1, conditions.pool_records // size)
        encoded = [record.SerializeToString() for record in source.draw(count * size)]
        self.mean_record_bytes = sum(map(len, encoded)) / len(encoded)
        resource = dict(list(_RESOURCE.items())[: conditions.resource_attributes])
        self._resource = LogBatch(resource=resource).SerializeToString(deterministic=True)
        self._bodies = [_body(encoded[start : start + size]) for start in range(0, len(encoded), size)]

    def batch(self, number: int, producer_id: str = "") -> bytes:
        """A request with the batch of this number, counted from 1, which is also its producer's sequence."""
        head = UploadLogsRequest(producer_id=producer_id, sequence=number) if producer_id else UploadLogsRequest()
        batch = self.payload(number)
        return head.SerializeToString() + _BATCH_TAG + _varint(len(batch)) + batch

    def payload(self, number: int) -> bytes:
        """The batch itself, as the log keeps it. Its records are of now."""
        body = self._bodies[(number - 1) % len(self._bodies)]
        content = body.content.copy()
        size = self.conditions.records_per_batch
        now = time.time_ns() + np.arange(size, dtype=np.uint64)
        content[body.times] = now.view(np.uint8).reshape(-1, 8)
        return content.tobytes() + self._novel(number, size) + self._resource

    def _novel(self, number: int, size: int) -> bytes:
        """The records of a new kind that are due in this batch, in addition to its own."""
        every = self.conditions.novel_every
        if not every:
            return b""
        first, end = (number - 1) * size // every, number * size // every
        now, begin = time.time_ns(), self.conditions.novel_from
        return b"".join(_stamped(novel_record(self.conditions.seed, begin + which), now) for which in range(first, end))

    def count(self, batches: int) -> int:
        """Records in the first so many batches."""
        size, every = self.conditions.records_per_batch, self.conditions.novel_every
        return batches * size + (batches * size // every if every else 0)

    def describe(self) -> dict[str, object]:
        """The conditions, for reports."""
        made = {"templates": self.template_count, "mean_record_bytes": round(self.mean_record_bytes, 1)}
        return {**asdict(self.conditions), **made}


def _framed(record: bytes) -> bytes:
    return LogBatch(records=[LogRecord.FromString(record)]).SerializeToString()


def _stamped(record: LogRecord, now: int) -> bytes:
    record.time_unix_nano = now
    return LogBatch(records=[record]).SerializeToString()


def _body(records: list[bytes]) -> _Body:
    framed = [_framed(record) for record in records]
    ends = np.cumsum([len(frame) for frame in framed])
    starts = ends - [len(record) for record in records]
    assert all(frame[:1] == _RECORDS_TAG and record[:1] == _TIME_TAG for frame, record in zip(framed, records, strict=True))
    content = np.frombuffer(b"".join(framed), np.uint8)
    return _Body(content, (starts + 1)[:, None] + np.arange(8))


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
