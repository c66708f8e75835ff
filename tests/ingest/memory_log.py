"""A log in memory: the second implementation of `DurableLog`. Nothing of it outlives the process."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from treering_ingest.durable_log import IN_MEMORY, Batch, DiskFullError, LogState, Range, WrongEndError
from treering_ingest.producers import ProducerTable, Stored


class Kept(NamedTuple):
    """A batch at its place; satisfies `StoredBatch`."""

    first_offset: int
    record_count: int
    arrival_time_unix_nano: int
    payload: bytes
    link: int

    @property
    def end_offset(self) -> int:
        """One past its last record."""
        return self.first_offset + self.record_count


class MemoryLog:
    """Each part is one batch. `room` is how many bytes of payload it takes; None = any number."""

    log_id = 7
    place = "memory"
    durability = IN_MEMORY

    def __init__(self, room: int | None = None) -> None:
        self.producers = ProducerTable()
        self.start_offset = self.end_offset = self.durable_offset = 0
        self.room = room
        self.kept: list[Kept] = []
        self._released_link: int | None = None
        self._sync_count = 0
        self._link = 0

    @property
    def has_unsynced(self) -> bool:
        return self.durable_offset != self.end_offset

    @property
    def state(self) -> LogState:
        return LogState(len(self.kept), self._size(), self._sync_count)

    def _size(self) -> int:
        return sum(len(each.payload) for each in self.kept)

    def append(self, batches: Sequence[Batch], expected_end: int) -> list[int]:
        if expected_end != self.end_offset:
            raise WrongEndError(f"the log ends at offset {self.end_offset}, not at {expected_end}")
        if self.room is not None and self._size() + sum(len(batch.payload) for batch in batches) > self.room:
            raise DiskFullError("no room")
        return [self._append(batch) for batch in batches]

    def _append(self, batch: Batch) -> int:
        self._link = xxhash.xxh3_64_intdigest(batch.payload, seed=self._link)
        if batch.record_count:
            self.kept.append(Kept(self.end_offset, batch.record_count, batch.arrival_time_unix_nano, batch.payload, self._link))
        self.end_offset += batch.record_count
        self.producers.store(batch.producer_id, Stored(batch.sequence, batch.batch_hash, batch.record_count, self.end_offset))
        return self.end_offset

    def sync(self) -> None:
        self._sync_count += 1
        self.durable_offset = self.end_offset

    def release(self, below_offset: int, *, min_age_s: float = 0.0, min_bytes: int = 0) -> int:
        del min_age_s
        gone = 0
        while self.kept and self.kept[0].end_offset <= below_offset and self._size() - len(self.kept[0].payload) >= min_bytes:
            self.start_offset = self.kept.pop(0).end_offset
            gone += 1
        return gone

    def follow(self, offset: int) -> "MemoryFollower":
        return MemoryFollower(self, offset)

    def close(self) -> None:
        """Nothing is held."""


class MemoryFollower:
    """Reads a MemoryLog."""

    def __init__(self, log: MemoryLog, offset: int) -> None:
        self._log = log
        self._next = offset

    def read(self, max_bytes: int) -> Sequence[Kept]:
        return self.read_range(max_bytes).frames  # type: ignore[return-value]

    def read_range(self, max_bytes: int) -> Range:
        durable = [each for each in self._log.kept if each.end_offset <= self._log.durable_offset]
        before = [each.link for each in durable if each.end_offset <= self._next]
        wanted = [each for each in durable if each.end_offset > self._next]
        sizes = itertools.accumulate((len(each.payload) for each in wanted), initial=0)
        found = [each for each, size in zip(wanted, sizes, strict=False) if size < max_bytes]
        if found:
            self._next = found[-1].end_offset
        return Range(found, before[-1] if before else 0)

    def link_before(self) -> int | None:
        return next((each.link for each in self._log.kept if each.end_offset == self._next), None)

    def close(self) -> None:
        """Nothing is held."""
