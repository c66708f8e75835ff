"""The uploader itself. `Uploader` runs it on threads, `AsyncUploader` on an event loop.

Its methods are coroutines; they wait by a `Driver` only, and this module imports neither asyncio nor threading. The driver of an event loop
suspends the coroutine. That of threads blocks the thread, so that each coroutine runs to its end without a suspension (`run_blocking`).
"""

import math
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

import grpc

from treering.errors import (
    InvalidArgumentError,
    ProducerError,
    TimedOutError,
    TreeringError,
    UnavailableError,
    UnsupportedError,
    anew,
    from_call,
)
from treering.limits import DRAIN_S, RETRY_FOR_S
from treering.patience import Patience, log_outage
from treering.upload_options import UploaderOptions
from treering.upload_state import UploadResult, UploadState
from treering.v1.ingest_pb2 import StreamLogsResponse
from treering.v1.log_pb2 import LogRecord

FATAL = (InvalidArgumentError, UnsupportedError)
"""Errors that the same bytes would meet again."""

STREAM_METHOD = "/treering.v1.IngestService/StreamLogs"
"""The rpc that uploaders use."""

NextRequest = Callable[[], Coroutine[Any, Any, bytes | None]]
"""Waits for the next encoded StreamLogsRequest; None when there are no more for this call."""


