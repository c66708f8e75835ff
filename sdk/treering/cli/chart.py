"""Bars of block characters."""

WIDTH = 40
"""The longest bar, in characters."""

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def bar(value: float | None, largest: float) -> str:
    """A bar as long as `value` is of `largest`, to an eighth of a character; anything above zero shows."""
    if not value or largest <= 0:
        return ""
    eighths = max(1, round(WIDTH * 8 * abs(value) / largest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
