"""A caller that asks and takes nothing from the wire: no library of gRPC does that, a stranger's program may."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h2.config
import h2.connection

from treering.inner.version import AGENT


class NotReading:
    """A connection whose windows stay as large as they were in the beginning, 64 KiB for all calls together."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.closed = asyncio.Event()
        """Set when the other side has ended the connection."""
        self._reader, self._writer = reader, writer
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._http2.initiate_connection()
        self._flush()
        self._answering = asyncio.create_task(self._answer())

    def call(self, method: str, request: bytes = b"") -> None:
        """Begins a call of `package.Service/Method`, with one message of bytes."""
        stream = self._http2.get_next_available_stream_id()
        names = (":method", "POST"), (":scheme", "http"), (":path", f"/{method}"), (":authority", "x"), ("te", "trailers")
        self._http2.send_headers(stream, [*names, ("content-type", "application/grpc"), ("user-agent", AGENT)])
        self._http2.send_data(stream, b"\0" + struct.pack(">I", len(request)) + request, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        self._writer.write(self._http2.data_to_send())

    async def _answer(self) -> None:
        """Answers pings and settings, as a server wants it; what it says of calls counts for nothing."""
        with suppress(ConnectionError):
            while data := await self._reader.read(65_536):
                self._http2.receive_data(data)
                self._flush()
        self.closed.set()

    async def close(self) -> None:
        """Hangs up."""
        self._answering.cancel()
        await asyncio.wait({self._answering})
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def not_reading(address: str) -> AsyncIterator[NotReading]:
    """A connection to host:port, or unix:PATH."""
    host, _, place = address.rpartition(":")
    opened = asyncio.open_unix_connection(place) if host == "unix" else asyncio.open_connection(host, int(place))
    caller = NotReading(*await opened)
    try:
        yield caller
    finally:
        await caller.close()
