"""A histogram over time, stacked by severity: one line a bucket, the worst at the left, told apart by characters besides colour."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from treering_cli.chart import WIDTH
from treering_cli.output import rfc3339

_NARROWEST = 10
"""Bars are at least so wide, characters, however narrow the terminal."""


@dataclass(frozen=True)
class Band:
    """Severities that are drawn alike."""

    name: str
    lowest: int
    """The lowest severity number; it reaches to the band before."""
    mark: str
    style: str


BANDS = (
    Band("FATAL", 21, "█", "bold magenta"),
    Band("ERROR", 17, "▓", "red"),
    Band("WARN", 13, "▒", "yellow"),
    Band("INFO", 9, "░", "green"),
    Band("DEBUG", 5, "-", "blue"),
    Band("TRACE", 1, ".", "dim"),
    Band("UNSPECIFIED", 0, "?", "dim"),
)
"""Worst first."""


def by_band(counts: Mapping[int, float]) -> tuple[float, ...]:
    """Counts by severity number as counts by band."""
    totals = [0.0] * len(BANDS)
    for severity, count in counts.items():
        totals[next(index for index, band in enumerate(BANDS) if severity >= band.lowest)] += count
    return tuple(totals)


def cells(totals: Sequence[float], largest: float, width: int) -> tuple[int, ...]:
    """How many characters each band gets: together as long as their sum is of `largest`; whatever is above zero gets one at least."""
    whole = sum(totals)
    if whole <= 0 or largest <= 0:
        return (0,) * len(totals)
    present = sum(total > 0 for total in totals)
    length = max(present, round(width * whole / largest))
    shares = [total / whole * length for total in totals]
    found = [max(1, int(share)) if share > 0 else 0 for share in shares]
    order = sorted((index for index, share in enumerate(shares) if share > 0), key=lambda index: found[index] - shares[index])
    while sum(found) < length:
        found[order[0]] += 1
        order = [*order[1:], order[0]]
    while sum(found) > length:
        found[max(range(len(found)), key=lambda index: found[index] - (found[index] == 1) * length)] -= 1
    return tuple(found)


def show(buckets: Mapping[int, Mapping[int, float]], time: Callable[[int], str] = rfc3339) -> None:
    """Writes the histogram; `buckets` has the counts by severity number of each bucket's start, nanoseconds since 1970, in order."""
    from rich.console import Console  # noqa: PLC0415 - start-up
    from rich.text import Text  # noqa: PLC0415

    totals = {start: by_band(counts) for start, counts in buckets.items()}
    largest = max(map(sum, totals.values()), default=0.0)
    labels = {start: f"{time(start)}  {_number(sum(bands)):>{len(_number(largest))}}  " for start, bands in totals.items()}
    console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 100_000)
    room = console.width - max(map(len, labels.values()), default=0) if sys.stdout.isatty() else WIDTH
    for start, bands in totals.items():
        line = Text(labels[start])
        for band, count in zip(BANDS, cells(bands, largest, max(room, _NARROWEST)), strict=True):
            line.append(band.mark * count, style=band.style)
        console.print(line)
    present = [band for index, band in enumerate(BANDS) if any(bands[index] for bands in totals.values())]
    legend = Text("  ").join(Text(f"{band.mark} {band.name}", style=band.style) for band in present)
    console.print(legend)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.4g}"
