"""The inner plane of real services: closed to whoever reaches a port, open to whoever may read the data directory or has the files."""

import asyncio
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.certificates import Authority, Files
from tests.crash.services import free_ports
from tests.inner.test_planes import INNER, code_of
from tests.privileges import needs_root
from tests.system.conftest import Up
from tests.system.instance import Service
from treering import Client, Endpoints, LogRecord
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliveryStart

from .conftest import START_S, cli, start_up

pytestmark = pytest.mark.system
SERVICES = ("ingest", "embed", "query")


async def test_every_inner_rpc_is_unimplemented_on_every_public_port(up: Up) -> None:
    for name in SERVICES:
        async with grpc.aio.insecure_channel(up.ready[name]) as channel:
            for service, method in INNER:
                assert await code_of(channel, service, method) is grpc.StatusCode.UNIMPLEMENTED, (name, service, method.name)
            ask = reflection_pb2.ServerReflectionRequest(list_services="")
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
            listed = {service.name for service in (await call.read()).list_services_response.service}
            assert listed.isdisjoint({service for service, _ in INNER})
            call.cancel()


async def test_a_strangers_delivery_moves_no_sink(up: Up) -> None:
    log_id = int(up.json("status", "--json")["ingest"]["log_id"])
    start = DeliverLogsRequest(start=DeliveryStart(log_id=log_id, log_start_offset=10**9))
    for name in ("embed", "query"):
        async with grpc.aio.insecure_channel(up.ready[name]) as channel:
            deliver = next(rpc for rpc in INNER if rpc[1].name == "DeliverLogs")
            assert await code_of(channel, *deliver, start.SerializeToString()) is grpc.StatusCode.UNIMPLEMENTED
    said = up.json("send", "-", "--wait", given="a record after a stranger's delivery\n")
    assert (said["accepted"], said["visible"]) == (1, True)
    assert up.json("verify", "--json")["ok"]


def test_sockets_and_their_directories_are_the_users_alone(up: Up) -> None:
    found = json.loads((up.data_dir / "up.json").read_text())["inner"]
    for name in SERVICES:
        place = up.data_dir / name / "inner" / "s"
        assert found[name] == f"unix:{place}"
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert {sink["address"] for sink in up.json("status", "--json")["ingest"]["sinks"]} == {"unix"}


def test_commands_find_the_sockets_by_the_data_directory(up: Up) -> None:
    up.json("send", "-", "--wait", given="somebody pulled the plug\n")
    assert up.json("verify", "--json")["ok"]
    assert up.json("store", "verify", "--json")["ok"]
    assert up.run("quarantine", "list").returncode == 0
    assert up.json("quarantine", "retry", "--json")["query"]["tried"] == 0
    assert up.json("reindex", "--json")["phase"] == "done"


def test_commands_find_the_sockets_by_options(up: Up, tmp_path: Path) -> None:
    inner = [word for name in SERVICES for word in (f"--inner-{name}", f"unix:{up.data_dir / name / 'inner' / 's'}")]
    public = [word for name in SERVICES for word in (f"--{name}", up.ready[name])]
    done = cli("verify", "--json", *inner, *public, TREERING_DATA_DIR="")
    assert json.loads(done.stdout)["ok"], done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--inner-query", "unix:/no/such/directory/s"), "nobody serves at unix:/no/such/directory/s: there is no such directory"),
        (("--inner-query", "127.0.0.1:1"), "127.0.0.1:1: the inner plane is reached over the network by mutual TLS alone"),
        (("--inner-ca-file", "/x"), "--inner-cert-file and --inner-key-file: not given, but the others are"),
        (("--inner-query", "nonsense"), "invalid address 'nonsense'; use unix:PATH"),
    ],
)
def test_without_access_a_command_says_what_to_give(arguments: tuple[str, str], words: str) -> None:
    done = cli("store", "verify", *arguments)
    said = " ".join(done.stderr.split())
    assert done.returncode != 0
    assert words in said
    if "nonsense" not in words and "not given" not in words:
        assert "--inner-ca-file, --inner-cert-file, --inner-key-file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("owner", [pytest.param(65534, marks=needs_root)])
def test_the_sockets_of_another_user_are_not_asked(tmp_path: Path, owner: int) -> None:
    place = tmp_path / "inner"
    place.mkdir(mode=0o700)
    os.chown(place, owner, owner)
    done = cli("store", "verify", "--inner-query", f"unix:{place}/s")
    assert (done.returncode, f"belongs to user {owner}, not to this one" in done.stderr) == (1, True)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started = []

    def make(data_dir: Path, **settings: Any) -> Up:
        started.append(start_up(data_dir, **settings))
        return started[-1]

    yield make
    for each in started:
        each.kill()


def test_a_data_directory_with_a_long_and_odd_path_serves_all(own: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / ("x" * 200)).mkdir()
    up = own(tmp_path / ("x" * 200) / "a, b=c%2C")
    assert up.json("send", "-", "--wait", given="one\ntwo\n")["visible"]
    assert up.json("verify", "--json")["ok"]
    assert up.stop() == 0
    assert not list(up.data_dir.rglob("inner/s"))


