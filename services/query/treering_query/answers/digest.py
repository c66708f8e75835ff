"""DigestStore: what the store holds of runs of offsets, as `RangeDigest` in the contract defines it, computed in columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import structlog

from treering.v1 import admin_pb2 as pb
from treering.v1.log_pb2 import RangeDigest
from treering_query import limits
from treering_query.reading.slices import Slice, between
from treering_query.values.attributes import ENTRIES
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field

_LOG = structlog.get_logger()
_MODULUS = 1 << 64

# A contract with `ingest`, which computes the same from the log: field order, separators and the empty value are part of it.
_TEXT = f"""concat_ws(chr(0), "offset", epoch_ns(arrival_time), epoch_ns(time), severity, service, environment, message,
    lower(hex(trace_id)), lower(hex(span_id)),
    array_to_string(list_sort(list_transform({ENTRIES}, lambda pair: pair.key || chr(1) || pair.value)), chr(2)))"""
"""The fields of a record as text."""

_RUNS = f"""
select (("offset" - $first::ubigint) // $step::ubigint)::bigint as run, count(*)::bigint as records,
    (sum(md5_number_lower({_TEXT})) % {_MODULUS})::ubigint as digest
from {{records}} where log_id = $log::ubigint and "offset" >= $first::ubigint and "offset" < $end::ubigint group by all
"""


@dataclass(frozen=True)
class DigestPlan:
    """A checked request, ready to run on a snapshot."""

    log_id: int
    first_offset: int
    end_offset: int
    step: int

    def answer(self, snapshot: Snapshot) -> pb.DigestStoreResponse:
        """The digests. Blocks: runs on a thread of the store."""
        starts = range(self.first_offset, self.end_offset, self.step)
        counts, digests = np.zeros(len(starts), np.uint64), np.zeros(len(starts), np.uint64)
        problems = []
        for part in _parts(between(snapshot, self.log_id, self.first_offset, self.end_offset)):
            try:
                self._add(snapshot, part, counts, digests)
            # Of the question and not of the file: to name a file as unreadable here would be wrong.
            except (duckdb.InterruptException, duckdb.OutOfMemoryException):
                raise
            except duckdb.Error as error:
                # What is in memory has no file to restore.
                if not part.segments:
                    raise
                names = ", ".join(segment.path.name for segment in part.segments)
                _LOG.exception("a segment cannot be read", files=names)
                # The other segments are still worth comparing, so this is a part of the answer.
                problems.append(f"{names} cannot be read ({type(error).__name__}); restore the file from a copy")
        runs = [
            RangeDigest(first_offset=start, end_offset_exclusive=min(start + self.step, self.end_offset), record_count=count, digest=digest)
            for start, count, digest in zip(starts, counts.tolist(), digests.tolist(), strict=True)
        ]
        return pb.DigestStoreResponse(ranges=runs, seen=snapshot.seen, problems=problems, expired=self._expired(snapshot))

    def _expired(self, snapshot: Snapshot) -> Iterator[pb.ExpiredRange]:
        """What retention removed, where it reaches into what was asked for."""
        for part in snapshot.view.expired:
            if part.log_id == self.log_id and part.first_offset < self.end_offset and part.end_offset > self.first_offset:
                yield pb.ExpiredRange(first_offset=part.first_offset, end_offset_exclusive=part.end_offset, record_count=part.row_count)

    def _add(self, snapshot: Snapshot, part: Slice, counts: npt.NDArray[np.uint64], digests: npt.NDArray[np.uint64]) -> None:
        """Adds what one part holds; unsigned integers wrap, which is the modulus."""
        parameters = {"log": self.log_id, "first": self.first_offset, "end": self.end_offset, "step": self.step}
        found = part.query(snapshot, _RUNS.format(records=part.records), parameters)
        # Each run once in a part, so the indexed addition below loses nothing.
        runs = found.column("run").to_numpy()
        counts[runs] += found.column("records").to_numpy().astype(np.uint64)
        digests[runs] += found.column("digest").to_numpy()


def _parts(whole: Slice) -> Iterator[Slice]:
    """Each segment by itself, so that a damaged file hides no other; then what is hot."""
    yield from (Slice((segment,)) for segment in whole.segments)
    yield Slice((), hot=True)


def plan(request: pb.DigestStoreRequest) -> DigestPlan:
    """Checks a request.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    first, end, step = request.first_offset, request.end_offset_exclusive, request.step
    if not 0 <= end - first <= limits.MAX_DIGEST_OFFSETS:
        problem = f"must be 0 to {limits.MAX_DIGEST_OFFSETS} after first_offset; ask several times"
        raise invalid_field("end_offset_exclusive", problem, limit=limits.MAX_DIGEST_OFFSETS)
    # The answer's size is bounded before a record is read.
    if step < 1 or (end - first) / step > limits.MAX_DIGEST_RUNS:
        raise invalid_field("step", f"must be at least 1 and give at most {limits.MAX_DIGEST_RUNS} runs", limit=limits.MAX_DIGEST_RUNS)
    return DigestPlan(request.log_id, first, end, step)
