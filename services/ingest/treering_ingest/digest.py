"""Digests of runs of the log, as `RangeDigest` in the contract defines them: the plain twin of what the store computes in columns."""

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from treering.v1.log_pb2 import RangeDigest
from treering_ingest.durable_log import DurableLog, LogDamagedError, StoredBatch
from treering_ingest.limits import DELIVERY_REQUEST_BYTES, MAX_DIGEST_OFFSETS, MAX_DIGEST_RUNS
from treering_ingest.raw_records import RawRecord, raw_batch
from treering_runtime.admission import Admission
from treering_runtime.errors import invalid_field
from treering_runtime.limits import MAX_NAME_BYTES, MAX_TIME_UNIX_NANO, MAX_WAITING_DIGESTS

_MODULUS = 1 << 64
_MAX_SEVERITY = 24
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_DUPLICATE_PREFIX = "treering.duplicate."

NO_RESOURCE: Mapping[str, str] = MappingProxyType({})
"""Of a batch that says nothing of its sender."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Runs of a log, and what hindered their reading."""

    runs: list[RangeDigest]
    problem: str


class LogDigester:
    """Digests parts of a log, one at a time, on a thread of its own; callers that wait take turns.

    On threads that others use too, callers that wait for their turn would hold up deliveries.

    Args:
        log: The log; it may be written and trimmed meanwhile.
    """

    def __init__(self, log: DurableLog) -> None:
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._admission = Admission("digests", 1, MAX_WAITING_DIGESTS, words="digests")

    async def digest(self, first_offset: int, end_offset: int, step: int) -> Digests:
        """The digests of `[first_offset, end_offset)`, below the durable end, in runs of `step` offsets.

        Cancelled before its turn it costs nothing; later its work goes on to the end, a second at most.

        Raises:
            ServiceError: INVALID_FIELD; OVERLOADED, when too many wait.
        """
        _check(first_offset, end_offset, step)
        # Bounded before the thread's queue, which has no bound. A call that is cancelled in that queue is taken out of it.
        async with self._admission.slot(None):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._digest, first_offset, end_offset, step)

    def close(self) -> None:
        """Ends the thread; what waits for its turn is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _digest(self, first_offset: int, end_offset: int, step: int) -> Digests:
        # The durable end now: a digest of records that a power cut may take back would accuse a store that never had them.
        runs = empty_runs(first_offset, min(end_offset, self._log.durable_offset), step)
        return Digests(runs, self._fill(runs, step))

    def _fill(self, runs: list[RangeDigest], step: int) -> str:
        if not runs:
            return ""
        end = runs[-1].end_offset_exclusive
        # Each call has a follower of its own, so it holds up no delivery; it costs a descriptor until `close`.
        cursor = self._log.follow(runs[0].first_offset)
        try:
            while frames := cursor.read(DELIVERY_REQUEST_BYTES):
                for frame in frames:
                    _add(runs, frame, step)
                if frames[-1].end_offset >= end:
                    break
        # Said in the answer, with what could be read until here: whoever compares wants to know where the damage begins.
        except LogDamagedError as error:
            return str(error)
        finally:
            cursor.close()
        return ""


def empty_runs(first_offset: int, end_offset: int, step: int) -> list[RangeDigest]:
    """Runs of `step` offsets without a record yet."""
    starts = range(first_offset, end_offset, step)
    return [RangeDigest(first_offset=start, end_offset_exclusive=min(start + step, end_offset)) for start in starts]


def _check(first_offset: int, end_offset: int, step: int) -> None:
    if not 0 <= end_offset - first_offset <= MAX_DIGEST_OFFSETS:
        problem = f"must be 0 to {MAX_DIGEST_OFFSETS} after first_offset; ask several times"
        raise invalid_field("end_offset_exclusive", problem, limit=MAX_DIGEST_OFFSETS)
    if step < 1 or (end_offset - first_offset) / step > MAX_DIGEST_RUNS:
        raise invalid_field("step", f"must be at least 1 and give at most {MAX_DIGEST_RUNS} runs", limit=MAX_DIGEST_RUNS)


def _add(runs: list[RangeDigest], frame: StoredBatch, step: int) -> None:
    start, end = runs[0].first_offset, runs[-1].end_offset_exclusive
    batch = raw_batch(frame.payload)
    resource = {entry.key: entry.value for entry in batch.resource}
    for offset, record in enumerate(batch.records, start=frame.first_offset):
        # Batches do not end where runs do: the first and the last one may have records outside.
        if start <= offset < end:
            run = runs[(offset - start) // step]
            run.record_count += 1
            # A sum, so that the order in which a store adds up the records of a run makes no difference.
            run.digest = (run.digest + record_digest(offset, frame.arrival_time_unix_nano, record, resource)) % _MODULUS


def record_digest(offset: int, arrival_time: int, record: RawRecord, resource: Mapping[str, str] = NO_RESOURCE) -> int:
    """The number of one record, normalised as the store does it, with what holds for its batch."""
    # What is put right is added behind the sender's own attributes: of a key that comes twice, the last value is the one that counts.
    time, severity = record.time_unix_nano, int(record.severity)
    pairs = [(_cut(entry.key), entry.value) for entry in record.attributes]
    pairs += [("treering.attribute_key", entry.key) for entry in record.attributes if _cut(entry.key) != entry.key]
    if not 0 < time <= MAX_TIME_UNIX_NANO:
        time = arrival_time
        if record.time_unix_nano:
            pairs.append(("treering.time_unix_nano", str(record.time_unix_nano)))
    if not 0 <= severity <= _MAX_SEVERITY:
        pairs.append(("treering.severity", str(severity)))
        severity = 0
    service = _name(record.service, "treering.service", pairs)
    environment = _name(record.environment, "treering.environment", pairs)
    trace_id = _id(record.trace_id, _TRACE_ID_BYTES, "treering.trace_id", pairs)
    span_id = _id(record.span_id, _SPAN_ID_BYTES, "treering.span_id", pairs)
    # What is the record's own wins, also what was put right in it. Sorted: a map has no order of its own.
    attributes = "\x02".join(sorted(f"{key}\x01{value}" for key, value in {**resource, **_unique(pairs)}.items()))
    fields = (offset, arrival_time, time, severity, service, environment, record.message, trace_id, span_id, attributes)
    text = "\0".join(map(str, fields))
    # MD5 finds differences and is no protection. `usedforsecurity` says that to systems that forbid it (FIPS).
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], "little")


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The attributes as the comment of `LogRecord.attributes` says: the last value of a key, the others beside it."""
    attributes = dict(pairs)
    if len(attributes) == len(pairs):
        return attributes
    replaced: dict[str, dict[str, None]] = {}
    for key, value in pairs:
        if value != attributes[key]:
            replaced.setdefault(key, {})[value] = None
    kept = {f"{_DUPLICATE_PREFIX}{key}": values for key, values in replaced.items()}
    joined = {name: "\n".join([*([attributes[name]] if name in attributes else []), *values]) for name, values in kept.items()}
    return attributes | joined


def _name(value: str, key: str, pairs: list[tuple[str, str]]) -> str:
    name = _cut(value)
    if name != value:
        pairs.append((key, value))
    return name


def _cut(name: str) -> str:
    """As many whole characters as a name may have bytes."""
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore") if len(name) * 4 > MAX_NAME_BYTES else name


def _id(value: bytes, length: int, key: str, pairs: list[tuple[str, str]]) -> str:
    if len(value) in {0, length}:
        return value.hex()
    pairs.append((key, value.hex()))
    return ""
