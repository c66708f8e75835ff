"""Reading lines: `python bench/send.py [--rounds N] [--json FILE]`.

A line of JSON becomes a record, beside `json.loads` of the same line; a line of text becomes a record, beside splitting it into words. Both
sides take the same lines in turn within each round, so that a busy machine slows both. Processor time; the figure of a round is the mean of
its lines, the result the median of the rounds.
"""

import argparse
import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from report import Figure, finish, of_runs

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, to_record
from treering_formats.json_line import json_fields
from treering_formats.text_line import text_record

_LINES = 2_000
_AT_MOST_JSON = 2.0
_AT_MOST_TEXT = 6.0


def json_lines() -> list[str]:
    """Lines as web services write them: a time, a level, a message, four fields."""
    return [
        json.dumps(
            {
                "time": f"2026-11-20T10:{each // 60 % 60:02}:{each % 60:02}.{each % 1_000:03}Z",
                "level": ("info", "warn", "error")[each % 3],
                "service": "checkout",
                "message": f"order {each} of customer {each * 7 % 997} was paid by card after {each % 13} attempts",
                "order": each,
                "amount": each / 8,
                "currency": "EUR",
                "path": f"/orders/{each}",
            },
            separators=(",", ":"),
        )
        for each in range(_LINES)
    ]


def text_lines() -> list[str]:
    """The same as text with a time and a level."""
    return [
        f"2026-11-20T10:{each // 60 % 60:02}:{each % 60:02}.{each % 1_000:03}Z {('INFO', 'WARN', 'ERROR')[each % 3]} shop.Checkout: "
        f"order {each} of customer {each * 7 % 997} was paid by card after {each % 13} attempts"
        for each in range(_LINES)
    ]


def microseconds(step: Callable[[str], object], lines: Sequence[str]) -> float:
    """Processor time of a line, mean over the lines."""
    start = time.process_time()
    for line in lines:
        step(line)
    return (time.process_time() - start) / len(lines) * 1e6


def measure(
    name: str, step: Callable[[str], object], floor: Callable[[str], object], lines: Sequence[str], rounds: int, most: float
) -> Figure:
    """Both steps in turn."""
    values, floors = [], []
    for _ in range(rounds):
        floors.append(microseconds(floor, lines))
        values.append(microseconds(step, lines))
    return of_runs(name, "us", values, floors, ratio_at_most=most)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    defaults = Defaults("checkout", "prod", dt.datetime.now(dt.UTC))

    def json_record(line: str) -> LogRecord:
        return to_record(json_fields(line) or {}, line, defaults)

    finish(
        "reading lines",
        {"lines": _LINES, "rounds": options.rounds},
        [
            measure("a line of JSON to a record, beside json.loads", json_record, json.loads, json_lines(), options.rounds, _AT_MOST_JSON),
            measure(
                "a line of text to a record, beside splitting it",
                lambda line: text_record(line, defaults),
                str.split,
                text_lines(),
                options.rounds,
                _AT_MOST_TEXT,
            ),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
