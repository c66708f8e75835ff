"""Fills a store with millions of records in minutes: drawn from the load's fleet, or from a folder of logs, with fresh digits each time.

Records pass through what seals records in the service; only delivery and decoding are left out. A pool of records is drawn, decoded and
masked once; each lot repeats it with every digit of every message drawn anew (masking takes tokens with digits for variables, so the
pattern stays), with times that run over seven days and with offsets that go on.
"""

import json
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from load.records import RecordSource

from treering.severity import severity_number
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord, Severity
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.sealed.opening import open_sealer
from treering_query.sealed.sealed_state import SealBatch
from treering_query.store.intake import DeliveryReader, Taken
from treering_query.values.schemas import LOGS_SCHEMA, PATTERNS_SCHEMA
from treering_runtime.quarantine import Change

LOG_ID = 0x7265_6572_6965_6E67
"""The log that the records are of."""

WEEK_NANOS = 7 * 86_400 * 10**9
FIRST_TIME = 1_800_000_000 * 10**9
"""The time of the first record, nanoseconds since 1970."""

_BATCH_RECORDS = 1_000
"""Records with one arrival time, as if they had been uploaded together."""

_JITTER_MILLIS = 1_000
"""Records come in their order, but not evenly."""

_ZERO, _NINE = ord("0"), ord("9")


@dataclass(frozen=True)
class Pool:
    """Records to repeat, and what they took as JSON lines."""

    taken: Taken
    mean_json_bytes: float


@dataclass(frozen=True)
class Filled:
    """What was stored."""

    records: int
    json_bytes: int
    sealed_bytes: int
    segments: int


def fleet_pool(records: int, attributes: int) -> Pool:
    """Records of the load's fleet: about 500 templates of forty services."""
    return pool(list(RecordSource(1, attributes).draw(records)))


def pool(records: Sequence[LogRecord]) -> Pool:
    """These records."""
    return _pool(records, sum(len(_as_json(record)) + 1 for record in records) / len(records))


def folder_pool(folder: Path) -> Pool:
    """The records of every `*.jsonl` file of a folder; what is no field of a record is an attribute, as `treering send` has it."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    records = [_from_json(json.loads(line)) for line in lines]
    return _pool(records, sum(len(line) + 1 for line in lines) / len(lines))


def fill(directory: Path, drawn: Pool, records: int, lot_records: int) -> Filled:
    """Seals `records` records into the data directory of a query service that does not run."""
    sealer = open_sealer(directory)
    sealer.open()
    patterns = drawn.taken.patterns
    sealed_bytes = segments = 0
    try:
        for first in range(0, records, lot_records):
            end = min(first + lot_records, records)
            segment = sealer.seal(SealBatch(_lot(drawn.taken.records, first, end, records), patterns, {LOG_ID: end}, Change()), FIRST_TIME)
            patterns = PATTERNS_SCHEMA.empty_table()
            assert segment is not None
            sealed_bytes, segments = sealed_bytes + segment.size_bytes, segments + 1
    finally:
        sealer.close()
    return Filled(records, round(drawn.mean_json_bytes * records), sealed_bytes, segments)


def _pool(records: Sequence[LogRecord], mean_json_bytes: float) -> Pool:
    frames = [_frame(first, records[first : first + _BATCH_RECORDS]) for first in range(0, len(records), _BATCH_RECORDS)]
    with tempfile.TemporaryDirectory() as directory, closing(DeliveryReader(Path(directory) / "reading", {})) as intake:
        taken, _ = intake.take(LOG_ID, frames, 0)
    return Pool(taken, mean_json_bytes)


def _frame(first: int, records: Sequence[LogRecord]) -> DeliveredFrame:
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first, record_count=len(records), arrival_time_unix_nano=1, payload=payload)


def _as_json(record: LogRecord) -> str:
    """A record as the JSON line that a program would have written."""
    known = {
        "time": "2026-11-23T19:00:00.123456Z",
        "severity": Severity.Name(record.severity).removeprefix("SEVERITY_"),
        "service": record.service,
        "environment": record.environment,
        "message": record.message,
    }
    return json.dumps(known | dict(record.attributes))


def _from_json(line: dict[str, object]) -> LogRecord:
    known = {name: str(line.pop(name, "")) for name in ("time", "severity", "service", "environment", "message")}
    return LogRecord(
        time_unix_nano=1,
        severity=Severity.ValueType(severity_number(known["severity"])),
        service=known["service"],
        environment=known["environment"],
        message=known["message"],
        attributes={name: str(value) for name, value in line.items()},
    )


def _lot(drawn: pa.Table, first: int, end: int, total: int) -> pa.Table:
    chance = np.random.default_rng(first + 1)
    offsets = np.arange(first, end, dtype=np.int64)
    table = drawn.take(pa.array(offsets % drawn.num_rows))
    times = FIRST_TIME + (offsets * (WEEK_NANOS / total)).astype(np.int64)
    times = np.sort(times + chance.integers(0, _JITTER_MILLIS, len(times)) * 1_000_000) // 1_000_000 * 1_000_000
    arrivals = times[(offsets - first) // _BATCH_RECORDS * _BATCH_RECORDS] + 500_000_000
    messages = [_fresh(chunk, chance) for chunk in table.column("message").chunks]
    columns = {
        "offset": pa.array(offsets.astype(np.uint64)),
        "time": pa.array(times).cast(pa.timestamp("ns")),
        "arrival_time": pa.array(arrivals).cast(pa.timestamp("ns")),
        "message": pa.chunked_array(messages, pa.string()),
    }
    return pa.table([columns.get(name, table.column(name)) for name in LOGS_SCHEMA.names], schema=LOGS_SCHEMA)


def _fresh(messages: pa.StringArray, chance: np.random.Generator) -> pa.StringArray:
    """The same messages with every digit drawn anew."""
    validity, offsets, data = messages.buffers()
    letters = np.frombuffer(data, np.uint8).copy()
    digits = np.flatnonzero((letters >= _ZERO) & (letters <= _NINE))
    letters[digits] = chance.integers(_ZERO, _NINE + 1, len(digits), dtype=np.uint8)
    return pa.StringArray.from_buffers(len(messages), offsets, pa.py_buffer(letters), validity, 0, messages.offset)
