"""Bars and lines of block characters."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 40
"""The longest bar, in characters."""

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def bar(value: float | None, largest: float, width: int = WIDTH) -> str:
    """A bar as long as `value` is of `largest`, in at most `width` characters, to an eighth of one; anything above zero shows."""
    if not value or largest <= 0:
        return ""
    eighths = max(1, round(width * 8 * abs(value) / largest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


@dataclass(frozen=True)
class Bar:
    """A bar that is as long as there is room for."""

    value: float | None
    largest: float

    def draw(self, width: int) -> str:
        """See `bar`."""
        return bar(self.value, self.largest, width)


_HEIGHTS = "▁▂▃▄▅▆▇█"


def sparkline(counts: Sequence[int]) -> str:
    """A line as high as each count is of the largest one; a blank where there is none, and anything above zero shows."""
    largest = max(counts, default=0)
    return "".join(_HEIGHTS[(count * len(_HEIGHTS) - 1) // largest] if count else " " for count in counts)
