"""How a service is put together: the same order of start and stop, and the same exit codes, for each of them."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry

from treering_runtime.data_dir import DataDir
from treering_runtime.errors import StartError
from treering_runtime.loop_lag import LoopLag
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.planes import Planes
from treering_runtime.server import announce, run, until_signalled
from treering_runtime.settings import ServiceSettings, load, names
from treering_runtime.telemetry import new_registry

_S = TypeVar("_S", bound=ServiceSettings)


class Service(Protocol):
    """One running service. `start`, `run` until it ends, `stop`; nothing of it can be used twice."""

    @property
    def planes(self) -> Planes:
        """Where it answers."""

    async def start(self) -> None:
        """Opens what it keeps, then serves.

        Raises:
            StartError: It cannot.
        """

    async def run(self) -> None:
        """What it does beside calls; it is cancelled at the end. Ends by itself only when the service cannot go on.

        Raises:
            StartError: Something that is prepared after the start cannot be used.
            StopError: The service cannot go on.
        """

    async def stop(self, grace_s: float) -> None:
        """Drains calls, `grace_s` seconds at most, then closes everything in the reverse order of its start."""


def main(settings_of: type[_S], make: Callable[[_S, CollectorRegistry], Service]) -> int:
    """Runs a service to its end, as a program.

    Args:
        settings_of: Its settings, read from the environment; their data directory is the one that is used in the end.
        make: The service of settings; its calls are counted in the registry.

    Returns:
        The exit code: 0 after a drain, that of the error when it could not start, 1 when it could not go on.
    """
    try:
        settings = load(settings_of)
    except StartError as error:
        sys.stderr.write(f"treering {settings_of.service}: {error}\n")
        return error.exit_code
    return run(settings, lambda: _serve(settings, make))


async def _serve(settings: _S, make: Callable[[_S, CollectorRegistry], Service]) -> None:
    registry = new_registry()
    LoopLag(asyncio.get_running_loop(), registry)
    # First: nobody else has the directory from here on, and everything else is inside it.
    directory = DataDir(settings.data_dir, f"treering-{settings.service}", settings.format_version)
    try:
        settings = settings.model_copy(update={"data_dir": directory.path})
        # Before the service, whose start may be long: a port that is taken is said at once.
        metrics = MetricsServer(settings.metrics_listen, registry, names(settings.metrics_hosts))
        try:
            await _serve_in(settings, make(settings, registry), metrics)
        finally:
            metrics.close()
    finally:
        # Last: whoever starts next must find everything closed.
        directory.close()


async def _serve_in(settings: ServiceSettings, service: Service, metrics: MetricsServer) -> None:
    # A start that fails leaves its parts as they are: the process ends, and what they keep is safe at any moment.
    await service.start()
    announce(settings.service, service.planes.public, service.planes.inner, metrics)
    try:
        await first_of(until_signalled(), service.run())
    finally:
        await service.stop(settings.drain_seconds)


async def first_of(*works: Coroutine[None, None, None]) -> None:
    """Runs all until the first ends, and ends as that one does; the others are cancelled and over before this returns."""
    tasks = {asyncio.create_task(work) for work in works}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
