"""The batching uploader, blocking."""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from treering.upload_core import STREAM_METHOD, NextRequest, UploadCore
from treering.upload_options import UploaderOptions
from treering.upload_state import UploadResult
from treering.v1.ingest_pb2 import StreamLogsResponse
from treering.v1.log_pb2 import LogRecord

_LOG = logging.getLogger("treering")

Result = TypeVar("Result")


class Uploader:
    """Sends records in batches, in order, each stored once, whatever happens to the connection or to ingest.

    `send` only queues; a thread of its own sends, and sends again from the last acknowledged batch after a disconnect or a restart, with
    jittered backoff and the delays that the service asks for. An ingest that does not answer at the beginning is tried for as long as one
    that goes away later. When too much is pending, `send` waits. `close` (or the end of the `with` block) returns when everything is
    durable.

    An exception that leaves the `with` block, Ctrl-C included, goes on after what is queued was sent, or after `drain_for_s`; a second
    Ctrl-C ends that. A note on the exception says what is not known to be durable then. The end of the program without `close` is treated
    the same; from Python 3.12 on it can only use a connection that is there, because no thread may be started then.

    States: *running*; *closing* (no more records are taken, what is there goes out); *ended*; *failed* (the error is raised by every
    method from then on; `result` says what was acknowledged before).

    Args:
        channel: A connection to ingest.
        address: Where it leads, for error messages.
        producer_id: Who sends, at most 128 bytes; two senders never share one. Empty draws a new one. An upload that is repeated with the
            same id, the same records and `linger_s=math.inf` stores nothing twice.
        reconnect: Makes another connection, for when the first one is up and dead; None stays with `channel`.
        options: See `UploaderOptions`.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        address: str,
        producer_id: str = "",
        *,
        reconnect: Callable[[], grpc.Channel] | None = None,
        **options: Unpack[UploaderOptions],
    ) -> None:
        self._driver = _Threads(channel, reconnect)
        self._core = UploadCore(self._driver, address, producer_id, options)
        self._driver.start(self._core.run)
        # Last: the end of the program must find an uploader that is complete.
        atexit.register(self._at_exit)

    def send(self, record: LogRecord, ref: object = None) -> None:
        """Queues one record; waits while too much is pending.

        Args:
            record: The record; do not change it afterwards.
            ref: Anything that names the record to the caller, for example a line number: `UploadResult.rejections` gives it back.

        Raises:
            TreeringError: The upload failed for good.
        """
        # One lock for the look and the taking: of two threads that find room, the second finds what the first has added.
        with self._driver.lock:
            if self._core.state.full:
                run_blocking(self._core.room())
            self._core.take(record, ref)

    def flush(self, timeout: float | None = None) -> bool:
        """Sends what is queued and waits until it is durable; False when that takes longer than `timeout` seconds.

        Raises:
            TreeringError: The upload failed for good.
        """
        return run_blocking(self._core.flush(timeout))

    def close(self, timeout: float | None = None) -> UploadResult:
        """Sends what is queued, waits until it is durable, and ends.

        Args:
            timeout: Longest wait, seconds; None is as long as `retry_for_s` allows.

        Raises:
            TimedOutError: Not everything was acknowledged in this time. The uploader has ended; `result().pending` says how many records
                may or may not be stored.
            TreeringError: The upload failed for good.
        """
        return self._ending(self._core.close(timeout))

    def abort(self) -> UploadResult:
        """Ends at once; what is not acknowledged yet may or may not be stored."""
        return self._ending(self._core.abort())

    def result(self) -> UploadResult:
        """What became of the records so far."""
        return self._core.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending(self._core.leave(error))

    def _ending(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs what ends the upload; only if it is interrupted before it has, something is left for the end of the program."""
        try:
            return run_blocking(work)
        finally:
            # Kept for the end of the program otherwise: an interrupted `close` has not sent everything.
            if self._core.aborted:
                atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        # A copy made by a fork has no thread that sends: its records are the original's, and must not be reported as lost.
        if not self._driver.is_copy and (lost := run_blocking(self._core.end())):
            _LOG.warning("the program ended without closing its uploader: %s", lost)


class _Threads:
    """The driver that blocks: one thread sends and reads acknowledgements, one of gRPC draws requests, a third watches each call."""

    interruption: type[BaseException] = KeyboardInterrupt

    def __init__(self, channel: grpc.Channel, reconnect: Callable[[], grpc.Channel] | None) -> None:
        self._channel = channel
        self._reconnect = reconnect
        self._own: grpc.Channel | None = None
        self._call: Any = None
        # Its lock is an RLock, and `wait` gives it back however often the thread has it.
        self.lock = threading.Condition()
        self.wake = self.lock.notify_all
        self._ended = threading.Event()
        self._pid = os.getpid()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # A daemon: the interpreter joins other threads before it calls `atexit`, and this one ends only when somebody ends it.
        threading.Thread(target=self._run, args=(work,), name="treering-uploader", daemon=True).start()

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            run_blocking(work())
        finally:
            if self._own:
                self._own.close()
            # Set last and whatever happens: whoever waits for the end waits for this alone.
            self._ended.set()

    @property
    def is_copy(self) -> bool:
        """Whether a fork made this: then nothing sends, and what is queued belongs to the original."""
        return os.getpid() != self._pid

    async def changed(self, timeout_s: float) -> None:
        # A lock cannot wait for an infinite time: OverflowError.
        self.lock.wait(min(timeout_s, threading.TIMEOUT_MAX))

    async def ended(self, timeout_s: float | None) -> bool:
        # Not by `join`: a thread whose `join` was interrupted counts as ended (python/cpython#90882).
        return self.is_copy or self._ended.wait(timeout_s)

    def open(self, next_request: NextRequest) -> None:
        # Without a serialiser, as requests are bytes: what is sent again must be the same to the bit.
        stream_logs: grpc.StreamStreamMultiCallable[bytes, StreamLogsResponse]
        stream_logs = self._channel.stream_stream(STREAM_METHOD, None, StreamLogsResponse.FromString)
        self._call = stream_logs(_requests(next_request))

    async def response(self) -> StreamLogsResponse | None:
        return next(self._call, None)

    def cancel(self) -> None:
        if self._call is not None and not self.is_copy:  # in a copy the threads that would end the call are missing
            self._call.cancel()

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        threading.Thread(target=lambda: run_blocking(work()), name="treering-uploader-watch", daemon=True).start()

    async def renew(self) -> None:
        if self._reconnect:
            # The former one of ours is closed first: it is dead, and nobody else uses it.
            if self._own:
                self._own.close()
            self._channel = self._own = self._reconnect()


def _requests(next_request: NextRequest) -> Iterator[bytes]:
    # gRPC draws requests on a thread of its own, so this may block there until a batch is there.
    while (request := run_blocking(next_request())) is not None:
        yield request


def run_blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine to its end, where everything that it awaits blocks instead of suspending."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    # It ran to its first suspension, and there is no loop that would wake it.
    work.close()
    raise RuntimeError("a coroutine suspended where its driver should have blocked")
