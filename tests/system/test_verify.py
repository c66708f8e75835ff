"""`treering verify` on a healthy system, and on one whose store was tampered with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.system.conftest import Up

from .conftest import cli, start_up

pytestmark = pytest.mark.system

RECORDS = 3_000


def lines(count: int) -> str:
    return "".join(
        json.dumps({"service": f"s{i % 3}", "message": f"request {i} took {i % 97} ms", "n": str(i)}) + "\n" for i in range(count)
    )


def parquet_files(up: Up) -> list[Any]:
    return sorted((up.data_dir / "query").rglob("*.parquet"))


def rewrite(file: Any, condition: str) -> None:
    """Writes a sealed segment anew, as a careless hand would: a valid file with other rows."""
    changed = file.with_suffix(".changed")
    duckdb.sql(f"copy (select * from read_parquet('{file}') where {condition}) to '{changed}' (format parquet)")
    changed.replace(file)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An instance of its own with everything in sealed segments, which tests may damage."""
    settings = {"TREERING_QUERY_HOT_MAX_ROWS": "1000", "TREERING_QUERY_HOT_MAX_AGE_S": "0.5"}
    started = start_up(tmp_path_factory.mktemp("verify") / "data", **settings)
    yield started
    started.kill()


def test_a_healthy_system_agrees(up: Up, shop: dict[str, int]) -> None:
    report = up.json("verify", "--json")
    assert (report["ok"], report["differences"], report["problems"]) == (True, [], [])
    assert report["end_offset"] >= shop["accepted"]
    assert report["pattern_count"] > 10
    assert "agree" in up.run("verify").stdout


def test_rows_that_are_gone_and_files_that_are_damaged_are_found(sealed: Up) -> None:
    sealed.json("send", "-", "--format", "jsonl", "--wait", given=lines(RECORDS))
    assert sealed.json("verify", "--json")["ok"]
    while sealed.json("status", "--json")["query"]["hot_record_count"]:
        assert sealed.process.poll() is None
    victim = parquet_files(sealed)[0]
    [(offset,)] = duckdb.sql(f"select min(\"offset\") + 5 from read_parquet('{victim}')").fetchall()
    original = victim.read_bytes()

    rewrite(victim, f'"offset" <> {offset}')
    done = sealed.run("verify", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    expected = {"first_offset": offset, "end_offset": offset + 1, "expected_count": 1, "store_count": 0, "in_log": True}
    assert (report["differences"], report["problems"]) == ([expected], [])

    victim.write_bytes(original[: len(original) // 2])
    done = sealed.run("verify")
    assert done.returncode == 1
    assert f"{victim.name} cannot be read" in done.stdout
    assert "Traceback" not in done.stderr

    victim.write_bytes(original)
    assert sealed.json("verify", "--json")["ok"]


def test_without_services_it_says_what_to_do(tmp_path: Path) -> None:
    done = cli("verify", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "treering up" in done.stderr


def test_what_retention_removed_is_no_difference_and_what_is_lost_beside_it_is(tmp_path: Path) -> None:
    settings = {
        "TREERING_QUERY_HOT_MAX_ROWS": "1000",
        "TREERING_QUERY_HOT_MAX_AGE_S": "0.5",
        "TREERING_QUERY_UPKEEP_INTERVAL_S": "0.2",
        "TREERING_QUERY_RETENTION_SERVICE_AGE_S": '{"s1": 0.1}',
    }
    up = start_up(tmp_path / "data", **settings)
    try:
        up.json("send", "-", "--format", "jsonl", "--wait", given=lines(RECORDS))
        while up.json("status", "--json")["query"]["record_count"] > RECORDS * 2 // 3:
            assert up.process.poll() is None
        report = up.json("verify", "--json")
        assert (report["ok"], report["expired_count"], report["differences"]) == (True, RECORDS // 3, [])
        assert f"{RECORDS // 3:,} records were removed from the store by retention" in up.run("verify").stdout

        victim = parquet_files(up)[-1]
        rewrite(victim, f'"offset" <> (select max("offset") from read_parquet(\'{victim}\'))')
        done = up.run("verify", "--json")
        assert done.returncode == 1
        assert "the others are lost" in json.loads(done.stdout)["problems"][0]
    finally:
        up.kill()
