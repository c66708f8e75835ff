"""Writes a day in the life of a small shop as JSON lines: eight services, an incident inside, the same bytes for the same seed.

python demo/shop.py --records 60000 --seed 7 > shop.jsonl
"""

import argparse
import json
import math
import random
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from incident import STORIES, Window
from lines import BACKGROUND, REQUEST
from values import VALUES

DAY = datetime(2026, 3, 12, tzinfo=UTC)
"""The day that is told, from midnight to midnight UTC."""

FLOWS: dict[tuple[str, ...], int] = {
    ("gateway", "catalog"): 50,
    ("gateway", "auth"): 14,
    ("gateway", "catalog", "inventory"): 12,
    ("gateway", "checkout", "inventory", "payments", "mailer"): 14,
    ("inventory", "shipping", "mailer"): 6,
}
"""Which services one request passes, and how often; each writes one line of it."""

_BACKGROUND_SHARE = 0.15
_ROW = re.compile(r"\s*(\d+)\s+([A-Z]+)\s+(.*?)(?: ~ (.*))?$")
_LOW, _HIGH = 0.25, 1.0  # how busy the shop is at 03:00 and at 15:00


@dataclass(frozen=True)
class Row:
    """One kind of line."""

    weight: int
    level: str
    text: str
    attributes: Mapping[str, str]

    def write(self, rng: random.Random, shared: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """The message and the attributes: each name is drawn once for both, unless `shared` has it already."""
        drawn = _Drawn(rng, shared or {})
        message = self.text.format_map(drawn)
        return message, {key: value.format_map(drawn) for key, value in self.attributes.items()}


class _Drawn(dict[str, str]):
    def __init__(self, rng: random.Random, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self._rng = rng

    def __missing__(self, name: str) -> str:
        self[name] = value = VALUES[name](self._rng)
        return value


@dataclass(frozen=True)
class Rows:
    """The kinds of line of one service, to draw from."""

    rows: list[Row]
    weights: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", [row.weight for row in self.rows])

    def draw(self, rng: random.Random) -> Row:
        """One kind of line, by weight."""
        return rng.choices(self.rows, self.weights)[0]


@dataclass(order=True, frozen=True)
class Line:
    """One record, before it is written."""

    second: float
    service: str
    level: str
    message: str
    attributes: dict[str, str] = field(compare=False)
    trace_id: str = ""

    def to_json(self) -> str:
        """The record as `treering send` reads it."""
        when = DAY + timedelta(seconds=self.second)
        record = {
            "time": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": self.level,
            "service": self.service,
            "environment": "prod",
            "message": self.message,
            **({"trace_id": self.trace_id} if self.trace_id else {}),
            **self.attributes,
        }
        return json.dumps(record, ensure_ascii=False)


def parse(block: str) -> Rows:
    """Reads the rows of a block as `lines.py` describes them.

    Raises:
        ValueError: A row has another form.
    """
    return Rows([_row(line) for line in block.strip().splitlines()])


def _row(line: str) -> Row:
    match = _ROW.match(line)
    if not match:
        raise ValueError(f"not a row: {line}")
    weight, level, text, attributes = match.groups()
    pairs = dict(pair.split("=", 1) for pair in (attributes or "").split())
    return Row(int(weight), level, text.replace("\\n", "\n").replace("\\t", "\t"), pairs)


def _busy(second: float) -> float:
    """How busy the shop is, from `_LOW` to `_HIGH`: quiet at three at night, busiest in the afternoon."""
    return _LOW + (_HIGH - _LOW) * (0.5 - 0.5 * math.cos((second / 86_400 - 0.125) * math.tau))


def _moment(rng: random.Random) -> float:
    """A second of the day; busy hours come up more often (rejection sampling)."""
    while True:
        second = rng.random() * 86_400
        if rng.random() < _busy(second):
            return second


def _seconds(clock: str) -> float:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _told(window: Window, rng: random.Random) -> Iterator[Line]:
    start, end = _seconds(window.start), _seconds(window.end)
    for row in parse(window.rows).rows:
        for _ in range(row.weight):
            yield Line(rng.uniform(start, end), window.service, row.level, *row.write(rng))


def _request(rng: random.Random, flows: list[tuple[str, ...]], rows: Mapping[str, Rows]) -> Iterator[Line]:
    second, trace = _moment(rng), f"{rng.getrandbits(128):032x}"
    shared = {"order": VALUES["order"](rng), "customer": VALUES["customer"](rng)}
    for service in rng.choices(flows, list(FLOWS.values()))[0]:
        row = rows[service].draw(rng)
        yield Line(min(second, 86_399.0), service, row.level, *row.write(rng, shared), trace_id=trace)
        second += rng.random() / 20


def generate(records: int, seed: int) -> list[Line]:
    """A day of about `records` lines in the order of time; never fewer than asked for, at most a handful more."""
    rng = random.Random(seed)
    lines = [line for window in STORIES for line in _told(window, rng)]
    request = {service: parse(block) for service, block in REQUEST.items()}
    background = {service: parse(block) for service, block in BACKGROUND.items()}
    services, flows = list(background), list(FLOWS)
    while len(lines) < records:
        if rng.random() < _BACKGROUND_SHARE:
            service = rng.choice(services)
            row = background[service].draw(rng)
            lines.append(Line(_moment(rng), service, row.level, *row.write(rng)))
        else:
            lines += _request(rng, flows, request)
    return sorted(lines)


def main() -> int:
    """Writes the day to standard output."""
    parser = argparse.ArgumentParser(description="A day in the life of a small shop, as JSON lines")
    parser.add_argument("--records", type=int, default=60_000, help="how many at least (60000)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed gives the same bytes (7)")
    arguments = parser.parse_args()
    for line in generate(arguments.records, arguments.seed):
        sys.stdout.write(line.to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
