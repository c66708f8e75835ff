"""The gRPC server of a service: health, reflection, one boundary for errors, graceful drain."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from treering_runtime.answers import USUAL_BOUNDS, CallBounds
from treering_runtime.boundary import Boundary, CallMetrics
from treering_runtime.clocks import outlast_python_time
from treering_runtime.doors import Door, Port
from treering_runtime.errors import StartError, StopError
from treering_runtime.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_PENDING_CALLS, STREAM_WINDOW_BYTES
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.open_files import raise_limit
from treering_runtime.request_limits import RequestLimits
from treering_runtime.settings import ServiceSettings
from treering_runtime.standard_streams import open_standard_streams
from treering_runtime.telemetry import configure_logging

_LOG = structlog.get_logger()
_STDIN = 0

_SIGNALLED: ContextVar[asyncio.Event] = ContextVar("signalled")
"""Set by the first SIGTERM or SIGINT of the `run` that this code belongs to."""

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # or a second server binds a used port silently
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.http2.bdp_probe", 0),  # or a busy process, late to answer, passes for a long network, and its windows grow to tens of MiB
    ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),  # or a burst of 1,000 new calls is cut at random, without a reason
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    # No ping is one too many. A server counts pings against a client until it next sends it something: an idle stream outlives any number,
    # and pings that a busy process reads late, several at once, are not taken for a flood.
    ("grpc.http2.max_ping_strikes", 0),
)


def server_options(window_bytes: int = STREAM_WINDOW_BYTES) -> Sequence[tuple[str, int]]:
    """The options of a server that takes so much of one stream from the wire before its handler asks for it."""
    return (*_OPTIONS, ("grpc.http2.lookahead_bytes", window_bytes))


class Server:
    """A grpc.aio server with health and reflection.

    States: *starting* (built, handlers are added through `grpc`), *serving* (after `start`; `set_ready` says for each service whether
    it can answer), *leaving* (after `leave`: health says NOT_SERVING, and that is all), *draining* (after `stop`: no new calls, running
    ones may end in the given time).

    Args:
        listen: host:port, or another way in; port 0 takes a free one, `address` has it after `start`.
        services: Full names of the services, for health and reflection.
        metrics: Where the calls are counted: a registry, or what another server of the process counts with.
        limits: What requests may hold; by default only what all services share is looked at.
        window_bytes: How much of one stream is taken from the wire before its handler asks for it.
        are_ours: Whether callers are ourselves, whose shares nobody counts.
        bounds: What callers may hold.
    """

    def __init__(
        self,
        listen: str | Door,
        services: Sequence[str],
        metrics: CollectorRegistry | CallMetrics,
        *,
        limits: RequestLimits | None = None,
        window_bytes: int = STREAM_WINDOW_BYTES,
        are_ours: bool = False,
        bounds: CallBounds = USUAL_BOUNDS,
    ) -> None:
        self._door = Port(listen) if isinstance(listen, str) else listen
        self._services = tuple(services)
        self._health = health.HealthServicer()
        boundary = Boundary(metrics, limits, are_ours=are_ours, bounds=bounds)
        self.answers = boundary.answers
        """What of its answers is not taken yet."""
        self.grpc = grpc.aio.server(interceptors=[boundary], options=server_options(window_bytes))
        self.address = ""

    async def start(self, *, ready: bool = True) -> None:
        """Binds and serves. With `ready=False` health says NOT_SERVING until `set_ready`.

        Raises:
            StartError: The address is taken or cannot be used.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        reflection.enable_server_reflection((*self._services, reflection.SERVICE_NAME, "grpc.health.v1.Health"), self.grpc)
        self.address = self._door.open(self.grpc)
        # Before `start`: the first health check already finds every service.
        for name in ("", *self._services):
            await self.set_ready(name, ready=ready)
        await self.grpc.start()

    async def set_ready(self, service: str, *, ready: bool) -> None:
        """Says whether one service (full name; "" for the whole process) can answer."""
        serving = health_pb2.HealthCheckResponse
        await self._health.set(service, serving.SERVING if ready else serving.NOT_SERVING)

    async def leave(self) -> None:
        """Says NOT_SERVING from now on, and still takes calls."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Drains: no new calls, running ones have `grace_s` seconds."""
        # Told first: whoever watches the health hears it before its stream ends.
        await self.leave()
        await self.grpc.stop(grace_s)
        # After gRPC has stopped: only then nobody uses the socket in the directory that this gives back.
        self._door.close()


async def until_signalled() -> None:
    """Returns at the first SIGTERM or SIGINT since `run` began; later ones change nothing while the drain goes on."""
    await _SIGNALLED.get().wait()


def announce(service: str, public: Server, inner: Server, metrics: MetricsServer) -> None:
    """Tells whoever started the process where it answers: one JSON line on standard output."""
    places = {"address": public.address, "inner": inner.address, "metrics": metrics.address}
    print(json.dumps({"serving": service, **places}), flush=True)  # noqa: T201 - this line is the interface
    _LOG.info("serving", **places)


def run(settings: ServiceSettings, main: Callable[[], Awaitable[None]]) -> int:
    """Runs a service to its end; the exit code is 0 after a drain, that of the error when it could not start, 1 when it could not go on."""
    open_standard_streams()  # first: what is opened before it may be standard error
    os.umask(0o077)  # databases make their files themselves, and all of them hold records
    configure_logging(settings.service, settings.log_level)
    outlast_python_time()
    try:
        # Before the loop, which needs descriptors first; inside the `try`, as too few are a StartError with words of its own.
        raise_limit()
        asyncio.run(_listening(settings, main))
    except (StartError, StopError) as error:
        _LOG.error("cannot start" if isinstance(error, StartError) else "cannot go on", problem=str(error))
        sys.stderr.write(f"treering {settings.service}: {error}\n")
        return error.exit_code if isinstance(error, StartError) else 1
    return 0


async def _listening(settings: ServiceSettings, main: Callable[[], Awaitable[None]]) -> None:
    """Listens for signals from the beginning: one that comes during the start is kept, and the start is followed by a drain."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    if settings.stop_with_stdin:
        _stop_with_stdin(loop, done)
    # A context variable: several runs in one process do not stop one another.
    _SIGNALLED.set(done)
    await main()


def _stop_with_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    try:
        loop.add_reader(_STDIN, _set_at_end, loop, done)
    except PermissionError:  # what the null device and files say: there is nothing to wait for
        raise StartError("stop_with_stdin: standard input is closed, or a file; give it a pipe, or leave the setting out") from None


def _set_at_end(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """Reads what has come on standard input; at its end, whoever started this process is gone."""
    if not os.read(_STDIN, 4096):
        loop.remove_reader(_STDIN)
        done.set()
