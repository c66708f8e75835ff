"""What is sealed together, and what is sealed: the values that sealing takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from treering_query.values.segment import Expired, Segment
from treering_runtime.quarantine import Change


@dataclass(frozen=True)
class SealBatch:
    """What is sealed together."""

    # Everything in here becomes durable together, in the transaction that is the seal, or not at all.
    records: pa.Table
    # In the batch and not found again when it is sealed: by then the view may know more.
    patterns: pa.Table
    """Patterns whose texts the catalog does not have yet."""
    ends: Mapping[int, int]
    """By log_id: everything below is in this batch, in earlier segments, or quarantined."""
    quarantine: Change
    # Random, so that the batch of an earlier process is never taken for this one.
    batch_id: str = ""
    """Tells a repeated attempt whether an earlier one was committed; empty for what is never repeated as it is."""
    links: Mapping[int, int] = field(default_factory=dict)
    """The log's chain at `ends`, as far as it is known."""


@dataclass(frozen=True)
class SealedState:
    """What is sealed, as the catalog has it; replaced whole by each change."""

    # Read by the event loop while the thread of the catalog goes on: no part of it is ever changed in place.
    segments: tuple[Segment, ...]
    # A sum over all segments, kept with them: lists of patterns read no file and no catalog.
    counts: pa.Table
    """Statistics of all segments together."""
    expired: tuple[Expired, ...]
    """What retention has removed."""
    quarantined: Mapping[int, int]
    """Records in quarantine by log_id."""
    # The view compares it with the batch that is on its way: equal means that its records have a segment.
    last_batch: str
    """Id of the batch that was sealed last."""
