import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from treering_runtime.patterns import find_patterns

SHOP = Path(__file__).resolve().parents[2] / "demo/shop.py"
RECORDS = 50_000


def written(seed: int) -> bytes:
    done = subprocess.run([sys.executable, SHOP, "--records", str(RECORDS), "--seed", str(seed)], capture_output=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def day() -> list[Any]:
    return [json.loads(line) for line in written(7).splitlines()]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    assert written(7) == written(7) != written(8)


def test_the_day_is_as_large_and_as_varied_as_it_says(day: list[Any]) -> None:
    assert len(day) >= RECORDS
    assert len({line["service"] for line in day}) == 8
    patterns = find_patterns(pa.array([line["service"] for line in day]), pa.array([line["message"] for line in day]))
    assert len(patterns.texts) >= 150


def test_times_are_in_order_and_within_the_day(day: list[Any]) -> None:
    times = [line["time"] for line in day]
    assert times == sorted(times)
    assert {time[:10] for time in times} == {"2026-03-12"}


def test_the_incident_is_the_busiest_half_hour_of_errors(day: list[Any]) -> None:
    errors = Counter(line["time"][:15] for line in day if line["level"] == "ERROR")
    assert {moment[11:] for moment, _ in errors.most_common(3)} == {"14:0", "14:1", "14:2"}


def test_a_request_is_one_trace_over_several_services(day: list[Any]) -> None:
    traces = {}
    for line in day:
        if "trace_id" in line:
            traces.setdefault(line["trace_id"], set()).add(line["service"])
    assert all(len(trace) == 32 for trace in traces)
    assert max(map(len, traces.values())) == 5
