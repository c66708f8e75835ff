"""What ingest needs of a log, whatever keeps it: files of this machine today, replicated logs of others.

Whoever writes gathers batches into groups (`committer`), reads what is durable (`log_reader`), and says what nobody needs any more
(`retention`). How a log keeps its promise is its own affair: files, checksums and segments are in `wal`. Every implementation passes
`tests/ingest/durable_log_suite.py`.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from treering_ingest.producers import ProducerTable
from treering_runtime.errors import StartError

ON_DISK: Final = "disk"
"""`DurableLog.durability` of a log whose sync ends when everything is on the disk of this machine."""
IN_MEMORY: Final = "memory"
"""The same of a log that does not outlive its process."""


class LogDamagedError(StartError):
    """What was durable is not what it was. Nothing is skipped or repaired: a person decides."""


class LogFailedError(Exception):
    """The log refused a write or could not make it durable: what this process believes of it can no longer be trusted.

    Of files: Linux may mark pages clean after a failed fsync, so a second fsync that succeeds proves nothing. Nothing more is acknowledged;
    a new process reads what is really there.
    """


class WrongEndError(LogFailedError):
    """The log does not end where the writer believes: somebody else writes it, too. This writer must stop."""


class DiskFullError(Exception):
    """There was no space for the write. Nothing of it is in the log; the same call may be repeated when there is space."""


class NoDescriptorError(DiskFullError):
    """The same, but nothing could be opened for the write: too many files are open, in this process or in the system."""


class Batch(NamedTuple):
    """What is appended.

    Args:
        payload: A serialised LogBatch.
        record_count: Records in it; 0 keeps the producer's place and nothing else.
        producer_id: UTF-8 bytes; empty = anonymous.
        sequence: Of the producer; 0 = anonymous.
        batch_hash: xxh3_64 of the LogBatch as it was received.
        arrival_time_unix_nano: When it was accepted.
    """

    payload: bytes
    record_count: int
    producer_id: bytes
    sequence: int
    batch_hash: int
    arrival_time_unix_nano: int


class StoredBatch(Protocol):
    """What is read back: a batch with records, at its place."""

    @property
    def first_offset(self) -> int:
        """Of its first record."""

    @property
    def record_count(self) -> int:
        """At least 1."""

    @property
    def arrival_time_unix_nano(self) -> int:
        """As appended."""

    @property
    def payload(self) -> bytes:
        """As appended."""

    @property
    def end_offset(self) -> int:
        """One past its last record."""

    @property
    def link(self) -> int:
        """The log's chain here: 64 bits that follow from every record up to here, and that nobody can compute who was not sent them."""


class Range(NamedTuple):
    """Batches that follow one another, and the link of the record before them; 0 before the first of all."""

    frames: Sequence[StoredBatch]
    link_before: int


class LogState(NamedTuple):
    """What a log costs, for status and metrics."""

    part_count: int
    """Pieces that can be released one by one: segment files."""
    size_bytes: int
    sync_count: int
    """How often something was made durable since the start."""


class LogFollower(Protocol):
    """Reads the durable part in order while it is written. Blocks; one thread at a time.

    One that stands below the start of the log goes on there: the records before it are gone.
    """

    def read(self, max_bytes: int) -> Sequence[StoredBatch]:
        """As `read_range`, without the link."""

    def read_range(self, max_bytes: int) -> Range:
        """The next batches, until their payloads have `max_bytes`, at least one; none at the durable end.

        Raises:
            LogDamagedError: The log is damaged here; nothing is skipped.
        """

    def link_before(self) -> int | None:
        """The link before the wanted offset; None where no batch ends there, or it is gone. Asked before the first read.

        Raises:
            LogDamagedError: The log is damaged before that offset.
        """

    def close(self) -> None:
        """Gives back what reading holds."""


class DurableLog(Protocol):
    """A log with one writer. Offsets count records from 0, without gaps, over restarts.

    One thread at a time may call the methods that write; the properties and `follow` may be used by any thread.
    """

    @property
    def log_id(self) -> int:
        """Drawn once, when the log was made."""

    @property
    def place(self) -> str:
        """Where it is, for people: a directory, an address."""

    @property
    def durability(self) -> Literal["disk", "memory"]:
        """What `sync` promises: `ON_DISK` or `IN_MEMORY`. The status says it where it is less than the policy."""

    @property
    def producers(self) -> ProducerTable:
        """Who has sent what, as of the newest record."""

    @property
    def start_offset(self) -> int:
        """The oldest offset that can still be read."""

    @property
    def end_offset(self) -> int:
        """One past the newest record, durable or not."""

    @property
    def durable_offset(self) -> int:
        """Everything below it is durable, and can be read."""

    @property
    def has_unsynced(self) -> bool:
        """Whether something was appended since the last sync."""

    @property
    def state(self) -> LogState:
        """What it costs."""

    def append(self, batches: Sequence[Batch], expected_end: int) -> list[int]:
        """Writes the batches in order, all or none; returns the end offset of each. They are not durable before `sync`.

        Args:
            batches: A group.
            expected_end: Where the writer believes that the log ends.

        Raises:
            WrongEndError: It ends elsewhere; nothing was written.
            DiskFullError: Nothing was written; try again when there is space.
            LogFailedError: The log failed, now or before.
        """

    def sync(self) -> None:
        """Makes everything that was appended durable.

        Raises:
            LogFailedError: The log failed, now or before.
        """

    def release(self, below_offset: int, *, min_age_s: float = 0.0, min_bytes: int = 0) -> int:
        """Deletes parts whose records are all below an offset, oldest first; returns how many.

        Args:
            below_offset: Nobody needs what is below.
            min_age_s: Younger parts stay, seconds.
            min_bytes: At least so much stays.

        Raises:
            LogFailedError: The log failed, now or before.
        """

    def follow(self, offset: int) -> LogFollower:
        """A reader that wants the records from an offset on."""

    def close(self) -> None:
        """Ends writing, so that the next start is quick. A failed log is left as it is."""
