"""The batching uploader, blocking."""

import atexit
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, Unpack

import grpc

from treering.errors import (
    InvalidArgumentError,
    ProducerError,
    TreeringError,
    UnavailableError,
    UnsupportedError,
    anew,
    from_call,
)
from treering.limits import DRAIN_S, RETRY_FOR_S
from treering.patience import Patience, log_outage, silent, unconfirmed
from treering.upload_state import UploaderOptions, UploadResult, UploadState
from treering.v1.ingest_pb2 import StreamLogsResponse
from treering.v1.log_pb2 import LogRecord

STREAM_METHOD = "/treering.v1.IngestService/StreamLogs"
"""The rpc that uploaders use."""
FATAL = (InvalidArgumentError, UnsupportedError)
"""Errors that the same bytes would meet again."""

_LOG = logging.getLogger("treering")


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
        self._channel = channel
        self._reconnect = reconnect
        self._own: grpc.Channel | None = None
        self._address = address
        self._state = UploadState(producer_id, options)
        self._patience = Patience(options.get("retry_for_s", RETRY_FOR_S), options.get("on_outage", log_outage))
        self._drain_for_s = options.get("drain_for_s", DRAIN_S)
        self._changed = threading.Condition()
        self._closing = self._aborted = False
        self._failure: TreeringError | None = None
        self._cancel: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="treering-uploader", daemon=True)
        self._ended = threading.Event()
        self._thread.start()
        self._pid = os.getpid()
        atexit.register(self._at_exit)

    def send(self, record: LogRecord, ref: object = None) -> None:
        """Queues one record; waits while too much is pending.

        Args:
            record: The record; do not change it afterwards.
            ref: Anything that names the record to the caller, for example a line number: `UploadResult.rejections` gives it back.

        Raises:
            TreeringError: The upload failed for good.
        """
        with self._changed:
            if self._state.full:
                self._wait_for_room()
            self._check()
            first = self._state.due_in(0.0) is None
            if self._state.add(record, ref, time.monotonic()) or first:
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Sends what is queued and waits until it is durable; False when that takes longer than `timeout` seconds.

        Raises:
            TreeringError: The upload failed for good.
        """
        with self._changed:
            self._state.seal()
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._state.idle or self._failure or self._aborted, timeout)
            self._check()
            return bool(done)

    def close(self, timeout: float | None = None) -> UploadResult:
        """Sends what is queued, waits until it is durable, and ends.

        Args:
            timeout: Longest wait, seconds; None is as long as `retry_for_s` allows.

        Raises:
            TimedOutError: Not everything was acknowledged in this time. The uploader has ended; `result().pending` says how many records
                may or may not be stored.
            TreeringError: The upload failed for good.
        """
        with self._changed:
            self._closing = True
            self._state.seal()
            self._changed.notify_all()
        is_late = not self._wait_for_end(timeout)
        result = self.abort()
        if self._failure:
            raise anew(self._failure)
        if is_late and timeout is not None and result.pending:
            raise unconfirmed(result.pending, timeout, self._patience.problem)
        return result

    def abort(self) -> UploadResult:
        """Ends at once; what is not acknowledged yet may or may not be stored."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
            self._cancel()
        self._wait_for_end(None)
        atexit.unregister(self._at_exit)
        return self.result()

    def result(self) -> UploadResult:
        """What became of the records so far."""
        with self._changed:
            return self._state.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._drain(error)
            return
        try:
            self.close()
        except KeyboardInterrupt as interrupt:
            self._drain(interrupt)
            raise

    def _drain(self, error: BaseException) -> None:
        """Sends what is queued before an exception goes on, and notes on it what may not be stored."""
        try:
            if lost := self._end():
                error.add_note(f"treering: {lost}")
        except BaseException:
            self.abort()
            raise

    def _end(self) -> TreeringError | None:
        """Closes within `drain_for_s`; the error to tell when something may not be stored."""
        problem = None
        try:
            if self._drain_for_s:
                self.close(None if math.isinf(self._drain_for_s) else self._drain_for_s)
            else:
                self.abort()
        except TreeringError:
            problem = self._failure or self._patience.problem
        pending = self.result().pending
        return unconfirmed(pending, self._drain_for_s, problem) if pending else None

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Waits for the sending thread. Not by `join`: a thread whose `join` was interrupted counts as ended (python/cpython#90882)."""
        return self._is_copy() or self._ended.wait(timeout_s)

    def _is_copy(self) -> bool:
        """Whether a fork made this: then nothing sends, and what is queued belongs to the original."""
        return os.getpid() != self._pid

    def _at_exit(self) -> None:
        if not self._is_copy() and (lost := self._end()):
            _LOG.warning("the program ended without closing its uploader: %s", lost)

    def _wait_for_room(self) -> None:
        started = time.monotonic()
        self._changed.wait_for(lambda: not self._state.full or self._failure or self._closing or self._aborted)
        self._state.blocked_s += time.monotonic() - started

    def _check(self) -> None:
        if self._failure:
            raise anew(self._failure)
        if self._closing or self._aborted:
            raise ValueError("the uploader is closed")

    # The sending thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._stream_until_broken()
            if not self._aborted:
                self._state.check_complete()
        except TreeringError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a dead thread must not leave its caller waiting
            self._fail(TreeringError(f"the uploader met a fault of its own: {error!r}"))
        finally:
            if self._own:
                self._own.close()
            self._ended.set()

    def _fail(self, error: TreeringError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._state.sendable or self._finished()):
                self._wait_for_change()
            return not self._aborted and self._state.sendable

    def _wait_for_change(self) -> None:
        """Waits for a change, no longer than until the open batch is due; seals it then. Holds the lock."""
        due = self._state.due_in(time.monotonic())
        if due is not None and due <= 0:
            self._state.seal()
            return
        self._changed.wait(None if due is None else min(due, threading.TIMEOUT_MAX))

    def _stream_until_broken(self) -> None:
        error: TreeringError = UnavailableError(f"{self._address} ended the upload early")
        try:
            self._stream()
        except grpc.RpcError as failure:
            error = from_call(failure, self._address)
            if silence := self._silence():
                error = silence
                self._leave_connection()
        with self._changed:
            self._state.broke()
            self._state.reconnects += not self._finished()
            unfinished = not (self._aborted or self._state.idle)
        if unfinished:
            self._pause(error)

    def _stream(self) -> None:
        """One call: gRPC's thread draws requests, this one reads acknowledgements, a third sees to it that they come."""
        over = threading.Event()
        open_stream = self._channel.stream_stream(STREAM_METHOD, as_encoded, StreamLogsResponse.FromString)
        call = open_stream(self._requests(over))
        with self._changed:
            self._cancel = call.cancel
            if self._aborted:  # between the start of the call and this line: nobody else can end it
                call.cancel()
        threading.Thread(target=self._watch, args=(call.cancel, over), name="treering-uploader-watch", daemon=True).start()
        try:
            for response in call:
                with self._changed:
                    self._state.acknowledge(response, time.monotonic())
                    self._patience.succeeded()
                    self._changed.notify_all()
        finally:
            with self._changed:
                over.set()
                self._changed.notify_all()

    def _requests(self, over: threading.Event) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not (over.is_set() or self._state.sendable or self._finished()):
                    self._wait_for_change()
                if over.is_set() or not self._state.sendable:
                    return
                request = self._state.take(time.monotonic())
                self._changed.notify_all()
            yield request

    def _watch(self, cancel: Callable[[], object], over: threading.Event) -> None:
        """Cuts a connection that stays up and says nothing: gRPC's own pings are answered by a service that hangs, too."""
        with self._changed:
            while not over.is_set():
                left = self._state.overdue_in(time.monotonic())
                if left is not None and left <= 0:
                    cancel()
                    return
                self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))

    def _leave_connection(self) -> None:
        """A call on the same connection may be as lost as the one before."""
        if self._reconnect:
            if self._own:
                self._own.close()
            self._channel = self._own = self._reconnect()

    def _silence(self) -> TreeringError | None:
        """The error of a call that `_watch` cut."""
        left = self._state.overdue_in(time.monotonic())
        return silent(self._address, self._state.acknowledge_within_s) if left is not None and left <= 0 else None

    def _finished(self) -> bool:
        return self._aborted or (self._closing and self._state.idle)

    def _pause(self, error: TreeringError) -> None:
        """Decides whether to go on after an error, and waits before it."""
        if isinstance(error, FATAL):
            raise error
        if isinstance(error, ProducerError):
            with self._changed:
                self._state.recover(error)
            return
        delay_s = self._patience.delay(error, time.monotonic())  # without the lock: it may call the user
        with self._changed:
            self._changed.wait_for(lambda: self._aborted, delay_s)


def as_encoded(request: bytes) -> bytes:
    """The serialiser of requests that are bytes already: what is sent again must be the same to the bit."""
    return request
