"""Serves `/metrics` over HTTP to Prometheus, and to nobody who comes by a name that is not ours."""

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Collection, Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from treering_runtime.errors import AddressTakenError, StartError
from treering_runtime.limits import MAX_METRICS_CONNECTIONS, MAX_METRICS_REQUEST_BYTES, METRICS_TIMEOUT_S

_PATH = "/metrics"
_TEXT = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves `/metrics` from one thread of its own, until `close`.

    A connection carries one request. One more than there may be ends the oldest: connections on which nothing comes keep nobody out.

    Args:
        listen: host:port; port 0 takes a free one, `address` has it.
        registry: What is shown.
        hosts: Names by which it may be asked, besides IP addresses and localhost. Any other is refused: a web page whose name was made to
            lead here could read the answer.

    Raises:
        StartError: The address is taken or cannot be used.
    """

    def __init__(self, listen: str, registry: CollectorRegistry, hosts: Collection[str] = ()) -> None:
        host, _, port = listen.rpartition(":")
        self._registry = registry
        self._hosts = {name.lower() for name in hosts} | {"localhost"}
        self._open: dict[asyncio.StreamWriter, None] = {}
        # On the caller's thread: a taken port must end the start, and a thread could only log it.
        self._socket = _listening(listen, host.strip("[]"), int(port))
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        # A loop of its own: a service whose own loop is blocked can still say so by its figures.
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        # A daemon: a reader that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering; a second time changes nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=MAX_METRICS_REQUEST_BYTES)
        await self._closing.wait()
        # a connection that was accepted a moment ago has a task, and is not among the open ones yet: without its end its socket would stay
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._open:
                writer.transport.abort()
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        server.close()  # after the last task: asyncio forgets a connection that it is accepting when its server is closed

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Accepted after `close` began: it would hold up the end.
        if self._closing.is_set():
            writer.transport.abort()
            return
        # The oldest, not the new one: whoever holds connections open would keep Prometheus out.
        if len(self._open) >= MAX_METRICS_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            # The time of the whole exchange, so a request that comes byte by byte ends too.
            async with asyncio.timeout(METRICS_TIMEOUT_S):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so slowly, or so much, is not Prometheus
        finally:
            self._open.pop(writer, None)
            # `abort` and not `close`: closing waits until the reader has taken what was written.
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        line, headers = _parsed(head)
        method, _, target = line.partition(" ")
        # Before anything is told: a web page that made its own name lead here gets nothing to read.
        if not self._is_ours(headers.get("host", "localhost")):
            return _response(HTTPStatus.FORBIDDEN, "not known by this name: METRICS_HOSTS of the service's settings lists its names\n")
        if target.partition(" ")[0].partition("?")[0] != _PATH:
            return _response(HTTPStatus.NOT_FOUND, f"only {_PATH} is here\n")
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is served\n")
        encode, kind = choose_encoder(headers.get("accept", ""))
        return _response(HTTPStatus.OK, encode(self._registry), kind)

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host)
        try:
            # An address cannot be made to lead elsewhere, as a name can.
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True


def _listening(listen: str, host: str, port: int) -> socket.socket:
    try:
        # A name may have several addresses; the first one is bound.
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        kind = AddressTakenError if error.errno == errno.EADDRINUSE else StartError
        raise kind(f"metrics_listen={listen}: {error.strerror}; choose another port") from error


def _parsed(head: bytes) -> tuple[str, Mapping[str, str]]:
    """The request's first line, and its headers by their names in small letters; a name that is there twice has both values."""
    line, *rest = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for each in filter(None, rest):
        name, _, value = each.partition(":")
        key = name.strip().lower()
        # Joined, so that two Host headers match no name.
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return line, headers


def _without_port(host: str) -> str:
    """The name or address of a Host header, in small letters: `a.b:80`, `[::1]:80`, `127.0.0.1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _response(status: HTTPStatus, body: str | bytes, kind: str = _TEXT) -> bytes:
    content = body if isinstance(body, bytes) else body.encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content
