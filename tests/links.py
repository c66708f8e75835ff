"""Links of a made-up log, for tests that deliver frames: the link at an offset is a number that follows from the offset."""

from collections.abc import Sequence

from treering.v1.sink_pb2 import ChainLinks, DeliveredFrame


def link_at(offset: int, history: int = 0) -> int:
    """The link at an offset, in one of several histories of the log."""
    return (offset + 1) * 0x9E3779B97F4A7C15 + history & 2**64 - 1


def links_of(frames: Sequence[DeliveredFrame], history: int = 0) -> ChainLinks:
    """The links of a range."""
    end = frames[-1].first_offset + frames[-1].record_count
    return ChainLinks(before=link_at(frames[0].first_offset, history), after=link_at(end, history))
