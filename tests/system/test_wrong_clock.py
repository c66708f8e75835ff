"""A wrong clock deletes nothing: real processes, whose clock is set while they run and before they start."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from treering import Client, Endpoints

from .conftest import cli, start_up

pytestmark = pytest.mark.system

LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")
FAKETIME = next((str(found) for pattern in LIBRARIES for found in Path("/").glob(pattern[1:])), "")
LINES = 25
WRONG = ("+2y", "-2h", "@1970-01-01 00:10:00", "@2150-01-01 00:00:00", "+273y")
"""While the services run: years ahead, hours back, the year in which a machine without a battery starts, and beyond what 63 bits hold."""


class Machine:
    """`treering up` on a machine whose clock can be set; a day of retention, and upkeep as often as it can."""

    def __init__(self, directory: Path) -> None:
        self.data, self._clock, self._up = directory / "data", directory / "clock", None
        self._sent = itertools.count(1)
        self.set("+0")

    def set(self, time: str) -> None:
        self._clock.write_text(f"{time}\n")

    def starts(self) -> None:
        # the monotonic clocks stay: a hand on the wall clock does not move them
        faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self._clock), "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1"}
        kept = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        query = {"RETENTION_AGE_S": "86400", "UPKEEP_INTERVAL_S": "0.2", "HOT_MAX_ROWS": str(LINES)}
        self._up = start_up(self.data, **faked, **kept, **{f"TREERING_QUERY_{name}": value for name, value in query.items()})

    def stops(self) -> None:
        self._up.stop()  # its exit code says nothing here: under this library Python may not sleep while it waits for a child

    def ends(self) -> None:
        if self._up:
            self._up.kill()

    def sends(self) -> int:
        """A segment's worth of lines, each findable before it returns; returns how many were sent in all."""
        number = next(self._sent)
        lines = "".join(f"line {line} of part {number}\n" for line in range(LINES))
        self._up.json("send", "-", "--service", f"part{number}", "--wait", given=lines)
        return number * LINES

    def turns(self) -> None:
        """Returns when upkeep has looked at the clock, and deleted what it had to: each turn keeps the time in the catalog."""
        catalog, seen = self.data / "query" / "logs.duckdb", set()
        if not catalog.exists():
            catalog = self.data / "query" / "query" / "logs.duckdb"
        end = time.monotonic() + PATIENCE_S
        while len(seen) < 5 and time.monotonic() < end:
            seen.add(catalog.stat().st_mtime_ns)
            time.sleep(0.05)
        assert len(seen) == 5

    def holds(self) -> Any:
        [row] = self._up.sql("select count(*) as n from logs")
        return row["n"]

    def finds(self, number: int) -> list[Any]:
        with Client(Endpoints(**{name: self._up.ready[name] for name in ("ingest", "embed", "query")}), timeout=PATIENCE_S) as client:
            return [result.service for result in client.search_logs(f"line of part {number}", page_size=3).results]

    def status(self) -> tuple[Any, Any]:
        """What `treering status` says of the retention in words and as JSON, and its exit code."""
        words, fields = self._up.run("status"), self._up.run("status", "--json")
        assert words.returncode == fields.returncode, (words, fields)
        found = json.loads(fields.stdout)["query"]["retention_problem"]
        assert found in words.stdout
        return found, fields.returncode

    def accepts(self) -> None:
        done = cli("store", "accept-clock", str(self.data))
        assert done.returncode == 0, done.stderr
        end = time.monotonic() + PATIENCE_S
        while self._up.run("status").returncode and time.monotonic() < end:
            time.sleep(0.05)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ends()


@pytest.mark.skipif(not FAKETIME, reason="sets the clock of processes: apt-get install faketime")
def test_a_wrong_clock_deletes_nothing(machine: Machine) -> None:
    machine.starts()
    sent = machine.sends()
    assert machine.status() == ("", 0)
    for wrong in WRONG:
        machine.set(wrong)
        sent = machine.sends()
        machine.turns()
        assert (wrong, machine.holds()) == (wrong, sent)
        problem, code = machine.status()
        assert ("treering store accept-clock" in problem, code) == (True, 1)
        assert machine.finds(sent // LINES)
    machine.set("+0")
    machine.turns()
    assert machine.status()[1] == 1
    for at_start in ("+2y", "@1970-01-01 00:10:00"):
        machine.stops()
        machine.set(at_start)
        machine.starts()
        sent = machine.sends()
        machine.turns()
        assert (at_start, machine.holds(), machine.status()[1]) == (at_start, sent, 1)
    machine.set("+0")
    machine.accepts()
    machine.turns()
    assert (machine.holds(), machine.status()) == (sent, ("", 0))


@pytest.mark.skipif(not FAKETIME, reason="sets the clock of processes: apt-get install faketime")
def test_a_first_start_in_1970_keeps_its_records_when_the_clock_is_set_right(machine: Machine) -> None:
    machine.set("@1970-01-01 00:10:00")
    machine.starts()
    machine.sends()
    machine.set("+0")
    sent = machine.sends()
    machine.turns()
    assert (machine.holds(), machine.status()[1]) == (sent, 1)
    machine.accepts()
    machine.turns()
    assert (machine.holds(), machine.status()) == (sent, ("", 0))
