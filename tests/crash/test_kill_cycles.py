"""A few of the cycles that `make crash` runs by the hundred."""

from pathlib import Path

import pytest

from tests.crash import plan
from tests.crash.run import run

pytestmark = pytest.mark.system

SEED = 192
CYCLES = 4


def test_nothing_is_lost_or_repeated_when_services_are_killed(tmp_path: Path) -> None:
    said = []
    found = run(tmp_path, CYCLES, SEED, said.append)
    assert found.good, "\n".join([*said, *found.examples])
    assert found.cycles == CYCLES
    assert found.acknowledged >= CYCLES * 2_000


def test_these_cycles_kill_every_service_alone_and_all_together() -> None:
    cycles = [plan.cycle(SEED, number) for number in range(1, CYCLES + 1)]
    assert {cycle.victims for cycle in cycles} == {plan.SERVICES, *((name,) for name in plan.SERVICES)}


def test_a_cycle_is_the_same_for_the_same_seed_only() -> None:
    assert plan.cycle(1, 5) == plan.cycle(1, 5)
    assert plan.cycle(1, 5) != plan.cycle(2, 5)


def test_a_cycle_leaves_at_least_two_thousand_records_acknowledged_whoever_gives_up() -> None:
    assert plan.RECORDS - plan.CLIENTS * 3 * plan.BATCH_RECORDS >= 2_000
