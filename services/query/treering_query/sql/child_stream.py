"""The parent's end of one query's process: what it says, and what it is told."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

from treering_query.sql import wire
from treering_query.sql.end import End
from treering_query.view.shared_arrow import SharedArrow

_MAX_PIECE_BYTES = 1024 * 1024


class ChildStream:
    """The open stream of one child's answer; keeps the shared tables until it is closed."""

    def __init__(self, sock: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tables: list[SharedArrow]) -> None:
        self.reader = reader
        self._sock = sock
        self._writer = writer
        self._tables = tables

    @classmethod
    async def open(cls, sock: socket.socket, tables: list[SharedArrow]) -> "ChildStream":
        """The stream of the child at the other end of `sock`, which has these tables."""
        # The stream takes the socket over and closes it. The limit bounds what the loop reads ahead of a slow caller.
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_MAX_PIECE_BYTES)
        return cls(sock, reader, writer, tables)

    def give(self, scores: SharedArrow) -> None:
        """Answers its question for scores."""
        # Before it is sent: the descriptor must live until the child has mapped it.
        self._tables.append(scores)
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended; the end of its stream says the same
            wire.send_scores(self._sock, scores.descriptor)

    async def close(self) -> None:
        """Ends the child, if it still runs."""
        # The child reads the end of this socket on a thread of its own and ends, whatever its query does.
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def messages(child: ChildStream, end: End) -> AsyncIterator[tuple[bytes, bytes]]:
    """What the child says, until its end or ours."""
    try:
        while True:
            # Around each message and not around the whole: time in which the caller reads slowly is bounded by the child's own timer.
            async with asyncio.timeout(end.left()):
                kind, length = wire.HEADER.unpack(await child.reader.readexactly(wire.HEADER.size))
                body = await child.reader.readexactly(length)
            yield kind, body
    # The child ended. What that means is for the caller, who knows whether the last word came.
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return
    except TimeoutError:
        raise end.reason() from None
