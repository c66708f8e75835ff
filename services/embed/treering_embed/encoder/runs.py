"""How texts are cut into runs of the model: of similar length, so that little is padded, and short, so that a search waits little."""

from collections.abc import Sequence

from treering_embed.limits import MAX_ENCODE_TEXTS, MAX_ENCODE_WORDPIECES

WIDTH_STEP = 4
"""Rows are padded to a multiple of this many wordpieces, as a model prepares itself for each shape of its input."""


def width_of(length: int) -> int:
    """The width that a text of so many wordpieces is padded to."""
    return max(1, -(-length // WIDTH_STEP)) * WIDTH_STEP


def rows_of(width: int) -> int:
    """Texts in a full run of this width."""
    return max(1, min(MAX_ENCODE_TEXTS, MAX_ENCODE_WORDPIECES // width))


def cut(lengths: Sequence[int]) -> list[list[int]]:
    """Cuts texts of so many wordpieces into runs, by index; the longest come first, so all runs but the last are full ones."""
    # Sorted by length: a run is as wide as its longest text, and everything shorter in it is padding that is computed too.
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    runs: list[list[int]] = []
    start = 0
    while start < len(order):
        end = start + rows_of(width_of(lengths[order[start]]))
        runs.append(order[start:end])
        start = end
    return runs
