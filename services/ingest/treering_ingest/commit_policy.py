"""When a group of batches is written, and what is told of it."""

from dataclasses import dataclass
from typing import Protocol

from treering_ingest.limits import COMPANY_S, LINGER_BYTES, MAX_GROUP_BYTES
from treering_ingest.settings import Durability


class CommitObserver(Protocol):
    """Is told of commits, for metrics."""

    def synced(self, seconds: float) -> None:
        """A sync took so long. Called on the log's thread."""

    def committed(self, records: int, size_bytes: int, seconds: float) -> None:
        """A group is durable as the policy says; the oldest batch of it waited so long, from staging on."""


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """How groups are formed and when they count as durable.

    Args:
        durability: When a batch is acknowledged.
        sync_interval_s: With `interval`: longest time that something written stays unsynced, seconds.
        linger_s: How long a batch is kept back while nobody waits for its acknowledgement yet, so that others share its sync, seconds.
            A sender in the middle of a long upload does not wait; one that has sent its last batch does, and then there is no delay.
        company_s: How long an acknowledgement is kept back while others are expected to share its sync, seconds.
        linger_bytes: So much is written at once, however young.
        max_group_bytes: A larger group is not formed.
    """

    durability: Durability = Durability.ALWAYS
    sync_interval_s: float = 0.2
    linger_s: float = 0.02
    company_s: float = COMPANY_S
    linger_bytes: int = LINGER_BYTES
    max_group_bytes: int = MAX_GROUP_BYTES
