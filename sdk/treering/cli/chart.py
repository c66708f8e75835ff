"""Bars of block characters."""

WIDTH = 40
"""The longest bar, in characters."""

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def bar(value: float | None, largest: float, width: int = WIDTH) -> str:
    """A bar as long as `value` is of `largest`, in at most `width` characters, to an eighth of one; anything above zero shows."""
    if not value or largest <= 0:
        return ""
    eighths = max(1, round(width * 8 * abs(value) / largest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
