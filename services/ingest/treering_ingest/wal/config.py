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

    # Larger means fewer syncs and files, and more that a start reads and that stays until all of it is safe in every sink.
    segment_bytes: int = 64 * 1024 * 1024
    # Each segment begins with all of them: at most 270 bytes each.
    max_producers: int = MAX_PRODUCERS
    # Of the frames. Headers, footers and joints of all segments are checked, whatever this is.
    verify_at_start_bytes: int = VERIFY_AT_START_BYTES
