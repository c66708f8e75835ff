"""Records that a sink cannot read: they are set aside, hold nothing up, are accounted for, and can be read again."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.crash.services import free_ports
from treering import Client, Endpoints, LogRecord
from treering_runtime.crash_notes import UNREAD_AFTER

from .conftest import START_S, cli, environment

pytestmark = pytest.mark.system

DOUBLE = Path(__file__).parent / "dislikes.py"
WORD = "unspeakable"
BATCHES = [[f"request {batch} {number} was served" for number in range(20)] for batch in range(6)]
BATCHES[2][7] = f"the {WORD} thing happened"
BAD_OFFSET = 2 * 20 + 7


class Service:
    """One service on a port of its own, started as it is or with a fault."""

    def __init__(self, name, directory, port, **settings):
        self.address = f"127.0.0.1:{port}"
        self._name, self._directory = name, directory
        prefix = f"TREERING_{name.upper()}_"
        chosen = {"LISTEN": self.address, "METRICS_LISTEN": "127.0.0.1:0", "DATA_DIR": str(directory)} | settings
        self._environment = environment(**{prefix + key: value for key, value in chosen.items()})
        self.process = None

    async def start(self, fault=None):
        """Starts it; returns whether it came to serve."""
        module = f"treering_{self._name}"
        command = ["-m", module] if fault is None else [str(DOUBLE), module, WORD, fault]
        with self._directory.with_suffix(".log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        async with asyncio.timeout(START_S):
            return bool(await self.process.stdout.readline())

    async def stop(self):
        """Stops it as a supervisor would."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_S):
            return await self.process.wait()

    async def end(self):
        """Makes sure that nothing is left."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Instance:
    """The three services below one directory."""

    def __init__(self, directory):
        ports = free_ports(3)
        self.endpoints = Endpoints(*(f"127.0.0.1:{port}" for port in ports))
        sinks = f"embed={self.endpoints.embed},query={self.endpoints.query}"
        self.ingest = Service("ingest", directory / "ingest", ports[0], SINKS=sinks)
        self.embed = Service("embed", directory / "embed", ports[1])
        self.query = Service("query", directory / "query", ports[2], EMBED_ADDRESS=self.endpoints.embed)

    async def run(self, *arguments):
        """A command against these services."""
        places = {f"TREERING_{name.upper()}": getattr(self.endpoints, name) for name in ("ingest", "embed", "query")}
        return await asyncio.to_thread(lambda: cli(*arguments, **places))

    async def json(self, *arguments):
        """What a command that must succeed printed."""
        done = await self.run(*arguments)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def send(self):
        """Sends every batch and returns where the log ends then."""
        with Client(self.endpoints) as client, client.uploader(max_batch_records=20) as upload:
            for batch in BATCHES:
                for message in batch:
                    upload.send(LogRecord(service="shop", message=message))
                upload.flush()
        return upload.result().positions[0]

    def offsets(self, upto):
        """Offsets that SQL knows, once everything below a position is visible."""
        with Client(self.endpoints, timeout=START_S) as client:
            found = client.sql('select "offset" o from logs order by 1', min_positions=(upto,))
            return [row["o"] for row in found.rows()]


@pytest.fixture
async def instance(tmp_path):
    made = Instance(tmp_path)
    yield made
    for service in (made.ingest, made.embed, made.query):
        await service.end()


async def crashes_until_it_stays(service, client_end, endpoints):
    """Starts a service that ends by its own fault, again and again; how often it did before everything was taken."""
    crashes = 0
    while True:
        await service.start("kill")
        async with asyncio.timeout(START_S):
            if await asyncio.to_thread(taken, endpoints, client_end, service):
                return crashes
            assert await service.process.wait() == -signal.SIGKILL
        crashes += 1


def taken(endpoints, end, service):
    """Waits until a sink holds everything below `end`, or its process is gone; says which."""
    with Client(endpoints) as client:
        while service.process.returncode is None:
            for sink in client.get_ingest_status().sinks:
                if sink.address == service.address and sink.connected and sink.next_offset >= end.offset:
                    return True
    return False


@pytest.mark.parametrize("victim", ["query", "embed"])
async def test_a_frame_that_kills_its_sink_is_set_aside_after_five_crashes_and_can_be_read_later(instance, victim):
    other = instance.embed if victim == "query" else instance.query
    chosen = getattr(instance, victim)
    assert await instance.ingest.start()
    assert await other.start()
    end = await asyncio.to_thread(instance.send)
    assert await crashes_until_it_stays(chosen, end, instance.endpoints) == UNREAD_AFTER
    [entry] = [json.loads(line) for line in (await instance.run("quarantine", "list", "--json")).stdout.splitlines()]
    assert (entry["sink"], entry["first_offset"], entry["record_count"]) == (victim, 40, 20)
    assert f"{UNREAD_AFTER} times" in entry["reason"]
    await check_accounted(instance, victim, end, 20)

    done = await instance.run("quarantine", "retry", "--sink", victim)
    assert done.returncode == 1
    assert "stays set aside" in done.stderr
    assert await chosen.process.wait() == -signal.SIGKILL
    assert await chosen.start("refuse")
    assert (await instance.run("quarantine", "retry", "--sink", victim, "--json")).returncode == 1
    await check_accounted(instance, victim, end, 1)
    assert await chosen.stop() == 0
    assert await chosen.start()
    assert await instance.json("quarantine", "retry", "--json") == {
        "query": {"tried": int(victim == "query"), "stored": int(victim == "query"), "quarantined": 0},
        "embed": {"tried": int(victim == "embed"), "stored": int(victim == "embed"), "quarantined": 0},
    }
    await check_accounted(instance, victim, end, 0)
    [best, *_] = (await instance.json("search", WORD, "--mode", "semantic", "--json"))["results"]
    assert WORD in best["pattern"]


async def check_accounted(instance, victim, end, count):
    """Everything but `count` records of the bad batch is in SQL, `verify` agrees, `status` says how many."""
    found = await asyncio.to_thread(instance.offsets, end)
    missing = set(range(end.offset)) - set(found)
    expected = set(range(40, 40 + count)) if count > 1 else {BAD_OFFSET} if count else set()
    assert (len(found), missing) == (end.offset - len(missing), expected if victim == "query" else set())
    report = await instance.json("verify", "--json")
    assert (report["ok"], report["set_aside_count"]) == (True, len(missing))
    said = await instance.run("status")
    assert (f"treering quarantine list --sink {victim}" in said.stdout) == (count > 0)


async def test_an_offset_that_no_log_has_is_refused_in_words(instance):
    done = await instance.run("quarantine", "list", "--from", "5", "--to", "5")
    assert (done.returncode, "nothing lies between" in done.stderr) == (1, True)