class Driver(Protocol):
    """How an uploader waits and connects. It has one call of StreamLogs at a time."""

    interruption: type[BaseException]
    """What ends the waiting of a caller from outside: KeyboardInterrupt or CancelledError."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Guards the state against other threads; reentrant. On an event loop, where tasks change only at an await, it does nothing."""

    def wake(self) -> None:
        """Ends the waits of all callers of `changed`. Call it with the lock."""

    async def changed(self, timeout_s: float) -> None:
        """Waits for the next `wake`, at most `timeout_s` seconds; may return early. Call it with the lock, which it releases meanwhile."""

    async def ended(self, timeout_s: float | None) -> bool:
        """Waits until `UploadCore.run` has ended, at most `timeout_s` seconds (False). Call it without the lock."""

    def open(self, next_request: NextRequest) -> None:
        """Starts a call."""

    async def response(self) -> StreamLogsResponse | None:
        """Waits for the next acknowledgement; None when the call has ended.

        Raises:
            grpc.RpcError: The call failed.
        """

    def cancel(self) -> None:
        """Ends the call, if there is one."""

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts `work` concurrently."""

    async def renew(self) -> None:
        """Takes a new connection, if the uploader was given the means to make one."""


class UploadCore:
    """The decisions of an uploader; its states are those that `Uploader` names."""

    def __init__(self, driver: Driver, address: str, producer_id: str, options: UploaderOptions) -> None:
        self._driver = driver
        self._address = address
        self.state = UploadState(producer_id, options)
        self._patience = Patience(options.get("retry_for_s", RETRY_FOR_S), options.get("on_outage", log_outage))
        self.drain_for_s = options.get("drain_for_s", DRAIN_S)
        self.closing = self.aborted = False
        self.failure: TreeringError | None = None

    # What comes in

    def take(self, record: LogRecord, ref: object) -> None:
        """Queues one record. Call it with the lock. It awaits nothing: a cancelled `send` has not taken its record."""
        if self.failure or self.closing or self.aborted:
            self._refuse()
        # Woken only when that changes what the sender does: a batch is full, or one has begun and has a time to be sent at.
        if self.state.add(record, ref, time.monotonic()):
            self._driver.wake()

    async def room(self) -> None:
        """Waits until less is pending."""
        started = time.monotonic()
        try:
            # Ends also when the upload does: nobody may wait for room that never comes.
            await self._until(lambda: not self.state.full or self.failure or self.closing or self.aborted)
        finally:
            self.state.blocked_s += time.monotonic() - started

    async def flush(self, timeout_s: float | None) -> bool:
        """See `Uploader.flush`."""
        with self._driver.lock:
            # Sealed now: `linger_s` must not hold back what somebody waits for.
            self.state.seal()
            self._driver.wake()
            done = await self._until(lambda: self.state.idle or self.failure or self.aborted, timeout_s)
            if self.failure or self.closing or self.aborted:
                self._refuse()
        return done

    def _refuse(self) -> None:
        if self.failure:
            raise anew(self.failure)
        raise ValueError("the uploader is closed")

    # How it ends

    async def close(self, timeout_s: float | None) -> UploadResult:
        """See `Uploader.close`."""
        # No more records before anything is waited for: otherwise the end could move away for ever.
        self.stop_taking()
        is_late = not await self._driver.ended(timeout_s)
        # After the sending has ended this changes nothing any more; after a timeout it is what ends the sending.
        result = await self.abort()
        if self.failure:
            # A copy each time: the error is kept, and would grow by a traceback at every call.
            raise anew(self.failure)
        if is_late and timeout_s is not None and result.pending:
            raise self.unconfirmed(timeout_s)
        return result

    def stop_taking(self) -> None:
        """Takes no more records, and has what is queued sent."""
        with self._driver.lock:
            self.state.seal()
            self.closing = True
            self._driver.wake()

    async def abort(self) -> UploadResult:
        """See `Uploader.abort`."""
        with self._driver.lock:
            # Before the call is ended: a call that is being opened at this moment looks at it, and ends itself.
            self.aborted = True
            self._driver.wake()
            self._driver.cancel()
        # Without the lock: the sender needs it to come to its end.
        await self._driver.ended(None)
        return self.result()

    async def leave(self, error: BaseException | None) -> None:
        """Ends a `with` block that `error` leaves, or nothing."""
        if error is not None:
            await self._drain(error)
            return
        try:
            await self.close(None)
        # The first interruption still sends what is queued; a second one comes out of `_drain`.
        except self._driver.interruption as interrupted:
            await self._drain(interrupted)
            raise

    async def _drain(self, error: BaseException) -> None:
        """Sends what is queued before an exception goes on, and notes on it what may not be stored."""
        try:
            if lost := await self.end():
                error.add_note(f"treering: {lost}")
        # Interrupted again while it drains: ends at once, and the exception goes on.
        except BaseException:
            await self.abort()
            raise

    async def end(self) -> TimedOutError | None:
        """Closes within `drain_for_s`; the error to tell when something may not be stored."""
        try:
            if self.drain_for_s:
                await self.close(None if math.isinf(self.drain_for_s) else self.drain_for_s)
            else:
                await self.abort()
        except TreeringError:
            pass  # it is `failure`, or only says what is pending
        return self.unconfirmed(self.drain_for_s) if self.result().pending else None

    def unconfirmed(self, timeout_s: float) -> TimedOutError:
        """The error that says what may not be stored after `timeout_s` seconds, and why."""
        problem = self.failure or self._patience.problem
        why = f": {problem.message}" if problem else ""
        return TimedOutError(f"{self.result().pending:,} records were not acknowledged within {timeout_s:g} s and may not be stored{why}")

    def result(self) -> UploadResult:
        """What became of the records so far."""
        with self._driver.lock:
            return self.state.result()

    def fail(self, error: TreeringError) -> None:
        """Ends the upload with an error; every method raises it from then on."""
        with self._driver.lock:
            self.failure = error
            self._driver.wake()

    # What goes out

    async def run(self) -> None:
        """Sends until everything is done and no more comes; an error that ends it early becomes `failure`."""
        try:
            while await self.sendable(lambda: False):
                await self._stream_until_broken()
            # Checked at the end of a whole upload only: until then a later batch may still prove what was skipped.
            if not self.aborted:
                self.state.check_complete()
        except TreeringError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - whoever waits must learn that nothing is sent any more
            self.fail(TreeringError(f"the uploader met a fault of its own: {error!r}"))

    async def sendable(self, over: Callable[[], bool]) -> bool:
        """Waits until a batch can be sent (True), or `over`, or all is done and no more comes (False)."""
        with self._driver.lock:
            while not (over() or self.state.sendable or self._is_finished()):
                due_s = self.state.due_in(time.monotonic())
                if due_s > 0:
                    await self._driver.changed(due_s)
                # Time is up for the open batch: it goes as it is.
                else:
                    self.state.seal()
            return self.state.sendable and not (over() or self.aborted)

    async def _stream_until_broken(self) -> None:
        # An exchange for each call: a watcher or a request of an old call cannot touch the new one.
        exchange = Exchange(self, self._driver)
        error: TreeringError = UnavailableError(f"{self._address} ended the upload early")
        try:
            await self._acknowledge(exchange)
        except grpc.RpcError as failure:
            error = from_call(failure, self._address)
        finally:
            with self._driver.lock:
                self.state.broke()  # also when this is cancelled: what was in flight goes again
        if exchange.was_silent:
            silence_s = self.state.acknowledge_within_s
            error = UnavailableError(f"{self._address} keeps the connection, but acknowledged nothing for {silence_s:g} s")
            await self._driver.renew()  # a call on the same connection may be as lost as the one before
        await self._go_on_after(error)

    async def _acknowledge(self, exchange: "Exchange") -> None:
        """One call, to its end."""
        self._driver.open(exchange.next_request)
        with self._driver.lock:
            if self.aborted:  # between the start of the call and this line: nobody else can end it
                self._driver.cancel()
        try:
            # Before the first response: a service that takes everything and says nothing is what it is for.
            self._driver.beside(exchange.watch)
            while (response := await self._driver.response()) is not None:
                with self._driver.lock:
                    self.state.acknowledge(response, time.monotonic())
                    # Any acknowledgement ends the outage, however few batches it covers.
                    self._patience.succeeded()
                    self._driver.wake()
        finally:
            # Ended in any case: gRPC would go on to draw requests for a call whose answers nobody reads.
            self._driver.cancel()
            exchange.end()

    async def _go_on_after(self, error: TreeringError) -> None:
        """Decides whether to go on after a call that ended, and waits before it.

        Raises:
            TreeringError: `error`, when it cannot be dealt with, or has lasted for too long.
        """
        with self._driver.lock:
            self.state.reconnects += not self._is_finished()
            # Everything is acknowledged or nothing is wanted any more: whatever ended the call does not matter.
            if self.aborted or self.state.idle:
                return
            if isinstance(error, FATAL):
                raise error
            if isinstance(error, ProducerError):
                self.state.recover(error)
                return
        delay_s = self._patience.delay(error, time.monotonic())  # without the lock: it may call the user
        await self._until(lambda: self.aborted, delay_s)

    def _is_finished(self) -> bool:
        return self.aborted or (self.closing and self.state.idle)

    async def _until(self, met: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Waits until `met` (True), at most `timeout_s` seconds (False)."""
        # The end is fixed once: each wake-up may be early, and must not begin the time anew.
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._driver.lock:
            while not met():
                left_s = end - time.monotonic()
                if left_s <= 0:
                    return False
                await self._driver.changed(left_s)
        return True


class Exchange:
    """One call of StreamLogs: what it sends, and whether acknowledgements come."""

    def __init__(self, core: UploadCore, driver: Driver) -> None:
        self._core = core
        self._driver = driver
        self._is_over = False
        self.was_silent = False
        """Whether `watch` ended it."""

    async def next_request(self) -> bytes | None:
        """See `NextRequest`."""
        with self._driver.lock:
            # Under the lock from the look to the taking: between them another thread could take or give up the batch.
            if not await self._core.sendable(lambda: self._is_over):
                return None
            request = self._core.state.take(time.monotonic())
            self._driver.wake()
            return request

    async def watch(self) -> None:
        """Ends a call whose connection stays up and says nothing: gRPC's own pings are answered by a service that hangs, too."""
        with self._driver.lock:
            while not self._is_over:
                left_s = self._core.state.overdue_in(time.monotonic())
                if left_s <= 0:
                    # Noted before the call is ended: the sender reads it as soon as the call has failed.
                    self.was_silent = True
                    self._driver.cancel()
                    return
                await self._driver.changed(left_s)

    def end(self) -> None:
        """The call has ended: nothing is sent or watched any more."""
        with self._driver.lock:
            self._is_over = True
            self._driver.wake()
