"""Batches as ingest hands them to its log."""

import xxhash

from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering_ingest.durable_log import Batch


def make_batch(
    producer_id: bytes = b"", sequence: int = 0, count: int = 1, text: str = "something happened", arrival: int = 1_000
) -> Batch:
    records = [LogRecord(message=f"{text} {index}") for index in range(count)]
    payload = LogBatch(records=records).SerializeToString()
    return Batch(payload, count, producer_id, sequence, xxhash.xxh3_64_intdigest(payload), arrival)
