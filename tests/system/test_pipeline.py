"""Send, count, search, restart, still there."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Up

from .conftest import cli, environment

pytestmark = pytest.mark.system

PAYMENTS = "customers could not pay"
DISK = "a hard drive is dying"
PASSWORDS = "brute force login attack"


@pytest.fixture(scope="session")
def lines(shop_file: Path) -> list[Any]:
    return [json.loads(line) for line in shop_file.read_text().splitlines()]


def test_the_ready_line_names_all_three(up: Up) -> None:
    assert up.ready["ready"] is True
    assert all(int(up.ready[name].rpartition(":")[2]) > 0 for name in ("ingest", "embed", "query"))


def test_everything_is_accepted(shop: dict[str, int], lines: list[Any]) -> None:
    assert {name: shop[name] for name in ("accepted", "duplicate", "rejected")} == {"accepted": len(lines), "duplicate": 0, "rejected": 0}


def test_sql_counts_what_was_sent(up: Up, shop: dict[str, int], lines: list[Any]) -> None:
    environment_is_shop = "where environment = 'prod'"
    counted = up.sql(f"select service, count(*) n from logs {environment_is_shop} group by service order by service")
    assert {row["service"]: row["n"] for row in counted} == Counter(line["service"] for line in lines)
    [row] = up.sql(f'select count(distinct "offset") n, min(time) first, max(time) last from logs {environment_is_shop}')
    assert row["n"] == len(lines)
    assert str(row["first"])[:10] == str(row["last"])[:10] == "2026-03-12"


def test_attributes_and_messages_come_back_as_they_were(up: Up, shop: dict[str, int], lines: list[Any]) -> None:
    wanted = next(line for line in lines if "\n" in line["message"] and "HikariPool" in line["message"])
    of_that_order = f"attributes['order'] = '{wanted['order']}' and contains(message, 'HikariPool')"
    [row] = up.sql(f"select message, attributes['order'] o, severity_text s from logs where {of_that_order}")
    assert row == {"message": wanted["message"], "o": wanted["order"], "s": "ERROR"}


@pytest.mark.parametrize(
    ("text", "services"),
    [(PAYMENTS, {"payments", "checkout", "gateway"}), (DISK, {"inventory"}), (PASSWORDS, {"auth"})],
)
def test_search_finds_by_meaning(up: Up, shop: dict[str, int], text: str, services: set[str]) -> None:
    results = up.json("search", text, "--json", "--limit", "5")["results"]
    leading = [result["records"][0]["service"] for result in results[:3]]
    assert set(leading[:1]) <= services
    assert sum(service in services for service in leading) >= 2
    assert all(result["count"] > 0 and result["why"] and result["records"] for result in results)
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)


def test_an_identifier_leads_and_is_in_the_sample(up: Up, shop: dict[str, int], lines: list[Any]) -> None:
    order = next(line["order"] for line in lines if line["message"].startswith("Gave up on the payment"))
    results = up.json("search", order, "--json")["results"]
    assert order in results[0]["records"][0]["message"]


def test_aggregate_adds_up(up: Up, shop: dict[str, int], lines: list[Any]) -> None:
    answer = up.json("aggregate", "--by", "severity", "--environment", "prod", "--json")
    assert f"{Counter(line['level'] for line in lines)['ERROR']}" in json.dumps(answer)


@pytest.mark.parametrize("command", [["patterns"], ["status"], ["config"], ["context", "100"]])
@pytest.mark.parametrize("as_json", [True, False])
def test_other_commands_answer(up: Up, shop: dict[str, int], command: list[str], as_json: bool) -> None:
    done = up.run(*command, *(["--json"] if as_json else []))
    assert (done.returncode, done.stdout != "") == (0, True), done.stderr
    assert not as_json or json.loads(done.stdout)


def test_a_second_up_is_refused(up: Up) -> None:
    done = cli("up", "--data-dir", up.data_dir, "--ingest-port", "0", "--embed-port", "0", "--query-port", "0")
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert "Traceback" not in done.stderr


def test_tail_shows_what_comes_in(up: Up) -> None:
    command = [sys.executable, "-m", "treering_cli", "tail", "--service", "tailed", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(TREERING_DATA_DIR=str(up.data_dir))) as tail:
        up.json("send", "-", "--service", "tailed", "--wait", given="first\n")
        up.json("send", "-", "--service", "tailed", "--wait", given="second\n")
        shown = json.loads(tail.stdout.readline())
        tail.terminate()
    assert shown["message"] in {"first", "second"}


def test_a_restart_keeps_everything_and_stops_cleanly(up: Up, shop: dict[str, int]) -> None:
    counts = "select count(*) n, count(distinct pattern_id) p from logs where service <> 'after'"
    counted, found = up.sql(counts), meanings(up)
    services = [up.service(name) for name in ("ingest", "embed", "query")]
    up.restart()
    assert not any(service.is_running() for service in services)
    assert up.json("send", "-", "--service", "after", "--wait", given="one more\n")["accepted"] == 1
    assert up.sql(counts) == counted
    assert meanings(up) == found
    assert "Traceback" not in up.errors.read_text()


def meanings(up: Up) -> list[Any]:
    return [result["pattern_id"] for result in up.json("search", DISK, "--json", "--mode", "semantic")["results"]]
