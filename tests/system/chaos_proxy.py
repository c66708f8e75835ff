"""A TCP proxy that cuts, resets, stalls and delays what passes through it, on demand."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

_CHUNK_BYTES = 16 * 1024


class Cut(Enum):
    """How a connection ends."""

    CLOSE = "close"
    """Both sides are closed in order."""
    RESET = "reset"
    """Both sides get a TCP reset."""
    HALF_OPEN = "half-open"
    """The server's side is closed, the client's stays open and never hears another byte."""


@dataclass
class ChaosProxy:
    """Listens on a free port of loopback and connects each client to `upstream`.

    `cuts` are taken one for each new connection: after so many bytes from the client, that end. While `stop` holds (until `go_on`),
    nothing passes in either direction and connections stay up, new ones too. `delay_s` is spent on each chunk from the client, which
    then has `chunk_bytes` at most.

    Use as an asynchronous context manager; belongs to one event loop.
    """

    upstream: str
    cuts: deque[tuple[int, Cut]] = field(default_factory=deque)
    delay_s: float = 0.0
    chunk_bytes: int = _CHUNK_BYTES
    connections: int = 0
    """How many were accepted."""

    def __post_init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def stop(self) -> None:
        """A black hole from now on."""
        self._flowing.clear()

    def go_on(self) -> None:
        """What was held back passes, and everything after it."""
        self._flowing.set()

    def drop(self) -> None:
        """Ends every connection that is there."""
        for task in self._tasks:
            task.cancel()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._serve(reader, writer, self.cuts.popleft() if self.cuts else None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: tuple[int, Cut] | None) -> None:
        host, _, port = self.upstream.rpartition(":")
        try:
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        self._writers.add(server_writer)
        there = asyncio.create_task(self._forward(reader, server_writer, cut[0] if cut else None))
        back = asyncio.create_task(self._return(server_reader, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            was_cut = cut and there.done() and not there.cancelled() and there.result()
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            if cut and cut[1] is Cut.RESET:
                _reset(writer)
                _reset(server_writer)
            server_writer.transport.abort()
        if was_cut and cut[1] is Cut.HALF_OPEN:
            await _until_closed(reader)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> bool:
        """Bytes from the client; True when the budget is spent."""
        with contextlib.suppress(ConnectionError):
            while budget != 0:
                limit = self.chunk_bytes if budget is None else min(self.chunk_bytes, budget)
                data = await reader.read(limit)
                if not data:
                    return False
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
                budget = budget if budget is None else budget - len(data)
            return True
        return False

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(_CHUNK_BYTES):
            pass


def _reset(writer: asyncio.StreamWriter) -> None:
    """The next close sends a reset: lingering for no time at all."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
