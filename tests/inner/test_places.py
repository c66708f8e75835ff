"""Where a socket of the inner plane may be, and whose it must be."""

import os
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.privileges import needs_root
from treering import AdminClient, InnerEndpoints
from treering.inner import InnerAddress, InnerPlaneError, SocketPlace, socket_address
from treering.inner.channels import connect, connect_async
from treering_runtime.channels import Peer, PeerAway, PeerConnection
from treering_runtime.doors import Socket
from treering_runtime.errors import StartError
from treering_runtime.server import Server

LISTENS = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
print("listening", flush=True)
sys.stdin.read()
"""
SERVING = health_pb2.HealthCheckResponse.SERVING


def server_at(path):
    return Server(Socket(path, "inner_listen"), [], CollectorRegistry())


async def health(channel):
    return (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)).status


async def test_directory_and_socket_are_the_users_alone_whatever_the_umask(tmp_path):
    path = tmp_path / "data" / "inner" / "s"
    before = os.umask(0)
    try:
        server = server_at(path)
        await server.start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.stop(0)
    assert not path.exists()


async def test_a_path_of_any_length_works(tmp_path):
    path = tmp_path.joinpath(*["d" * 100] * 10) / "inner" / "s"
    server = server_at(path)
    await server.start()
    async with connect_async(server.address) as channel:
        assert await health(channel) == SERVING
    await server.stop(0)


def open_to_others(path):
    path.mkdir()
    path.chmod(0o755)


def writable(path):
    path.mkdir()
    path.chmod(0o770)


def link(path):
    (path.parent / "real").mkdir(mode=0o700)
    path.symlink_to(path.parent / "real")


def file(path):
    path.touch()


WRONG = [
    pytest.param(open_to_others, "is open to others; close it: chmod 700", id="readable"),
    pytest.param(writable, "is open to others; close it: chmod 700", id="writable"),
    pytest.param(link, "is a link or no directory; take it away", id="link"),
    pytest.param(file, "is a link or no directory; take it away", id="file"),
]


@pytest.mark.parametrize(("make", "problem"), WRONG)
async def test_a_directory_that_others_can_come_into_is_refused_by_both_sides(tmp_path, make, problem):
    path = tmp_path / "inner" / "s"
    make(path.parent)
    with pytest.raises(StartError, match=f"^inner_listen: {path.parent} {problem}"):
        await server_at(path).start()
    with pytest.raises(InnerPlaneError, match=problem):
        connect(socket_address(path))
    with pytest.raises(PeerAway, match=r"^the directory of its socket is not one of this user's alone$"):
        Peer(socket_address(path)).connect()


@pytest.mark.parametrize("owner", [pytest.param(65534, marks=needs_root)])
async def test_a_directory_of_somebody_else_is_refused_by_both_sides(tmp_path, owner):
    path = tmp_path / "inner" / "s"
    path.parent.mkdir(mode=0o700)
    os.chown(path.parent, owner, owner)
    with pytest.raises(StartError, match="belongs to user 65534, not to this one"):
        await server_at(path).start()
    with pytest.raises(InnerPlaneError, match="belongs to user 65534"):
        connect(socket_address(path))


def test_only_mode_700_will_do(tmp_path):
    random = Random(5)
    for number, mode in enumerate({0o700, *(0o700 | random.randrange(0o100) for _ in range(40))}):
        directory = tmp_path / str(number)
        directory.mkdir()
        directory.chmod(mode)
        if mode == 0o700:
            SocketPlace(directory / "s").close()
        else:
            with pytest.raises(InnerPlaneError, match="is open to others"):
                SocketPlace(directory / "s")


@pytest.fixture
def listening(tmp_path):
    """Another process that listens on a socket in a place of ours."""
    path = tmp_path / "i" / "s"
    path.parent.mkdir(mode=0o700)
    with subprocess.Popen([sys.executable, "-c", LISTENS, path], stdin=-1, stdout=-1) as process:
        assert process.stdout.readline()
        yield process, path
        process.kill()


async def test_what_a_killed_process_left_is_taken_away(listening):
    left, path = listening
    left.kill()
    left.wait()
    assert stat.S_ISSOCK(path.stat().st_mode)
    server = server_at(path)
    await server.start()
    async with connect_async(server.address) as channel:
        assert await health(channel) == SERVING
    await server.stop(0)


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_socket_of_a_living_process_stays(listening, stopped):
    living, path = listening
    if stopped:  # its queue fills up, and it takes nothing from it
        living.send_signal(signal.SIGSTOP)
    for _ in range(5):
        with pytest.raises(StartError, match=f"{path} is in use by another process; stop that one"):
            await server_at(path).start()
    assert stat.S_ISSOCK(path.stat().st_mode)


async def test_what_is_no_socket_stays(tmp_path):
    path = tmp_path / "i" / "s"
    path.parent.mkdir(mode=0o700)
    path.write_text("mine")
    with pytest.raises(StartError, match=f"{path} is no socket; look what it is"):
        await server_at(path).start()
    assert path.read_text() == "mine"


async def test_a_link_in_the_place_of_the_socket_is_not_followed(tmp_path):
    path, other = tmp_path / "i" / "s", tmp_path / "other"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other))
    path.symlink_to(other)
    with pytest.raises(StartError, match="is no socket"):
        await server_at(path).start()
    assert stat.S_ISSOCK(other.stat().st_mode)


async def test_a_place_where_nobody_may_write_is_named_with_the_remedy(tmp_path):
    with pytest.raises(StartError, match=r"^inner_listen: /proc/no/s: .*; name a place that this user may write, unix:PATH$"):
        await server_at(Path("/proc/no/s")).start()


async def test_another_directory_put_in_its_place_gets_no_caller(tmp_path):
    """What was checked is what is used, also when the connection is made anew."""
    path, trap = tmp_path / "inner" / "s", tmp_path / "trap" / "s"
    ours, theirs = server_at(path), server_at(trap)
    await ours.start()
    await theirs.start()
    async with connect_async(ours.address) as channel:
        assert await health(channel) == SERVING
        await ours.stop(0)
        path.parent.rename(tmp_path / "away")
        trap.parent.rename(path.parent)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await theirs.stop(0)


async def test_a_lasting_connection_follows_a_directory_that_was_made_anew(tmp_path):
    path = tmp_path / "inner" / "s"
    connection = PeerConnection(Peer(socket_address(path)))
    with pytest.raises(PeerAway, match=r"^the directory of its socket cannot be opened: No such file or directory$"):
        connection.channel()
    for generation in range(2):
        server = server_at(path)
        await server.start()
        assert await health(connection.channel()) == SERVING
        assert connection.channel() is connection.channel()
        await server.stop(0)
        path.parent.rename(tmp_path / f"away-{generation}")
    await connection.close()


def test_channels_give_their_descriptors_back(tmp_path):
    path = tmp_path / "inner" / "s"
    SocketPlace.made(path).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        connect(socket_address(path)).close()
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 5


def test_a_command_waits_for_a_service_that_is_busy(tmp_path):
    """Nobody repeats what changes something, so a connection that is slow to be taken is waited for."""
    place = SocketPlace.made(tmp_path / "i" / "s")
    with socket.socket(socket.AF_UNIX) as busy, ThreadPoolExecutor(1) as caller:
        busy.bind(str(place.path))
        busy.listen()
        with AdminClient(InnerEndpoints(embed=socket_address(place.path))) as admin:
            asking = caller.submit(admin.start_reindex)
            with pytest.raises(TimeoutError):
                asking.result(timeout=1)
            busy.close()
        assert asking.exception()
    place.close()


@pytest.mark.parametrize("name", ["a b", "a,b", "a=b,c=d", "50%", "%2C", "\n", "ö", "\udcff", "a:1"])
def test_any_path_can_be_written_as_an_address(tmp_path, name):
    path = tmp_path / name / "s"
    address = socket_address(path)
    assert "," not in address
    assert InnerAddress.parse(address).path == path


@pytest.mark.parametrize("text", ["", "unix:", "unix:/a/", "host", "host:x", "host:70000", "a b:1", "http://x:1", "host:1,2"])
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(
        InnerPlaneError, match=r"^invalid address .*; use unix:PATH, for example unix:/run/treering/ingest/s, or host:port$"
    ):
        InnerAddress.parse(text)
