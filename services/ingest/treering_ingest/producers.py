"""Producers: who has sent which batch, so that a repeat is stored once."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from treering.v1.error_pb2 import ErrorReason
from treering_ingest.limits import MAX_PRODUCERS, PRODUCER_HISTORY_BATCHES
from treering_runtime.errors import ServiceError, invalid_field


class Stored(NamedTuple):
    """One batch of a producer as the log holds it."""

    sequence: int
    batch_hash: int
    record_count: int
    end_offset: int


class Producer(NamedTuple):
    """The newest batches of one producer, oldest first, at most PRODUCER_HISTORY_BATCHES and never none."""

    history: tuple[Stored, ...]

    @property
    def last_sequence(self) -> int:
        """The sequence of its newest batch."""
        return self.history[-1].sequence


class ProducerTable:
    """The producers of a log, ordered by their newest stored batch.

    A pure function of the batches stored so far and of `capacity`: replaying a log gives the same table.

    Args:
        capacity: How many producers are kept; the one whose newest batch is oldest goes first.
    """

    def __init__(self, capacity: int = MAX_PRODUCERS) -> None:
        self._capacity = capacity
        # A dict keeps the order in which keys were added: `store` takes a producer out and adds it again, so the newest is at the end.
        self._producers: dict[bytes, Producer] = {}

    def __len__(self) -> int:
        return len(self._producers)

    def __contains__(self, producer_id: bytes) -> bool:
        """Whether a producer is remembered."""
        return producer_id in self._producers

    @property
    def capacity(self) -> int:
        """How many producers are remembered."""
        return self._capacity

    def __iter__(self) -> Iterator[tuple[bytes, Producer]]:
        """All producers, longest silent first."""
        return iter(self._producers.items())

    def copy(self) -> "ProducerTable":
        """An independent table with the same content."""
        table = ProducerTable(self._capacity)
        # Shallow: producers and their histories are tuples, which nobody changes.
        table._producers = dict(self._producers)
        return table

    def last_sequence(self, producer_id: bytes) -> int:
        """The newest sequence of a producer; 0 when it is not known."""
        producer = self._producers.get(producer_id)
        return producer.last_sequence if producer else 0

    def check(self, producer_id: bytes, sequence: int, batch_hash: int, former_hash: Callable[[], int] | None = None) -> Stored | None:
        """Whether a batch is new (None) or a repeat (what is stored of it). Changes nothing.

        Args:
            producer_id: Who sends.
            sequence: Of the batch.
            batch_hash: Of its bytes.
            former_hash: Computes what the version before would have noted for it; asked where `batch_hash` is not known.

        Raises:
            ServiceError: INVALID_FIELD, SEQUENCE_GAP, SEQUENCE_REUSED or PRODUCER_UNKNOWN.
        """
        if not producer_id:
            if sequence:
                raise invalid_field("sequence", "must be 0 without a producer_id; give a producer_id, or no sequence")
            return None
        # 0 stands for "none" on the wire, so a sender that forgot the field must not pass for one that counts.
        if sequence == 0:
            raise invalid_field("sequence", "must be 1 for the first batch of a producer; count from 1")
        producer = self._producers.get(producer_id)
        last = producer.last_sequence if producer else 0
        # Before `_unknown`: a new producer begins with 1, which follows the 0 of one that is not known.
        if sequence == last + 1:
            return None
        # Forgotten, or never seen: which of its batches are stored is not known any more, so neither a gap nor a repeat can be told.
        if producer is None:
            raise _unknown(producer_id)
        # A batch is missing. Taken now, the missing one would be refused when it comes, and be lost.
        if sequence > last:
            raise _gap(sequence, last + 1)
        return _repeat(producer, sequence, batch_hash, former_hash)

    def store(self, producer_id: bytes, stored: Stored) -> None:
        """Notes a batch that `check` found new. Anonymous batches leave no trace."""
        if not producer_id:
            return
        # Taken out and added again: the order of the table is that of the newest batches.
        older = self._producers.pop(producer_id, None)
        history = (*older.history, stored)[-PRODUCER_HISTORY_BATCHES:] if older else (stored,)
        self._producers[producer_id] = Producer(history)
        # Exactly one too many, because only one was added: the one that has been silent longest.
        if len(self._producers) > self._capacity:
            del self._producers[next(iter(self._producers))]

    def restore(self, producer_id: bytes, producer: Producer) -> None:
        """Adds a producer from a snapshot, as the newest."""
        self._producers[producer_id] = producer


def _repeat(producer: Producer, sequence: int, batch_hash: int, former_hash: Callable[[], int] | None) -> Stored:
    for stored in producer.history:
        # Sequence and content: a second process with the same id sends other batches under numbers that were used.
        if stored.sequence == sequence and stored.batch_hash == batch_hash:
            return stored
        # A sender that was updated between an upload and its repeat: what it sends has other bytes around the same records.
        if stored.sequence == sequence and former_hash and stored.batch_hash == former_hash():
            return stored
    kept = producer.history[0].sequence
    why = "with other content" if sequence >= kept else f"and is older than what is kept for comparison (from {kept})"
    message = f"sequence {sequence} is already stored {why}; the producer's last is {producer.last_sequence}; never share a producer_id"
    metadata = {"sequence": str(sequence), "last_sequence": str(producer.last_sequence)}
    raise ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_REUSED, message, metadata=metadata)


def _gap(sequence: int, expected: int) -> ServiceError:
    message = f"sequence {sequence} came, {expected} is missing; resend from {expected}"
    metadata = {"expected_sequence": str(expected), "sequence": str(sequence)}
    return ServiceError(ErrorReason.ERROR_REASON_SEQUENCE_GAP, message, metadata=metadata)


def _unknown(producer_id: bytes) -> ServiceError:
    name = producer_id.decode()
    message = f"producer {name!r} is not known and its sequence is not 1; take a new producer_id: batches without an answer may be stored"
    return ServiceError(ErrorReason.ERROR_REASON_PRODUCER_UNKNOWN, message, metadata={"producer_id": name})


_COUNT = struct.Struct("<I")
# One byte each: an id has at most 128 bytes, a history at most 5 batches.
_PRODUCER = struct.Struct("<BB")
_STORED = struct.Struct("<QQIQ")


def encode_snapshot(table: ProducerTable) -> bytes:
    """The table as a segment begins with it."""
    # Longest silent first, as the table is ordered: `decode_snapshot` restores the order by adding in the same one.
    parts = [_COUNT.pack(len(table))]
    for producer_id, producer in table:
        parts += [_PRODUCER.pack(len(producer_id), len(producer.history)), producer_id]
        parts += [_STORED.pack(item.sequence, item.batch_hash, item.record_count, item.end_offset) for item in producer.history]
    return b"".join(parts)


def decode_snapshot(snapshot: bytes, capacity: int = MAX_PRODUCERS) -> ProducerTable:
    """The table of a snapshot whose checksum was right.

    Raises:
        struct.error: The bytes are no snapshot.
    """
    table = ProducerTable(capacity)
    (count,) = _COUNT.unpack_from(snapshot)
    at = _COUNT.size
    for _ in range(count):
        id_length, history_length = _PRODUCER.unpack_from(snapshot, at)
        at += _PRODUCER.size
        producer_id = snapshot[at : at + id_length]
        at += id_length
        history = tuple(Stored(*_STORED.unpack_from(snapshot, at + _STORED.size * i)) for i in range(history_length))
        table.restore(producer_id, Producer(history))
        at += _STORED.size * history_length
    return table
