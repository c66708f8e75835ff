"""What retention removed, kept for whoever compares the store with the log; as few ranges as say the same."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from treering_query.values.segment import Expired, Segment


def left_out(old: Sequence[Segment], kept: int) -> Iterator[Expired]:
    """What a rewrite leaves out of segments.

    How many records of each log that is, in a segment that has several, is not known: as many as there may be.
    """
    # A merge removes nothing, and notes nothing.
    removed = sum(segment.row_count for segment in old) - kept
    for segment in old if removed else ():
        for part in segment.ranges:
            # The largest number that can be true of this range.
            most = min(removed, segment.row_count, part.end_offset - part.first_offset)
            yield Expired(part.log_id, part.first_offset, part.end_offset, most)


def joined(parts: Iterable[Expired]) -> tuple[Expired, ...]:
    """Ranges in the order of their offsets, none of which overlaps another of its log; neighbours that are gone whole are one.

    So a log whose old end is removed for years is one range. Of ranges that overlap, how the removed records were spread is given up.
    """
    # Both folds look at neighbours only.
    ordered = sorted(parts, key=lambda each: (each.log_id, each.first_offset, each.end_offset))
    return tuple(_folded(_folded(ordered, _overlap), _are_whole_neighbours))


def _folded(ordered: Iterable[Expired], belong: Callable[[Expired, Expired], bool]) -> list[Expired]:
    found: list[Expired] = []
    for part in ordered:
        if found and found[-1].log_id == part.log_id and belong(found[-1], part):
            found[-1] = _both(found[-1], part)
        else:
            found.append(part)
    return found


def _overlap(before: Expired, part: Expired) -> bool:
    return part.first_offset < before.end_offset


def _are_whole_neighbours(before: Expired, part: Expired) -> bool:
    return part.first_offset == before.end_offset and _is_whole(before) and _is_whole(part)


def _both(before: Expired, part: Expired) -> Expired:
    # One may lie inside the other.
    end = max(before.end_offset, part.end_offset)
    return Expired(before.log_id, before.first_offset, end, min(before.row_count + part.row_count, end - before.first_offset))


def _is_whole(part: Expired) -> bool:
    return part.row_count == part.end_offset - part.first_offset
