"""The one thread that runs the model; `line` says who comes next: searches first, then texts of callers, then new patterns."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder import Encoded, Encoder
from treering_embed.encoder.backoff import Backoff
from treering_embed.encoder.line import Call, Job, Line, Urgency, made_room
from treering_embed.encoder.runs import cut
from treering_runtime import caller as callers
from treering_runtime.errors import ServiceError

__all__ = ["EncodeMetrics", "EncodeQueue", "Urgency"]


class EncodeMetrics:
    """What Prometheus sees of the model's runs; one for all queues of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram("treering_embed_encode_seconds", "Duration of one run of the model, seconds", registry=registry)
        self.texts = Counter("treering_embed_encoded_texts", "Texts encoded", ["urgency"], registry=registry)
        about_pauses = "How long new patterns waited because our sinks were behind the log and needed the cores, seconds"
        self.given_way = Counter("treering_embed_encode_given_way_seconds", about_pauses, registry=registry)
        self.waiting = Gauge("treering_embed_encode_waiting", "Jobs that wait for the model", ["urgency"], registry=registry)


class EncodeQueue:
    """Runs an encoder on a thread of its own, run by run; `close` ends it.

    Between two runs the most urgent job goes next, of several callers in turns, so a search waits for one run of each other caller at
    most. While the log is ahead of the sinks, new patterns may wait longer (see `backoff`). Of a caller that is gone nothing waits.

    Args:
        encoder: Belongs to the thread from now on.
        metrics: What is shown of the runs.
        backoff: When new patterns wait; it belongs to the thread too.
    """

    def __init__(self, encoder: Encoder, metrics: EncodeMetrics, backoff: Backoff) -> None:
        self.encoder = encoder
        self._metrics = metrics
        self._backoff = backoff
        self._line = Line(
            lambda urgency, change: metrics.waiting.labels(urgency.name.lower()).inc(change), lambda job: not self._pause(job)
        )
        self._wake = threading.Condition()
        self._closed = False
        # A daemon: a run that hangs in a native library must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    async def encode(self, texts: Sequence[str], urgency: Urgency, give_way_until: float = math.inf) -> Encoded:
        """Encodes texts of any number and length; results in their order.

        Args:
            texts: What is encoded.
            urgency: Who waits for it.
            give_way_until: Of new patterns: when they give way to nobody any more, as `time.monotonic` says it.

        Raises:
            ServiceError: OVERLOADED, when too many others of this urgency wait; STARTING, when the queue is closed.
        """
        call = Call(urgency, callers.current(), len(texts))
        with self._wake:
            gone = self._line.admit(call)
        # Outside of the lock: setting a future calls back into whoever waits for it.
        for job in gone:
            _fail(job, made_room(job.call))
        try:
            runs = await self._cut(texts, call)
            encode = self.encoder.encode
            futures = [self._submit(call, encode, [texts[index] for index in run], give_way_until) for run in runs]
            parts = await asyncio.gather(*map(asyncio.wrap_future, futures))
        finally:
            # Also when the caller was cancelled or a part failed: nothing of the call may go on using the model.
            with self._wake:
                gone = self._line.leave(call)
            for job in gone:
                job.done.cancel()
        return _in_order(runs, parts, len(texts))

    async def _cut(self, texts: Sequence[str], call: Call) -> list[list[int]]:
        """Runs of similar length; to measure a single text would only cost time."""
        if len(texts) == 1:
            return [[0]]
        # counting wordpieces is short: it gives way to nobody
        return cut(await asyncio.wrap_future(self._submit(call, self.encoder.lengths, texts, -math.inf, encodes=False)))

    def close(self) -> None:
        """Ends the thread after its current run; what waits, and whoever comes later, is told that the queue is closed."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        # The run that the thread is in ends first: a native call cannot be interrupted.
        self._thread.join()
        # nothing is added any more: `_submit` looks at `_closed` under the same lock; each job leaves: a second `close` refuses none
        while self._line:
            _fail(self._line.pop(), _closed())

    def _submit(
        self, call: Call, work: Callable[[Sequence[str]], Any], texts: Sequence[str], give_way_until: float, *, encodes: bool = True
    ) -> "Future[Any]":
        job = Job(call.urgency, 0, 0, call, work, texts, encodes, give_way_until, Future())
        with self._wake:
            # the thread that would take it may have ended: it would wait for ever
            problem = _closed() if self._closed else made_room(call) if call.refused else None
            if not problem:
                self._line.push(job)
                self._wake.notify()
        if problem:
            _fail(job, problem)
        return job.done

    def _next(self) -> Job | None:
        with self._wake:
            # After each wake-up the first job is looked at again: a search may have come before the pattern that pauses.
            while not self._closed and (not self._line or (pause := self._pause(self._line.first()))):
                self._wait(pause if self._line else None)
            return None if self._closed else self._line.pop()

    def _pause(self, job: Job) -> float:
        """Seconds until the job may begin."""
        return self._backoff.wait_s(job.give_way_until) if job.urgency is Urgency.PATTERNS else 0.0

    def _wait(self, pause: float | None) -> None:
        """Waits for something to change; of a pause, what was really waited is counted: a search may end it."""
        began = time.perf_counter()
        self._wake.wait(pause)
        if pause is not None:
            self._metrics.given_way.inc(time.perf_counter() - began)

    def _work(self) -> None:
        while job := self._next():
            # False for a job whose caller was cancelled after it was taken from the line: it costs no run.
            if job.done.set_running_or_notify_cancel():
                self._run(job)

    def _run(self, job: Job) -> None:
        # Processor time of this thread alone: the difference to the duration is what others had of its core.
        started, computed = time.perf_counter(), time.thread_time()
        try:
            job.done.set_result(job.work(job.texts))
        except Exception as error:  # noqa: BLE001 - belongs to whoever waits for it, not to this thread
            job.done.set_exception(error)
        if not job.encodes:
            return
        computed, duration = time.thread_time() - computed, time.perf_counter() - started
        if job.urgency is Urgency.PATTERNS:
            self._backoff.ran(duration, computed)
        self._metrics.seconds.observe(duration)
        self._metrics.texts.labels(job.urgency.name.lower()).inc(len(job.texts))


def _fail(job: Job, error: ServiceError) -> None:
    if job.done.set_running_or_notify_cancel():
        job.done.set_exception(error)


def _closed() -> ServiceError:
    message = "the model was just replaced, or the service stops; try again in a few seconds"
    return ServiceError(ErrorReason.ERROR_REASON_STARTING, message)


def _in_order(runs: list[list[int]], parts: Sequence[Encoded], count: int) -> Encoded:
    """Puts the results of several runs back into the order of the texts."""
    dense = np.empty((count, parts[0].dense.shape[1]), np.float32)
    tokens, pieces = [parts[0].tokens[0]] * count, [parts[0].pieces[0]] * count
    for run, part in zip(runs, parts, strict=True):
        dense[run] = part.dense
        for position, index in enumerate(run):
            tokens[index], pieces[index] = part.tokens[position], part.pieces[position]
    return Encoded(dense, tokens, pieces)
