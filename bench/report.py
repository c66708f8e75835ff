"""Figures with their floors and promises, as a table for people and as JSON for machines."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from stack import conditions as machine

_PACKAGES = ("treering", "grpcio", "protobuf", "pyarrow", "duckdb", "ptars", "openvino", "qdrant-edge-py")


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        name: What was measured.
        value: The median of the runs.
        unit: Its unit.
        floor: What the machine does at best, measured in the same run; None where nothing is comparable.
        at_least: Promised lower bound of `value`.
        at_most: Promised upper bound of `value`.
        ratio_at_least: Promised lower bound of value / floor.
        ratio_at_most: Promised upper bound of value / floor.
        runs: The single values.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    runs: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None

    @property
    def kept(self) -> bool:
        """Whether every promise holds, but for what the machine could not do at best."""
        fast_enough = self.ratio_at_least is None or (self.ratio or 0) >= self.ratio_at_least
        near_enough = self.ratio_at_most is None or (self.ratio or 0) <= self.ratio_at_most
        return (self._holds(self.value) or self.ruled_out) and fast_enough and near_enough

    @property
    def ruled_out(self) -> bool:
        """Whether the floor, in the same run, misses the bound of the value itself: nothing that does more can keep it."""
        return self.floor is not None and not self._holds(self.value) and not self._holds(self.floor)

    def _holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def of_runs(name: str, unit: str, runs: Sequence[float], floors: Sequence[float] = (), **promises: float | None) -> Figure:
    """The figure of several runs: medians of both."""
    return Figure(name, median(runs), unit, median(floors) if floors else None, runs=tuple(runs), **promises)


def finish(title: str, load: Mapping[str, object], figures: Sequence[Figure], file: Path | None) -> None:
    """Prints the table, writes the JSON, and ends the program with 1 if a promise was missed."""
    where = {**machine(), "load_now": round(os.getloadavg()[0], 2), "kernel": platform.release()}
    versions = {package: version(package) for package in _PACKAGES}
    rows = [{**asdict(figure), "ratio": figure.ratio, "kept": figure.kept} for figure in figures]
    if file:
        content = {"benchmark": title, "machine": where, "versions": versions, "load": load, "figures": rows}
        file.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{title}: {json.dumps(where)}\n{json.dumps(versions)}\n{json.dumps(load)}")
    print("\n".join(_lines(figures)))
    sys.exit(0 if all(figure.kept for figure in figures) else 1)


def _lines(figures: Sequence[Figure]) -> list[str]:
    lines = [f"{'figure':62} {'value':>12} {'unit':10} {'floor':>12} {'ratio':>6}  promise"]
    for figure in figures:
        floor = f"{figure.floor:,.0f}" if figure.floor else ""
        ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
        lines.append(f"{figure.name:62} {_number(figure.value):>12} {figure.unit:10} {floor:>12} {ratio:>6}  {_promise(figure)}")
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def _promise(figure: Figure) -> str:
    bounds = {">=": figure.at_least, "<=": figure.at_most, "ratio >=": figure.ratio_at_least, "ratio <=": figure.ratio_at_most}
    words = [f"{sign} {bound:,g}" for sign, bound in bounds.items() if bound is not None]
    verdict = ("ruled out by the floor" if figure.ruled_out else "kept") if figure.kept else "MISSED"
    return f"{', '.join(words)}: {verdict}" if words else ""
