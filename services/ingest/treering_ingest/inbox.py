"""The batches of one call, read ahead of whoever takes them."""

import asyncio
from collections.abc import AsyncIterable, Callable

from treering_ingest.limits import GATHER_BYTES, GATHER_S, MAX_GATHERED_BATCHES
from treering_runtime.wakeup import Wakeup


class Inbox:
    """Reads a call's batches as they come and hands them out together.

    gRPC gives them one by one, each after a round through its threads and the event loop. While that round goes on, the batches before it
    are worked on; and small ones cost far less when many are worked on at once. So small batches are gathered for a moment, unless
    `in_a_hurry` says that their sender may be waiting.

    States: *reading*; *ended* when the last batch was read, the call broke, or `close` was called.

    Args:
        batches: The call's.
        in_a_hurry: Whether a batch that has just come may not be kept back.
    """

    def __init__(self, batches: AsyncIterable[bytes], in_a_hurry: Callable[[], bool] = lambda: False) -> None:
        self._batches = batches
        self._in_a_hurry = in_a_hurry
        self._loop = asyncio.get_running_loop()
        # Not looked at yet. What it may hold is bounded by `_is_full`.
        self._read: list[bytes] = []
        self._size = 0
        self._due = self._ended = self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._came, self._taken = Wakeup(), Wakeup()
        self._reading: asyncio.Task[None] | None = self._loop.create_task(self._read_all())
        self._reading.add_done_callback(self._read_to_the_end)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called before the last batch was read."""
        return self._closed

    async def take(self) -> list[bytes]:
        """What has come since the last time, in order; waits for something. Empty at the end.

        Raises:
            Exception: Whatever the call broke with, after everything that came before.
        """
        while not (self._due or self._ended):
            await self._came.wait()
        # Swapped in one step: the task that reads goes on with an empty list while the caller works on this one.
        taken, self._read = self._read, []
        self._size, self._due = 0, False
        self._taken.fire()
        # Only when nothing is left: an error of the call comes after all that came before it.
        if self._reading and not taken:
            self._reading.result()  # raises what the call broke with
        return taken

    def close(self) -> None:
        """Reads no more, and forgets what was not taken. After the end it changes nothing."""
        if self._reading and not self._ended:
            self._closed = True
            # Before the task has noticed: from here on `take` gives nothing more, whatever was read.
            self._read.clear()
            self._reading.cancel()
            self._end()
        # The task has the error that it ended with, that has the frames, and those have this object and a batch: without the cycle all of
        # them are free at once, and not only when the garbage collector comes by.
        self._reading = None

    async def _read_all(self) -> None:
        async for batch in self._batches:
            self._read.append(batch)
            self._size += len(batch)
            # Announced before the wait: a full inbox must be handed out, or both sides would wait for each other.
            self._announce()
            # gRPC gives the next message only when asked for it. So this is the backpressure: the stream's window fills, the sender stops.
            while self._is_full():
                await self._taken.wait()

    def _read_to_the_end(self, reading: "asyncio.Task[None]") -> None:
        if not reading.cancelled():
            reading.exception()  # looked at: nobody may take any more
        self._end()

    def _is_full(self) -> bool:
        """One large batch does not fill it: the next one is read while that is worked on."""
        return (self._size >= GATHER_BYTES and len(self._read) > 1) or len(self._read) >= MAX_GATHERED_BATCHES

    def _announce(self) -> None:
        if self._size >= GATHER_BYTES or self._in_a_hurry():
            self._ring()
        # One timer for all that come meanwhile: the first batch decides when it is handed out.
        elif not self._timer:
            self._timer = self._loop.call_later(GATHER_S, self._ring)

    def _ring(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        # A timer may run out just after the batches were taken: then nothing is due.
        if self._read:
            self._due = True
            self._came.fire()

    def _end(self) -> None:
        self._ended = True
        self._ring()
        # Also with nothing read: whoever takes must learn of the end.
        self._came.fire()
        self._taken.fire()
