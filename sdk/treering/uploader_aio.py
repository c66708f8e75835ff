"""The batching uploader for asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, Unpack

import grpc

from treering.errors import ProducerError, TreeringError, UnavailableError, from_call
from treering.upload_state import Patience, UploaderOptions, UploadResult, UploadState
from treering.uploader import FATAL, STREAM_METHOD, as_encoded, silent
from treering.v1.ingest_pb2 import StreamLogsResponse
from treering.v1.log_pb2 import LogRecord


class AsyncUploader:
    """`Uploader` for asyncio: the same promises, states and arguments; a task of its own sends. Belongs to one event loop."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        producer_id: str = "",
        *,
        reconnect: Callable[[], grpc.aio.Channel] | None = None,
        **options: Unpack[UploaderOptions],
    ) -> None:
        self._channel = channel
        self._reconnect = reconnect
        self._own: grpc.aio.Channel | None = None
        self._address = address
        self._state = UploadState(producer_id, options)
        self._patience = Patience(options.get("retry_for_s", 300.0))
        self._changed = asyncio.Condition()
        self._closing = self._aborted = False
        self._failure: TreeringError | None = None
        self._task: asyncio.Task[None] | None = None

    async def send(self, record: LogRecord, ref: object = None) -> None:
        """Queues one record; waits while too much is pending. Arguments and errors as in `Uploader.send`."""
        self._start()
        if self._state.full:
            started = time.monotonic()
            async with self._changed:
                await self._changed.wait_for(lambda: not self._state.full or self._failure or self._closing or self._aborted)
            self._state.blocked_s += time.monotonic() - started
        self._check()
        first = self._state.due_in(0.0) is None
        if self._state.add(record, ref, time.monotonic()) or first:
            await self._notify()

    async def flush(self) -> None:
        """Sends what is queued and returns when it is durable; bound it with `asyncio.timeout`."""
        self._state.seal()
        self._start()
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._state.idle or self._failure or self._aborted)
        self._check()

    async def close(self) -> UploadResult:
        """Sends what is queued, waits until it is durable, and ends."""
        self._state.seal()
        self._closing = True
        await self._notify()
        if self._task:
            await self._task
        if self._failure:
            raise self._failure
        return self.result()

    async def abort(self) -> UploadResult:
        """Ends at once; what is not acknowledged yet may or may not be stored."""
        self._aborted = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._notify()
        return self.result()

    def result(self) -> UploadResult:
        """What became of the records so far."""
        return self._state.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self.close()
        else:
            await self.abort()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="treering-uploader")

    def _check(self) -> None:
        if self._failure:
            raise self._failure
        if self._closing or self._aborted:
            raise ValueError("the uploader is closed")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # The sending task

    async def _run(self) -> None:
        try:
            while await self._wait_for(lambda: False):
                await self._stream_until_broken()
            self._state.check_complete()
        except TreeringError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - a dead task must not leave its caller waiting
            self._failure = TreeringError(f"the uploader met a fault of its own: {error!r}")
        finally:
            if self._own:
                await self._own.close()
        await self._notify()

    async def _wait_for(self, over: Callable[[], bool]) -> bool:
        """Waits until a batch can be sent (True), or `over`, or all is done and no more comes (False)."""
        async with self._changed:
            while not (over() or self._state.sendable or (self._closing and self._state.idle)):
                due = self._state.due_in(time.monotonic())
                if due is not None and due <= 0:
                    self._state.seal()
                    continue
                try:
                    async with asyncio.timeout(due):
                        await self._changed.wait()
                except TimeoutError:
                    continue
            return self._state.sendable and not over()

    async def _stream_until_broken(self) -> None:
        error: TreeringError = UnavailableError(f"{self._address} ended the upload early")
        try:
            await self._stream()
        except grpc.aio.AioRpcError as failure:
            error = from_call(failure, self._address)
        except asyncio.CancelledError:
            if not self._overdue() or _is_cancelled():
                raise
            error = silent(self._address, self._state.acknowledge_within_s)  # `_watch` cut the call, nobody this task
            await self._leave_connection()
        self._state.broke()
        self._state.reconnects += not (self._closing and self._state.idle)
        if not self._state.idle:
            await self._pause(error)

    async def _stream(self) -> None:
        over = asyncio.Event()
        open_stream = self._channel.stream_stream(STREAM_METHOD, as_encoded, StreamLogsResponse.FromString)
        call = open_stream(self._requests(over.is_set))
        watch = asyncio.create_task(self._watch(call.cancel))
        try:
            async for response in call:
                self._state.acknowledge(response, time.monotonic())
                self._patience.succeeded()
                await self._notify()
        finally:
            over.set()
            watch.cancel()
            call.cancel()
            await self._notify()

    async def _requests(self, over: Callable[[], bool]) -> AsyncIterator[bytes]:
        while await self._wait_for(over):
            request = self._state.take(time.monotonic())
            await self._notify()
            yield request

    async def _watch(self, cancel: Callable[[], object]) -> None:
        """Cuts a connection that stays up and says nothing: gRPC's own pings are answered by a service that hangs, too."""
        async with self._changed:
            while not self._overdue():
                try:
                    async with asyncio.timeout(self._state.overdue_in(time.monotonic())):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        cancel()

    async def _leave_connection(self) -> None:
        """A call on the same connection may be as lost as the one before."""
        if self._reconnect:
            if self._own:
                await self._own.close()
            self._channel = self._own = self._reconnect()

    def _overdue(self) -> bool:
        left = self._state.overdue_in(time.monotonic())
        return left is not None and left <= 0

    async def _pause(self, error: TreeringError) -> None:
        if isinstance(error, FATAL):
            raise error
        if isinstance(error, ProducerError):
            self._state.recover(error)
            return
        await asyncio.sleep(self._patience.delay(error, time.monotonic()))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
