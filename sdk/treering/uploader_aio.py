"""The batching uploader for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from treering.errors import TimedOutError
from treering.upload_core import STREAM_METHOD, NextRequest, UploadCore
from treering.upload_options import UploaderOptions
from treering.upload_state import UploadResult
from treering.v1.ingest_pb2 import StreamLogsResponse
from treering.v1.log_pb2 import LogRecord


class AsyncUploader:
    """`Uploader` for asyncio: the same promises, states and arguments; a task of its own sends. Belongs to one event loop.

    Cancelling a method never touches the sending task: a cancelled `send` has not taken the record, a cancelled `flush` or `close` has only
    stopped waiting. An exception that leaves the `async with` block, a cancellation included, goes on after what is queued was sent, or
    after `drain_for_s`; a second cancellation ends that. When the sending task itself is cancelled, as `asyncio.run` does with every task
    at its end, it takes nothing more and ends when everything is durable, or after `drain_for_s`.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        producer_id: str = "",
        *,
        reconnect: Callable[[], grpc.aio.Channel] | None = None,
        **options: Unpack[UploaderOptions],
    ) -> None:
        self._driver = _Loop(channel, reconnect)
        self._core = UploadCore(self._driver, address, producer_id, options)

    async def send(self, record: LogRecord, ref: object = None) -> None:
        """Queues one record; waits while too much is pending. Arguments and errors as in `Uploader.send`."""
        # With the first use, not in `__init__`: an object may be made where no loop runs yet.
        if self._driver.start(self._core):
            await asyncio.sleep(0)  # a task that is cancelled before its first step ends without one: no record is taken before that
        if self._core.state.full:
            await self._core.room()
        self._core.take(record, ref)

    async def flush(self) -> None:
        """Sends what is queued and returns when it is durable; bound it with `asyncio.timeout`."""
        self._driver.start(self._core)
        await self._core.flush(None)

    async def close(self, timeout: float | None = None) -> UploadResult:  # noqa: ASYNC109 - it ends the upload, as in `Uploader.close`
        """Sends what is queued, waits until it is durable, and ends. Arguments and errors as in `Uploader.close`.

        Cancelled, it has stopped waiting, and the sending goes on; call it again, or `abort`.
        """
        return await self._core.close(timeout)

    async def abort(self) -> UploadResult:
        """Ends at once; what is not acknowledged yet may or may not be stored."""
        return await self._core.abort()

    def result(self) -> UploadResult:
        """What became of the records so far."""
        return self._core.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._core.leave(error)


class _Loop:
    """The driver that suspends: one task sends and reads acknowledgements, one of gRPC draws requests, a third watches each call."""

    interruption: type[BaseException] = asyncio.CancelledError

    def __init__(self, channel: grpc.aio.Channel, reconnect: Callable[[], grpc.aio.Channel] | None) -> None:
        self._channel = channel
        self._reconnect = reconnect
        self._own: grpc.aio.Channel | None = None
        self._call: grpc.aio.StreamStreamCall[bytes, StreamLogsResponse] | None = None
        # An event loop runs one task at a time between two awaits, so nothing has to be locked.
        self.lock = nullcontext()
        self._changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self, core: UploadCore) -> bool:
        """Begins to send; False when it has begun before."""
        if self.task is not None:
            return False
        self.task = asyncio.create_task(self.run(core), name="treering-uploader")
        self.task.add_done_callback(lambda task: _note_end(task, core))
        return True

    async def run(self, core: UploadCore) -> None:
        """Sends until all is done and no more comes; cancelled, until what was taken is sent, or `drain_for_s` are over."""
        try:
            await core.run()
        except asyncio.CancelledError:
            if core.aborted:
                raise
            # Not by `abort`: somebody ends every task of the loop. What was taken has been promised to the senders.
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # a task runs this
            core.stop_taking()
            try:
                # A second cancellation is not caught here: `_note_end` says then what may not be stored.
                async with asyncio.timeout(core.drain_for_s):
                    await core.run()
            except TimeoutError:
                core.fail(core.unconfirmed(core.drain_for_s))
        finally:
            if self._own:
                await self._own.close()

    def wake(self) -> None:
        # Not a condition, whose lock would be one more await between a change and its news.
        self._changed.set()
        self._changed.clear()

    async def changed(self, timeout_s: float) -> None:
        # Early or late, `_until` looks again: the time that is over is no error here.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def ended(self, timeout_s: float | None) -> bool:
        # Not as the owner of the task: whoever is cancelled here does not cancel it.
        return not self.task or bool((await asyncio.wait({self.task}, timeout=timeout_s))[0])

    def open(self, next_request: NextRequest) -> None:
        # Without a serialiser, as requests are bytes: what is sent again must be the same to the bit.
        stream_logs: grpc.aio.StreamStreamMultiCallable[bytes, StreamLogsResponse]
        stream_logs = self._channel.stream_stream(STREAM_METHOD, None, StreamLogsResponse.FromString)
        self._call = stream_logs(_requests(next_request))

    async def response(self) -> StreamLogsResponse | None:
        try:
            response = await self._call.read() if self._call is not None else None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None  # the call was cancelled, and nobody cancelled this task
        # gRPC answers an ended stream with a marker of its own, which is no response.
        return response if isinstance(response, StreamLogsResponse) else None

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Referred to here: the event loop refers weakly to its tasks.
        self._watch = asyncio.create_task(work(), name="treering-uploader-watch")

    async def renew(self) -> None:
        if self._reconnect:
            left, self._own = self._own, self._reconnect()
            self._channel = self._own
            if left:  # last: whoever is cancelled here has the new connection in place
                await left.close()


def _note_end(task: asyncio.Task[None], core: UploadCore) -> None:
    """A task that was cancelled twice has not said so itself."""
    if task.cancelled() and not core.aborted:
        core.aborted = True
        if pending := core.result().pending:
            core.fail(TimedOutError(f"{pending:,} records were not acknowledged before their event loop ended"))


async def _requests(next_request: NextRequest) -> AsyncIterator[bytes]:
    while (request := await next_request()) is not None:
        yield request
