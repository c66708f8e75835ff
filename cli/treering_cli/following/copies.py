"""What content is known as: what was read before, or a copy of what is being read."""

from collections.abc import Callable, Iterable

from treering_cli.following.content import Content
from treering_cli.following.mark import MARK_BYTES, digest
from treering_cli.following.positions import Position
from treering_cli.following.tracked import Tracked


def is_copy(content: Content, tracked: Tracked, is_settled: Callable[[], bool]) -> bool | None:
    """Whether content is a copy of what is tracked, whole or a part of it; None when that cannot be said yet.

    Args:
        content: The file in question.
        tracked: What is being read.
        is_settled: Whether the file has not changed for some time, so that it is no copy in the making.
    """
    length = content.length()
    if tracked.read_to and length >= tracked.read_to:
        # By what is remembered: the file itself may have been truncated at this moment.
        return tracked.is_in(content)
    common = min(length, tracked.content.length())
    if not _agree(content, tracked.content, common):
        return False if tracked.is_intact() else None
    # A few lines may be those that a program writes at each of its starts.
    return True if common >= MARK_BYTES else False if is_settled() else None


def begin_alike(one: Content, other: Content) -> bool:
    """Whether two files have the same first bytes, as far as both have any."""
    first, second = one.read(0, MARK_BYTES), other.read(0, MARK_BYTES)
    common = min(len(first), len(second))
    return common > 0 and first[:common] == second[:common]


def begun_as(content: Content, known: Iterable[Position]) -> list[Position]:
    """What is known that begins as this content does."""
    heads: dict[int, bytes] = {}
    begun = []
    for each in known:
        size = each.mark.head_bytes
        # Read once for each size: nearly all have the same.
        if size not in heads:
            heads[size] = digest(content.read(0, size))
        if size and heads[size] == each.head:
            begun.append(each)
    return begun


def _agree(one: Content, other: Content, length: int) -> bool:
    size = min(MARK_BYTES, length)
    return one.read(0, size) == other.read(0, size) and one.read(length - size, size) == other.read(length - size, size)
