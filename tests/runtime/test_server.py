import asyncio
import contextlib
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.patience import PATIENCE_S
from treering.channels import CHANNEL_OPTIONS
from treering.v1 import ingest_pb2, ingest_pb2_grpc
from treering_runtime.errors import StartError
from treering_runtime.limits import STREAM_WINDOW_BYTES
from treering_runtime.server import Server, server_options

INGEST = "treering.v1.IngestService"
HEALTH = health_pb2.HealthCheckResponse
FAST_MESSAGES = 1_000
"""As many as make the library's own estimate open the window wide."""

SERVICE = """
import sys
from pathlib import Path
from typing import ClassVar
from treering_runtime import server
from treering_runtime.errors import StartError
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.settings import ServiceSettings
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.telemetry import new_registry

class Settings(ServiceSettings):
    service: ClassVar[str] = "sample"
    data_dir: Path = Path(sys.argv[2])
    listen: str = sys.argv[1]
    metrics_listen: str = "127.0.0.1:0"

settings, registry = Settings(), new_registry()

async def main():
    metrics = MetricsServer(settings.metrics_listen, registry)
    planes = Planes(settings, InnerPlane(settings), registry, {"public": [], "private": []})
    await planes.start()
    server.announce("sample", planes.public, planes.inner, metrics)
    await server.until_signalled()
    await planes.stop(0)
    metrics.close()

sys.exit(server.run(settings, main))
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[[Any], subprocess.Popen[str]]:
    """Starts the sample service, each time on a directory of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TREERING_")}
    numbers = itertools.count()

    def started(listen: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SERVICE, listen, tmp_path / f"data-{next(numbers)}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return started


class Waits(ingest_pb2_grpc.IngestServiceServicer):
    """Answers once it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let = asyncio.Event()

    async def GetIngestStatus(
        self, request: ingest_pb2.GetIngestStatusRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> ingest_pb2.GetIngestStatusResponse:
        self.entered.set()
        await self.let.wait()
        return ingest_pb2.GetIngestStatusResponse(log_id=7)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server("127.0.0.1:0", [INGEST], CollectorRegistry())
    yield server
    await server.stop(0)


async def health(channel: grpc.aio.Channel, service: str) -> Any:
    return (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_health_follows_what_the_service_says(server: Server) -> None:
    await server.start(ready=False)
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert [await health(channel, name) for name in ("", INGEST)] == [HEALTH.NOT_SERVING] * 2
        await server.set_ready(INGEST, ready=True)
        assert [await health(channel, name) for name in ("", INGEST)] == [HEALTH.NOT_SERVING, HEALTH.SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(channel, "treering.v1.Unknown")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(server: Server) -> None:
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        names = {service.name for service in (await call.read()).list_services_response.service}
    assert names == {INGEST, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_a_taken_port_is_refused(server: Server) -> None:
    await server.start()
    second = Server(server.address, [], CollectorRegistry())
    with pytest.raises(StartError, match=f"listen={server.address}: the address is in use"):
        await second.start()


async def test_a_handler_that_is_held_back_costs_one_window_of_its_stream(server: Server) -> None:
    held, taken, message = asyncio.Event(), asyncio.Event(), bytes(128 * 1024)

    async def upload(messages: list[str], context: Any) -> None:
        for _ in range(FAST_MESSAGES):
            await anext(messages)
        taken.set()
        await held.wait()

    upload_method = grpc.stream_unary_rpc_method_handler(upload, None, None)
    server.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fast.Then", {"Held": upload_method}),))
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = channel.stream_unary("/fast.Then/Held")()
        for _ in range(FAST_MESSAGES):
            await call.write(message)
        await taken.wait()
        unread = 0
        with contextlib.suppress(TimeoutError):
            while unread < FAST_MESSAGES:
                async with asyncio.timeout(2):
                    await call.write(message)
                unread += 1
        call.cancel()
    assert unread * len(message) <= 2 * STREAM_WINDOW_BYTES


def test_every_option_is_one_that_grpc_knows() -> None:
    """It ignores others without a word."""
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name, _ in (*server_options(), *CHANNEL_OPTIONS) if name.encode() + b"\0" not in library] == []


async def silent_for(reading: Any, seconds: int) -> Any:
    """Waits for a stream that has nothing to say; returns the reading, which goes on. Raises the stream's error, if it breaks."""
    reading = asyncio.ensure_future(reading)
    done, _ = await asyncio.wait({reading}, timeout=seconds)
    assert not done, reading.result()
    return reading


async def test_clients_that_keep_to_their_keepalive_outlive_a_server_that_was_stopped(
    start: Callable[[Any], subprocess.Popen[str]],
) -> None:
    """The SDK's options, thirty times as fast: pings each second, and a server that answers none for three."""
    faster = {"grpc.keepalive_time_ms": 500, "grpc.keepalive_timeout_ms": 10_000}
    with start("127.0.0.1:0") as process, contextlib.ExitStack() as ending:
        ending.callback(process.kill)
        address = json.loads(process.stdout.readline())["address"]
        async with grpc.aio.insecure_channel(address, options=[*(dict(CHANNEL_OPTIONS) | faster).items()]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == HEALTH.SERVING
            process.send_signal(signal.SIGSTOP)
            call = stub.Check(health_pb2.HealthCheckRequest())
            reading = await silent_for(watch.read(), 3)
            process.send_signal(signal.SIGCONT)
            assert (await call).status == HEALTH.SERVING
            # A client pings once a second at most: as long as it takes until a server that counts pings has its fill.
            reading = await silent_for(reading, 6)
            assert channel.get_state() is grpc.ChannelConnectivity.READY
            watch.cancel()
            await asyncio.wait({reading})
            assert reading.cancelled() or reading.exception()


async def test_a_drain_lets_running_calls_end_and_health_says_so() -> None:
    server, waits = Server("127.0.0.1:0", [INGEST], CollectorRegistry()), Waits()
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(waits, server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=INGEST))
        assert (await watch.read()).status == HEALTH.SERVING
        call = ingest_pb2_grpc.IngestServiceStub(channel).GetIngestStatus(ingest_pb2.GetIngestStatusRequest())
        await waits.entered.wait()
        stopping = asyncio.create_task(server.stop(30))
        assert (await watch.read()).status == HEALTH.NOT_SERVING
        watch.cancel()
        waits.let.set()
        assert (await call).log_id == 7
        await stopping


async def test_a_drain_ends_calls_that_take_longer_than_the_grace() -> None:
    server, waits = Server("127.0.0.1:0", [INGEST], CollectorRegistry()), Waits()
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(waits, server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = ingest_pb2_grpc.IngestServiceStub(channel).GetIngestStatus(ingest_pb2.GetIngestStatusRequest())
        await waits.entered.wait()
        await server.stop(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_announces_itself_and_ends_cleanly_when_signalled(
    start: Callable[[Any], subprocess.Popen[str]], number: signal.Signals
) -> None:
    with start("127.0.0.1:0") as process:
        line = json.loads(process.stdout.readline())
        process.send_signal(number)
        _, errors = process.communicate()
    assert line["serving"] == "sample"
    assert int(line["address"].rpartition(":")[2]) > 0
    assert process.returncode == 0
    assert [json.loads(entry)["level"] for entry in errors.splitlines()] == ["info"]


def test_a_process_that_cannot_start_says_why_without_a_traceback(start: Callable[[Any], subprocess.Popen[str]]) -> None:
    with start("127.0.0.1:0") as first:
        address = json.loads(first.stdout.readline())["address"]
        with start(address) as second:
            _, errors = second.communicate()
        first.terminate()
        first.communicate()
    assert second.returncode == 3
    assert errors.splitlines()[-1] == f"treering sample: listen={address}: the address is in use or not of this machine; choose another one"
    assert "Traceback" not in errors


def test_files_that_a_service_makes_are_only_its_own(tmp_path: Path) -> None:
    service = SERVICE.replace("metrics = MetricsServer", "Path(sys.argv[3]).write_text('x'); metrics = MetricsServer")
    with subprocess.Popen(
        [sys.executable, "-c", service, "127.0.0.1:0", tmp_path / "data", tmp_path / "made"], stdout=-1, umask=0o022
    ) as process:
        assert json.loads(process.stdout.readline())["serving"] == "sample"
        process.terminate()
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o600


def test_a_standard_input_that_never_ends_is_refused_where_its_end_is_waited_for(tmp_path: Path) -> None:
    environment = os.environ | {"STOP_WITH_STDIN": "true"}
    command = [sys.executable, "-c", SERVICE, "127.0.0.1:0", tmp_path / "data"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "give it a pipe, or leave the setting out" in done.stderr


def test_a_service_does_not_outlive_the_pipe_on_its_standard_input(tmp_path: Path) -> None:
    environment = os.environ | {"STOP_WITH_STDIN": "true"}
    command = [sys.executable, "-c", SERVICE, "127.0.0.1:0", tmp_path / "data"]
    with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, stderr=-1) as child:
        assert json.loads(child.stdout.readline())["serving"] == "sample"
        child.stdin.write(b"words change nothing")
        child.stdin.flush()
        child.stdin.close()
        assert child.wait(PATIENCE_S) == 0
