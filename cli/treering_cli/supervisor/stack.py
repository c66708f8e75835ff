"""The three services together."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from treering.channels import connect_async
from treering.inner import SOCKET, socket_address
from treering_cli.private_files import is_private, make_private_directory
from treering_cli.problems import Refusal
from treering_cli.supervisor.child import ADDRESS_TAKEN, CannotStartError, Child
from treering_cli.supervisor.log_file import LogFile
from treering_cli.supervisor.ports import free_ports

SERVICES = ("ingest", "embed", "query")
"""The services, in the order in which their addresses are told."""

_DEFAULT_PORTS = {"ingest": 4701, "embed": 4702, "query": 4703}
_DEFAULT_METRICS_PORTS = {"ingest": 4711, "embed": 4712, "query": 4713}
_PROCESS = ""
"""What health calls a whole process: it serves once it answers, or refuses for a reason that may last."""
_SEARCHES = "treering.v1.EmbedService"
"""What health calls searches by meaning: they wait for the index, and nothing else does."""
_HOST = "127.0.0.1"
_POLL_S = 0.05
_CALL_S = 2.0


@dataclass(frozen=True)
class Options:
    """What `treering up` was told."""

    data_dir: Path
    """Everything is kept below."""
    ports: dict[str, int]
    """The port of each service; 0 is any free one."""
    verbose: bool = False
    """Show the services' logs instead of keeping them in files."""
    longest_restart_delay_s: float = 10.0
    """Longest pause before a service that ended is started again, seconds; pauses grow up to this while it keeps ending soon."""


class PortTakenError(Exception):
    """A port that we drew was taken by something else before the service had it."""


class Stack:
    """The three services as children.

    Args:
        options: What was asked for.
        say: Told what happens, in words.
    """

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._say = say
        self._drawn = {name for name in SERVICES if not options.ports[name]}
        self.addresses, metrics = _draw(options.ports)
        directories = _directories(options.data_dir.absolute())
        self.inner = {name: _inner(name, options.data_dir.absolute()) for name in SERVICES}
        self.settings = {name: self._settings(name, directories[name], metrics[name]) for name in SERVICES}
        logs = options.data_dir / "logs"
        self._logs = {name: LogFile(logs / f"{name}.log", verbose=options.verbose) for name in SERVICES}
        self.children = {
            name: Child(name, self.settings[name], self._logs[name], say, options.longest_restart_delay_s) for name in SERVICES
        }

    def _settings(self, name: str, data_dir: Path, metrics: str) -> dict[str, str]:
        prefix = f"TREERING_{name.upper()}_"
        settings = {
            f"{prefix}LISTEN": self.addresses[name],
            f"{prefix}METRICS_LISTEN": metrics,
            f"{prefix}DATA_DIR": str(data_dir),
            f"{prefix}INNER_LISTEN": self.inner[name],
            f"{prefix}STOP_WITH_STDIN": "true",
        }
        if name == "ingest":
            settings[f"{prefix}SINKS"] = f"embed={self.inner['embed']},query={self.inner['query']}"
        if name == "query":
            settings[f"{prefix}EMBED_ADDRESS"] = self.inner["embed"]
        return settings

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Keeps the services running until cancelled, and stops them then; calls `on_ready` once, when all of them serve.

        Raises:
            Refusal: One of them cannot start.
            PortTakenError: A drawn port was taken: try again with a new `Stack`.
        """
        running = [asyncio.create_task(self._keep(name)) for name in SERVICES]
        readiness = asyncio.create_task(self._announce(on_ready))
        try:
            await _first_failure([*running, readiness])
        finally:
            # in this order: nobody announces services that stop, and the logs take what is said while they do
            readiness.cancel()
            await self._stop()
            await asyncio.gather(*running, readiness, return_exceptions=True)
            for log in self._logs.values():
                log.close()

    async def _keep(self, name: str) -> None:
        try:
            await self.children[name].run(lambda: None)
        except CannotStartError as refusal:
            if name in self._drawn and refusal.code == ADDRESS_TAKEN:
                raise PortTakenError(name) from refusal
            raise

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        await asyncio.gather(*(_until_serving(self.addresses[name], _PROCESS) for name in SERVICES))
        on_ready()
        if not await _is_serving(self.addresses["embed"], _SEARCHES):
            self._say("embed cannot open its index, so nothing is found by meaning yet; `treering status` says why")

    async def _stop(self) -> None:
        """Ingest first: then nothing new comes, and the others drain what they have."""
        await self.children["ingest"].stop()
        await asyncio.gather(self.children["query"].stop(), self.children["embed"].stop())


def _draw(ports: dict[str, int]) -> tuple[dict[str, str], dict[str, str]]:
    """Addresses of the services and of their metrics. Metrics have their default port where the service has its own."""
    free = iter(free_ports(2 * len(SERVICES)))
    addresses, metrics = {}, {}
    for name in SERVICES:
        addresses[name] = f"{_HOST}:{ports[name] or next(free)}"
        default = ports[name] == _DEFAULT_PORTS[name]
        metrics[name] = f"{_HOST}:{_DEFAULT_METRICS_PORTS[name] if default else next(free)}"
    return addresses, metrics


def _directories(data_dir: Path) -> dict[str, Path]:
    """What each service is told: its own directory; where others may write, the whole one, in which it makes and checks its own itself.

    Raises:
        Refusal: One of them is a link, or others own it or may write there.
    """
    own = {name: data_dir / name for name in SERVICES}
    for directory in own.values():
        make_private_directory(directory)
    return own if is_private(data_dir.stat()) else dict.fromkeys(SERVICES, data_dir)


def _inner(name: str, data_dir: Path) -> str:
    """Where a service has its socket: in its directory; or where the environment says, if the directory's disk can hold none.

    Raises:
        Refusal: The environment names a port: here everything is on one host.
    """
    variable = f"TREERING_{name.upper()}_INNER_LISTEN"
    given = os.environ.get(variable) or socket_address(data_dir / name / SOCKET)
    if not given.startswith("unix:"):
        raise Refusal(f"{variable}={given}: `treering up` connects its services by Unix sockets; leave it out, or give unix:PATH")
    return given


async def _first_failure(tasks: list["asyncio.Task[None]"]) -> None:
    """Waits until one of the tasks fails, and raises its error; otherwise until all have ended."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _until_serving(address: str, service: str) -> None:
    """Returns once the service says that it serves."""
    while not await _is_serving(address, service):  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(_POLL_S)


async def _is_serving(address: str, service: str) -> bool:
    """Whether it says so now. The channel is made anew for each try: no backoff between them."""
    request = health_pb2.HealthCheckRequest(service=service)
    async with connect_async(address) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=_CALL_S)
        except grpc.aio.AioRpcError:
            return False  # it is starting
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
