"""How a log in files is kept."""

from dataclasses import dataclass

from treering_ingest.limits import MAX_PRODUCERS, VERIFY_AT_START_BYTES


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How a log is kept.

    Args:
        segment_bytes: A segment that has reached this size is sealed.
        max_producers: Producers that are remembered.
        verify_at_start_bytes: How much of the sealed segments is read and checked by `open`, newest first.
    """

    segment_bytes: int = 64 * 1024 * 1024
    max_producers: int = MAX_PRODUCERS
    verify_at_start_bytes: int = VERIFY_AT_START_BYTES
