"""The writer of answers with rows: a message holds as many rows as fit by their encoded bytes, whatever the rows hold.

The answer of a unary rpc ends early, and its token leads to the other rows. A stream goes on in its next message.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, TypeVar

from treering_runtime.limits import MAX_ANSWER_BYTES, MAX_PIECE_BYTES

if TYPE_CHECKING:
    from google.protobuf.message import Message

_M = TypeVar("_M", bound="Message")

_TAG_BYTES = 8
"""What a message takes in another one besides itself, at most."""


def count_fitting(sizes: Iterable[int], budget: int) -> int:
    """How many rows, from the first on, fit together into `budget` encoded bytes: at least one, so that every page goes on.

    A row that is larger than the budget comes alone; a record is below 3 MiB, however it came.
    """
    return max(1, sum(1 for _ in takewhile(lambda end: end <= budget, accumulate(sizes))))


def fitting(rows: Sequence[_M], budget: int | None = None) -> Sequence[_M]:
    """The first rows, as many as fit into `budget` bytes of an answer (`MAX_ANSWER_BYTES`); at least one."""
    return rows[: count_fitting(map(_size, rows), MAX_ANSWER_BYTES if budget is None else budget)]


def messages(rows: Iterable[_M], budget: int | None = None) -> Iterator[list[_M]]:
    """All rows, cut into what each message of a stream holds; no message for no rows."""
    most = MAX_ANSWER_BYTES if budget is None else budget
    held: list[_M] = []
    total = 0
    for row in rows:
        size = _size(row)
        if held and total + size > most:
            yield held
            held, total = [], 0
        held.append(row)
        total += size
    if held:
        yield held


def pieces(data: bytes | bytearray | memoryview, most: int = MAX_PIECE_BYTES) -> Iterator[bytes]:
    """Bytes that belong together, cut into what each message of a stream carries."""
    whole = memoryview(data)
    return (bytes(whole[start : start + most]) for start in range(0, len(whole), most))


def _size(row: "Message") -> int:
    return row.ByteSize() + _TAG_BYTES
