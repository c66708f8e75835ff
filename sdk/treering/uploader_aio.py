"""The batching uploader for asyncio."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, Unpack

import grpc

from treering.errors import ProducerError, TimedOutError, TreeringError, UnavailableError, anew, from_call
from treering.limits import DRAIN_S, RETRY_FOR_S
from treering.patience import Patience, log_outage, silent, unconfirmed
from treering.upload_state import UploaderOptions, UploadResult, UploadState
from treering.uploader import FATAL, STREAM_METHOD, as_encoded
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
        self._channel = channel
        self._reconnect = reconnect
        self._own: grpc.aio.Channel | None = None
        self._address = address
        self._state = UploadState(producer_id, options)
        self._patience = Patience(options.get("retry_for_s", RETRY_FOR_S), options.get("on_outage", log_outage))
        self._drain_for_s = options.get("drain_for_s", DRAIN_S)
        self._changed = asyncio.Event()
        self._closing = self._aborted = False
        self._failure: TreeringError | None = None
        self._task: asyncio.Task[None] | None = None

    async def send(self, record: LogRecord, ref: object = None) -> None:
        """Queues one record; waits while too much is pending. Arguments and errors as in `Uploader.send`."""
        if self._start():
            await asyncio.sleep(0)  # a task that is cancelled before its first step ends without one: no record is taken before that
        if self._state.full:
            await self._wait_for_room()
        self._check()
        first = self._state.due_in(0.0) is None
        # Nothing is awaited once the record is taken: a caller that is cancelled may send it again.
        if self._state.add(record, ref, time.monotonic()) or first:
            self._wake()

    async def flush(self) -> None:
        """Sends what is queued and returns when it is durable; bound it with `asyncio.timeout`."""
        self._state.seal()
        self._start()
        self._wake()
        await self._until(lambda: self._state.idle or self._failure is not None or self._aborted)
        self._check()

    async def close(self, timeout: float | None = None) -> UploadResult:  # noqa: ASYNC109 - it ends the upload, as in `Uploader.close`
        """Sends what is queued, waits until it is durable, and ends. Arguments and errors as in `Uploader.close`.

        Cancelled, it has stopped waiting, and the sending goes on; call it again, or `abort`.
        """
        self._stop_taking()
        is_late = not await self._ended_within(timeout)
        result = await self.abort()
        if self._failure:
            raise anew(self._failure)
        if is_late and timeout is not None and result.pending:
            raise unconfirmed(result.pending, timeout, self._patience.problem)
        return result

    async def abort(self) -> UploadResult:
        """Ends at once; what is not acknowledged yet may or may not be stored."""
        self._aborted = True
        self._wake()
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
        return self.result()

    def result(self) -> UploadResult:
        """What became of the records so far."""
        return self._state.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            await self._drain(error)
            return
        try:
            await self.close()
        except asyncio.CancelledError as cancelled:
            await self._drain(cancelled)
            raise

    async def _drain(self, error: BaseException) -> None:
        """Sends what is queued before an exception goes on, and notes on it what may not be stored."""
        problem = None
        try:
            if self._drain_for_s:
                await self.close(None if math.isinf(self._drain_for_s) else self._drain_for_s)
            else:
                await self.abort()
        except TreeringError:
            problem = self._failure or self._patience.problem
        except BaseException:
            await self.abort()
            raise
        if pending := self._state.pending:
            error.add_note(f"treering: {unconfirmed(pending, self._drain_for_s, problem)}")

    def _start(self) -> bool:
        if self._task is not None:
            return False
        self._task = asyncio.create_task(self._run(), name="treering-uploader")
        self._task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._aborted:
            self._aborted = True
            if pending := self._state.pending:
                self._failure = TimedOutError(f"{pending:,} records were not acknowledged before their event loop ended")
        self._wake()

    def _check(self) -> None:
        if self._failure:
            raise anew(self._failure)
        if self._closing or self._aborted:
            raise ValueError("the uploader is closed")

    def _stop_taking(self) -> None:
        self._state.seal()
        self._closing = True
        self._wake()

    async def _ended_within(self, timeout_s: float | None) -> bool:
        """Waits for the sending task, not as its owner: whoever is cancelled here does not cancel it."""
        return not self._task or bool((await asyncio.wait({self._task}, timeout=timeout_s))[0])

    def _wake(self) -> None:
        """Has everybody who waits look again. Not a condition, whose lock would be one more await between a change and its news."""
        self._changed.set()
        self._changed.clear()

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            await self._changed.wait()

    async def _wait_for_room(self) -> None:
        started = time.monotonic()
        try:
            await self._until(lambda: not self._state.full or self._failure is not None or self._closing or self._aborted)
        finally:
            self._state.blocked_s += time.monotonic() - started

    # The sending task

    async def _run(self) -> None:
        try:
            await self._send_all()
            self._state.check_complete()
        except TreeringError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - a dead task must not leave its caller waiting
            self._failure = TreeringError(f"the uploader met a fault of its own: {error!r}")
        finally:
            if self._own:
                await self._own.close()

    async def _send_all(self) -> None:
        """Sends until all is done and no more comes."""
        try:
            await self._send_on()
        except asyncio.CancelledError:
            if self._aborted:
                raise
            # Not by `abort`: somebody ends every task of the loop. What was taken has been promised to the senders.
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # a task runs this
            self._stop_taking()
            try:
                async with asyncio.timeout(self._drain_for_s):
                    await self._send_on()
            except TimeoutError:
                raise unconfirmed(self._state.pending, self._drain_for_s, self._patience.problem) from None

    async def _send_on(self) -> None:
        while await self._wait_for(lambda: False):
            await self._stream_until_broken()

    async def _wait_for(self, over: Callable[[], bool]) -> bool:
        """Waits until a batch can be sent (True), or `over`, or all is done and no more comes (False)."""
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
        finally:
            self._state.broke()  # also when this task is cancelled: what was in flight goes again
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
                self._wake()
        finally:
            over.set()
            watch.cancel()
            call.cancel()
            self._wake()

    async def _requests(self, over: Callable[[], bool]) -> AsyncIterator[bytes]:
        while await self._wait_for(over):
            request = self._state.take(time.monotonic())
            self._wake()
            yield request

    async def _watch(self, cancel: Callable[[], object]) -> None:
        """Cuts a connection that stays up and says nothing: gRPC's own pings are answered by a service that hangs, too."""
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
            left, self._own = self._own, self._reconnect()
            self._channel = self._own
            if left:  # last: whoever is cancelled here has the new connection in place
                await left.close()

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
