"""Whether a file is a copy of what is being read, or of a part of it."""

from collections.abc import Callable

from treering_cli.following.content import Content
from treering_cli.following.mark import MARK_BYTES
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


def _agree(one: Content, other: Content, length: int) -> bool:
    size = min(MARK_BYTES, length)
    return one.read(0, size) == other.read(0, size) and one.read(length - size, size) == other.read(length - size, size)
