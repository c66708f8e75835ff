"""The two planes of a service: one that people and programs ask, and the inner one. See `treering.inner`."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry

from treering.inner import SOCKET, InnerAddress, InnerPlaneError
from treering.inner.tls import TlsFiles
from treering_runtime.boundary import CallMetrics
from treering_runtime.channels import Peer
from treering_runtime.doors import Door, Port, Socket
from treering_runtime.errors import StartError
from treering_runtime.limits import STREAM_WINDOW_BYTES
from treering_runtime.request_limits import RequestLimits
from treering_runtime.server import Server
from treering_runtime.settings import ServiceSettings


class InnerPlane:
    """How a service is reached on the inner plane, and how it reaches others.

    Args:
        settings: Of the service.

    Raises:
        StartError: The settings do not fit together, or a file of theirs cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._prefix = f"TREERING_{settings.service.upper()}_"
        names = tuple(f"{self._prefix}INNER_{what}_FILE" for what in ("CA", "CERT", "KEY"))
        self._files = ", ".join(names)
        self._listen_setting = f"{self._prefix}INNER_LISTEN"
        try:
            # Certificates are read here, once: a file that cannot be used ends the start, and a new one waits for the next start.
            tls = TlsFiles.given(
                (settings.inner_ca_file, settings.inner_cert_file, settings.inner_key_file), (names[0], names[1], names[2])
            )
            self._server_credentials = tls.for_server() if tls else None
            self._client_credentials = tls.for_client(serves=True) if tls else None
        except InnerPlaneError as error:
            raise StartError(f"settings: {error}") from error
        self.door: Door = self._door(settings.inner_listen, settings.data_dir)

    def _door(self, listen: str, data_dir: Path) -> Door:
        address = self._parsed(self._listen_setting, listen) if listen else None
        path = address.path if address else data_dir / SOCKET
        if path:
            return Socket(path, self._listen_setting if listen else f"{self._prefix}DATA_DIR")
        return Port(listen, self._server_credentials, self._listen_setting)

    def peer(self, setting: str, text: str) -> Peer:
        """Another service, as one of the settings names it.

        Raises:
            StartError: It is no address, or one of another host and there are no files for TLS.
        """
        address = self._parsed(f"{self._prefix}{setting}", text)
        # A socket on this host needs no TLS: its directory is this user's alone, and `connect` looks at that.
        return Peer(text, None if address.path else self._client_credentials)

    def _parsed(self, setting: str, text: str) -> InnerAddress:
        try:
            address = InnerAddress.parse(text)
        except InnerPlaneError as error:
            raise StartError(f"settings: {setting}: {error}") from error
        if not address.path and not self._client_credentials:
            problem = f"the inner plane is reached over the network by mutual TLS alone; give {self._files}, or unix:PATH on one host"
            raise StartError(f"settings: {setting}={text}: {problem}")
        return address


class Planes:
    """The two servers of a service, which start and stop together.

    Args:
        settings: Of the service.
        inner: Its inner plane.
        registry: Where the calls of both are counted.
        services: Full names of the services that are `public`, and of those that are `private`, on the inner plane.
        limits: What requests may hold.
        inner_window_bytes: How much of one stream the inner server takes before its handler asks for it.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        inner: InnerPlane,
        registry: CollectorRegistry,
        services: Mapping[Literal["public", "private"], Sequence[str]],
        *,
        limits: RequestLimits | None = None,
        inner_window_bytes: int = STREAM_WINDOW_BYTES,
    ) -> None:
        # One registry cannot have the same metric twice, so both servers count with the same object.
        metrics = CallMetrics(registry)
        self.public = Server(settings.listen, services["public"], metrics, limits=limits)
        self.inner = Server(inner.door, services["private"], metrics, limits=limits, window_bytes=inner_window_bytes, are_ours=True)

    async def start(self, *, ready: bool = True) -> None:
        """Binds and serves both; see `Server.start`."""
        await self.inner.start(ready=ready)
        try:
            await self.public.start(ready=ready)
        # Taken back: a process that cannot start must leave no socket that looks alive.
        except StartError:
            await self.inner.stop(0)
            raise

    async def set_ready(self, service: str, *, ready: bool) -> None:
        """Says on both whether one service (full name; "" for the whole process) can answer."""
        await self.public.set_ready(service, ready=ready)
        await self.inner.set_ready(service, ready=ready)

    async def leave(self) -> None:
        """Says NOT_SERVING from now on, and still takes calls."""
        await self.public.leave()
        await self.inner.leave()

    async def stop(self, grace_s: float) -> None:
        """Drains both at the same time."""
        # At the same time: both have the same grace, and a drain must not take twice as long.
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(self.public.stop(grace_s))
            stopping.create_task(self.inner.stop(grace_s))
