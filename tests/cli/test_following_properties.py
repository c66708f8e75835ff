"""Whatever becomes of a log and of the process that follows it: each record is stored once."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.following import Bench, Killed, MemoryIngest
from tests.cli.growing_log import GrowingLog

STEPS = 40
FAULTS = ("", "", "", "before", "after", "away", "lost")


@pytest.mark.parametrize("seed", range(int(os.environ.get("TREERING_FOLLOW_SEEDS", "5"))))
def test_each_record_is_stored_once(tmp_path: Path, seed: Callable[[range], int]) -> None:
    rng = random.Random(seed)
    (tmp_path / "logs").mkdir()
    log = GrowingLog(tmp_path / "logs" / "app.log", rng)
    ingest = MemoryIngest()
    bench = Bench(tmp_path / "state", ingest, log.path)
    # What was rotated away before nobody asked for.
    log.grow()
    bench.begin().turns()
    for _ in range(STEPS):
        log.grow()
        if rng.random() < 0.4:
            log.rotate()
        if bench.follower is not None and rng.random() < 0.2:
            bench.kill()
        if bench.follower is None and rng.random() < 0.6:
            run(bench, rng, bench.begin)
        if bench.follower is not None:
            run(bench, rng, lambda: bench.turns(rng.randrange(3)))
    ingest.faults = []
    if bench.follower is None:
        bench.begin()
    log.grow()
    bench.turns(80)  # also what waits for its writer to let go of it
    bench.kill()
    missing, twice = Counter(log.written) - Counter(ingest.messages), Counter(ingest.messages) - Counter(log.written)
    assert (missing, twice) == (Counter(), Counter())
    assert log.rotations > STEPS / 5
    assert not [words for words in bench.said if "twice" in words or "cannot be read" in words]


def run(bench: Bench, rng: random.Random, step: Any) -> None:
    """A step in which the process may be killed, and ingest may be away, at any upload."""
    bench.ingest.faults = [rng.choice(FAULTS) for _ in range(rng.randrange(4))]
    try:
        step()
    except Killed:
        bench.kill()