def test_killed_services_take_their_places_again(own: Callable[..., Up], tmp_path: Path) -> None:
    up = own(tmp_path / "data")
    for number, name in enumerate(SERVICES):
        up.service(name).kill()
        said = up.json("send", "-", "--wait", given=f"{name} was killed, number {number}\n")
        assert (said["accepted"], said["visible"]) == (1, True)
    assert up.json("verify", "--json")["ok"]
    assert up.json("store", "verify", "--json")["ok"]
    up.kill()  # all at once: three sockets are left
    assert len(list(up.data_dir.rglob("inner/s"))) == 3
    again = own(tmp_path / "data")
    assert again.json("verify", "--json")["ok"]


def test_two_instances_on_one_host_keep_to_themselves(up: Up, own: Callable[..., Up], tmp_path: Path) -> None:
    other = own(tmp_path / "data")
    assert other.json("send", "-", "--wait", given="a word for the other one only\n")["accepted"] == 1
    assert other.json("verify", "--json")["end_offset"] == 1
    assert up.json("sql", "select count(*) n from logs where message = 'a word for the other one only'", "--format", "json") == [{"n": 0}]


class Hosts:
    """The three services as on three hosts: nothing but addresses and certificates joins them."""

    def __init__(self, directory: Path, authority: Authority, *, query_files: Files | None = None) -> None:
        public, inner = free_ports(3), free_ports(3)
        self.inner = dict(zip(SERVICES, (f"127.0.0.1:{port}" for port in inner), strict=True))
        self.endpoints = Endpoints(*(f"127.0.0.1:{port}" for port in public))
        others = {
            "ingest": {"SINKS": f"embed={self.inner['embed']},query={self.inner['query']}"},
            "query": {"EMBED_ADDRESS": self.inner["embed"]},
        }
        self.services = {}
        for name, port in zip(SERVICES, public, strict=True):
            files = query_files if name == "query" and query_files else authority.files(name)
            settings = files.settings("") | {"INNER_LISTEN": self.inner[name]} | others.get(name, {})
            self.services[name] = Service(name, directory / name, port, directory / f"{name}.log", **settings)

    async def run(self, *arguments: str, files: Files | None = None) -> Any:
        places = {f"TREERING_{name.upper()}": getattr(self.endpoints, name) for name in SERVICES}
        places |= {f"TREERING_INNER_{name.upper()}": address for name, address in self.inner.items()}
        return await asyncio.to_thread(lambda: cli(*arguments, **places, **(files.settings("TREERING_") if files else {})))

    async def end(self) -> None:
        for service in self.services.values():
            await service.end()


def sent(endpoints: Any) -> int:
    with Client(endpoints, timeout=START_S) as client:
        with client.uploader() as upload:
            for number in range(50):
                upload.send(LogRecord(service="s", message=f"the brake of wagon {number} is worn out"))
        positions = upload.result().positions
        while (found := client.search_logs("worn brakes", min_positions=positions)).degraded_because:
            assert "loading its model" in found.degraded_because
        return found.results[0].count


async def test_between_hosts_services_and_people_show_their_certificates(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "tls"), Authority(tmp_path / "stranger")
    hosts = Hosts(tmp_path, authority)
    try:
        assert await asyncio.gather(*(service.start() for service in hosts.services.values())) == [True] * 3
        assert await asyncio.to_thread(sent, hosts.endpoints) == 50
        person = authority.files("operator")
        for command in (("verify", "--json"), ("store", "verify", "--json"), ("reindex", "--json"), ("quarantine", "retry", "--json")):
            done = await hosts.run(*command, files=person)
            assert done.returncode == 0, (command, done.stderr)
        without = await hosts.run("store", "verify")
        assert (without.returncode, "by mutual TLS alone; give its three files" in without.stderr) == (1, True)
        foreign = await hosts.run("store", "verify", files=stranger.files("operator"))
        assert (foreign.returncode, "nobody answers at" in foreign.stderr) == (1, True)
        person.key.chmod(0o644)
        careless = await hosts.run("store", "verify", files=person)
        assert (careless.returncode, "others may read it; chmod 600" in careless.stderr) == (1, True)
    finally:
        await hosts.end()


async def test_the_log_goes_to_no_sink_of_another_authority(tmp_path: Path) -> None:
    """Whoever answers at a sink's address gets nothing before it has shown a certificate."""
    hosts = Hosts(tmp_path, Authority(tmp_path / "tls"), query_files=Authority(tmp_path / "stranger").files("query"))
    try:
        assert await hosts.services["query"].start()
        assert await hosts.services["ingest"].start()
        with Client(hosts.endpoints, timeout=START_S) as client:
            with client.uploader() as upload:
                upload.send(LogRecord(service="s", message="for our own sinks only"))
            while not (sink := client.get_ingest_status().sinks[1]).last_error:
                pass
            assert (sink.name, sink.connected, sink.next_offset) == ("query", False, 0)
            assert client.get_query_status().record_count == 0
    finally:
        await hosts.end()
