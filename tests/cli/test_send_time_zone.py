"""`treering send --time-zone`: the zone of times that name none."""

from pathlib import Path

import pytest

from tests.cli.conftest import Query, Run

LINE = "2026-07-20 11:00:00 INFO started\n2026-07-20T11:00:00Z INFO going on\n"
NINE = 1_784_538_000_000_000_000
"""2026-07-20T09:00:00Z."""
HOUR = 3_600_000_000_000


@pytest.mark.parametrize(("zone", "hours"), [("Europe/Berlin", 0), ("+02:00", 0), ("-0300", 5), ("UTC", 2), ("", 2)])
def test_times_without_a_zone_are_in_the_one_that_is_given(run: Run, services: Query, tmp_path: Path, zone: str, hours: int) -> None:
    path = tmp_path / "a.log"
    path.write_text(LINE)
    assert run("send", path, "--time-zone", zone).exit_code == 0
    assert [record.time_unix_nano for record in services._ingest.records] == [NINE + hours * HOUR, NINE + 2 * HOUR]


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "+25:00", "../etc", "noon"])
def test_a_zone_that_nobody_knows_is_refused_before_anything_is_sent(run: Run, services: Query, tmp_path: Path, zone: str) -> None:
    path = tmp_path / "a.log"
    path.write_text(LINE)
    result = run("send", path, "--time-zone", zone)
    assert result.exit_code == 2
    assert "--time-zone" in result.stderr
    assert "Europe/Warsaw" in result.stderr
    assert not services._ingest.records
