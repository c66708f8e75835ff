"""Answers of bounded size: rows in their order, as many as fit; the caller says where they end, and a token leads to the others."""

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from google.protobuf.message import Message

from treering_query.limits import MAX_ANSWER_BYTES

_M = TypeVar("_M", bound=Message)

# A tag and a length, each a varint.
_TAG_BYTES = 8
"""What a message takes in another one besides itself, at most."""


def fitting(rows: Sequence[_M], budget: int | None = None) -> Sequence[_M]:
    """The first rows, as many as fit into `budget` bytes of an answer (`MAX_ANSWER_BYTES`); at least one, so that every page goes on."""
    most = MAX_ANSWER_BYTES if budget is None else budget
    # Sizes only grow along the rows, so the number of fitting ends is where the page ends.
    count = sum(end <= most for end in accumulate(row.ByteSize() + _TAG_BYTES for row in rows))
    return rows[: max(count, 1)]
